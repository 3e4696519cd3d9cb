//! What `knock` says: what it sends as it sends it, or would send.
//!
//! Ports are shown only with `--verbose`, `--json` or `--dry-run`, as knockd's client
//! shows them; without these nothing is said.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::Serialize;

use super::Format;
use crate::engine::sequence::Transport;
use crate::knock::{Knocking, Told, Wait};

/// How and where it is said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    pub(super) format: Format,
    pub(super) verbose: bool,
    /// Standard output carries a connection.
    pub(super) stdout_is_data: bool,
}

#[derive(Debug, Default, Serialize)]
struct Json {
    event: &'static str,
    /// Seconds after the first hit.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dst: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proto: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dpt: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Json {
    fn of(event: &'static str, to: SocketAddr, transport: Transport) -> Self {
        Self {
            event,
            dst: Some(to.ip()),
            proto: Some(transport.as_str()),
            dpt: Some(to.port()),
            ..Self::default()
        }
    }
}

impl Shown {
    /// Says what is done.
    pub(super) fn told(self, told: &Told<'_>) -> io::Result<()> {
        match self.format {
            Format::Json => self.line(&serde_json::to_string(&json(told))?),
            Format::Text if self.verbose => self.line(&text(told)),
            Format::Text => Ok(()),
        }
    }

    /// Says what would be done.
    pub(super) fn plan(self, knocking: &Knocking, wait: Option<Wait>) -> io::Result<()> {
        for (at, to, transport) in knocking.hits() {
            self.planned("would_hit", Some(at), to, transport)?;
        }
        for address in wait.iter().flat_map(|_| &knocking.addresses) {
            let to = SocketAddr::new(address.ip(), wait.map_or(0, |wait| wait.port));
            self.planned("would_wait", None, to, Transport::Tcp)?;
        }
        Ok(())
    }

    fn planned(
        self,
        event: &'static str,
        at: Option<Duration>,
        to: SocketAddr,
        transport: Transport,
    ) -> io::Result<()> {
        let proto = transport.as_str();
        match (self.format, at) {
            (Format::Json, at) => {
                let at = at.map(|at| at.as_secs_f64());
                let json = Json {
                    at,
                    ..Json::of(event, to, transport)
                };
                self.line(&serde_json::to_string(&json)?)
            }
            (Format::Text, Some(at)) => {
                let at = at.as_secs_f64();
                self.line(&format!("{at:>7.3}s  would hit {proto} {to}"))
            }
            (Format::Text, None) => self.line(&format!("would wait for {proto} {to}")),
        }
    }

    fn line(self, line: &str) -> io::Result<()> {
        if self.stdout_is_data {
            return writeln!(anstream::stderr(), "{line}");
        }
        let mut out = anstream::stdout().lock();
        writeln!(out, "{line}")?;
        out.flush()
    }
}

fn json(told: &Told<'_>) -> Json {
    match told {
        Told::Hit(to, transport) => Json::of("hit", *to, *transport),
        Told::Open(to) => Json::of("open", *to, Transport::Tcp),
        Told::Unsent(dst, error) => Json {
            event: "unsent",
            dst: Some(*dst),
            error: Some(error.to_string()),
            ..Json::default()
        },
        Told::Again => Json {
            event: "again",
            ..Json::default()
        },
    }
}

fn text(told: &Told<'_>) -> String {
    match told {
        Told::Hit(to, transport) => format!("hitting {} {to}", transport.as_str()),
        Told::Open(to) => format!("open: tcp {to}"),
        Told::Unsent(address, error) => format!("cannot knock at {address}: {error}"),
        Told::Again => "not open yet: knocking again".to_owned(),
    }
}

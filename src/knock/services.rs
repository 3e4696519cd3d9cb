//! Names of ports, from `/etc/services`.
//!
//! In: its lines, `name port/protocol aliases… # comment`. Out: a port. The file is read when the
//! first name is asked for; where it is missing, no name has a port. Directory services (NIS, LDAP)
//! are not asked.
#![expect(
    clippy::disallowed_types,
    reason = "the names of ports are in a file of the system"
)]

use std::cell::OnceCell;
use std::fs::File;
use std::io::{self, Read};

use crate::engine::sequence::Transport;

const PATH: &str = "/etc/services";

/// The file is some 20 kB; more than this is not needed.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// The names of ports.
#[derive(Debug, Default)]
pub struct Services {
    text: OnceCell<String>,
}

impl Services {
    /// Those of a file with this text.
    pub fn of(text: &str) -> Self {
        Self {
            text: OnceCell::from(text.to_owned()),
        }
    }

    /// The port of the service that has this name or alias.
    pub fn port(&self, name: &str, transport: Transport) -> Option<u16> {
        let text = self.text.get_or_init(|| read().unwrap_or_default());
        text.lines().find_map(|line| port_in(line, name, transport))
    }
}

fn port_in(line: &str, name: &str, transport: Transport) -> Option<u16> {
    let entry = line.split('#').next()?;
    let mut words = entry.split_ascii_whitespace();
    let (official, port) = (words.next()?, words.next()?);
    let (port, protocol) = port.split_once('/')?;
    let is_named = official == name || words.any(|alias| alias == name);
    if !is_named || protocol != transport.as_str() {
        return None;
    }
    port.parse().ok().filter(|port| *port > 0)
}

fn read() -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(PATH)?.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
#[path = "services_test.rs"]
mod tests;

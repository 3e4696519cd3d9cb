//! The sources that the daemon follows: each is started once, and says how it is.
//!
//! In: what the operator named. Out: running sources that report to the inbox under their number,
//! with its health and its gaps. Why a source cannot be started is the source's to say.

use std::ffi::OsStr;

use ipnet::IpNet;

use super::StartError;
use super::inbox::{Message, Outlet};
use crate::source::{self, Closed, Handle, Health, Refusal, Report};
use crate::source_spec::SourceSpec;

/// A source that is followed.
pub(super) struct Followed {
    /// As it was named.
    pub(super) spec: SourceSpec,
    /// What it last said of itself.
    pub(super) health: Option<Health>,
    /// What it has lost.
    pub(super) gaps: Gaps,
    /// How often inotify had more events than room for them.
    pub(super) overflows: u64,
    /// Whether nothing more comes from it.
    pub(super) ended: bool,
    _handle: Handle,
}

/// How often lines were lost, and how many as far as that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Gaps {
    times: u64,
    lines: u64,
}

impl Gaps {
    /// One more, of so many lines if that is known.
    pub(super) fn add(&mut self, lines: Option<u64>) {
        self.times = self.times.saturating_add(1);
        self.lines = self.lines.saturating_add(lines.unwrap_or(0));
    }

    /// How often, and how many lines at least.
    pub(super) fn counts(self) -> (u64, u64) {
        (self.times, self.lines)
    }
}

/// Who may send to the sockets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peers<'a> {
    /// To a `udp:` source.
    pub(super) udp: &'a [IpNet],
    /// To a `unix:` source: the number of a user.
    pub(super) relay: Option<u32>,
}

/// Starts the source, as number `number`.
pub(super) fn follow(
    spec: SourceSpec,
    number: u16,
    peers: Peers<'_>,
    files: &source::file::Options,
    inbox: &Outlet,
) -> Result<Followed, StartError> {
    let inbox = inbox.clone();
    let sink = move |report| inbox.send(Message::Source(report)).map_err(|_| Closed);
    match spawn(&spec, number, peers, files, sink) {
        Ok(handle) => Ok(Followed {
            spec,
            health: None,
            gaps: Gaps::default(),
            overflows: 0,
            ended: false,
            _handle: handle,
        }),
        Err(refusal) => Err(StartError::Source(spec, refusal)),
    }
}

fn spawn(
    spec: &SourceSpec,
    number: u16,
    peers: Peers<'_>,
    files: &source::file::Options,
    sink: impl FnMut(Report) -> Result<(), Closed> + Send + 'static,
) -> Result<Handle, Refusal> {
    match spec {
        SourceSpec::File(path) => Ok(source::file::spawn(
            number,
            path.clone(),
            files.clone(),
            sink,
        )?),
        SourceSpec::Files(pattern) => {
            let (directory, pattern) = (pattern.directory().to_path_buf(), pattern.clone());
            let meant = move |name: &OsStr| pattern.means(name);
            let files = files.clone();
            Ok(source::files::spawn(number, directory, meant, files, sink)?)
        }
        SourceSpec::Kmsg => source::kmsg::spawn(number, sink),
        SourceSpec::Journald => {
            source::journal::spawn(number, source::journal::Options::default(), sink)
        }
        SourceSpec::Stdin => source::stdin::spawn(number, sink),
        SourceSpec::Unix(path) => source::unix::spawn(number, path.clone(), peers.relay, sink),
        SourceSpec::Udp(address) => source::udp::spawn(number, *address, peers.udp, sink),
    }
}

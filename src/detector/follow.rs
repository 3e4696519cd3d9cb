//! The sources that the daemon follows: each is opened, and started, once, and says how it is.
//!
//! In: what the operator named. Out: open sources, then running ones that report to the inbox under their number,
//! with its health and its gaps. Why a source cannot be started is the source's to say.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;

use ipnet::IpNet;

use super::StartError;
use super::inbox::{Message, Outlet};
use crate::privsep::{Journals, Read};
use crate::source::journal::{Journalctl, Running, Start, Wanted};
use crate::source::{self, Closed, Handle, Health, Refusal, Report};
use crate::source_spec::{Pattern, SourceSpec};

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

/// A source that is open, and not read yet: nothing is left to be done that needs a right.
pub(super) struct Opened {
    spec: SourceSpec,
    way: Way,
}

/// What it is read from.
enum Way {
    File(PathBuf),
    Files(Pattern),
    Kmsg(source::kmsg::Kmsg),
    Nflog(source::nflog::Nflog),
    Journald(source::journal::Options),
    Stdin(Option<OwnedFd>),
    Unix(source::unix::Bound),
    Udp(source::udp::Bound),
}

/// Opens the sources; `stdin` is what to read as standard input, if it is not our own.
pub(super) fn open(
    specs: Vec<SourceSpec>,
    peers: Peers<'_>,
    mut stdin: Option<OwnedFd>,
) -> Result<Vec<Opened>, StartError> {
    let mut opened = Vec::with_capacity(specs.len());
    for spec in specs {
        let way = match &spec {
            SourceSpec::File(path) => Ok(Way::File(path.clone())),
            SourceSpec::Files(pattern) => Ok(Way::Files(pattern.clone())),
            SourceSpec::Kmsg => source::kmsg::open().map(Way::Kmsg),
            SourceSpec::Nflog(group) => source::nflog::open(*group).map(Way::Nflog),
            SourceSpec::Journald => source::journal::Options::new()
                .map(Way::Journald)
                .map_err(Refusal::from),
            SourceSpec::Stdin => Ok(Way::Stdin(stdin.take())),
            SourceSpec::Unix(path) => source::unix::bound(path.clone(), peers.relay).map(Way::Unix),
            SourceSpec::Udp(address) => source::udp::bound(*address, peers.udp).map(Way::Udp),
        };
        match way {
            Ok(way) => opened.push(Opened { spec, way }),
            Err(refusal) => return Err(StartError::Source(spec, refusal)),
        }
    }
    Ok(opened)
}

impl Opened {
    /// What it is.
    pub(super) fn spec(&self) -> &SourceSpec {
        &self.spec
    }

    /// Follows it as number `number`. Where this process may start none, `journals` starts journalctls.
    pub(super) fn follow(
        self,
        number: u16,
        files: &source::file::Options,
        journals: Option<Journals>,
        inbox: &Outlet,
    ) -> Result<Followed, StartError> {
        let inbox = inbox.clone();
        let sink = move |report| inbox.send(Message::Source(report)).map_err(|_| Closed);
        let Self { spec, way } = self;
        match start(way, number, files, journals, sink) {
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
}

fn start(
    way: Way,
    number: u16,
    files: &source::file::Options,
    journals: Option<Journals>,
    sink: impl FnMut(Report) -> Result<(), Closed> + Send + 'static,
) -> Result<Handle, Refusal> {
    match way {
        Way::File(path) => Ok(source::file::spawn(number, path, files.clone(), sink)?),
        Way::Files(pattern) => {
            let directory = pattern.directory().to_path_buf();
            let meant = move |name: &OsStr| pattern.means(name);
            let files = files.clone();
            Ok(source::file::spawn_matching(
                number, directory, meant, files, sink,
            )?)
        }
        Way::Kmsg(device) => source::kmsg::spawn(number, device, sink),
        Way::Nflog(socket) => source::nflog::spawn(number, socket, sink),
        Way::Journald(options) => {
            let journalctl: Box<dyn Start> = match journals {
                Some(journals) => Box::new(Elsewhere { journals, number }),
                None => Box::new(Journalctl::of_this_system()?),
            };
            source::journal::spawn(number, journalctl, options, sink)
        }
        Way::Stdin(input) => source::stdin::spawn(number, input, sink),
        Way::Unix(bound) => source::unix::spawn(number, bound, sink),
        Way::Udp(bound) => source::udp::spawn(number, bound, sink),
    }
}

/// journalctls that the monitor starts.
struct Elsewhere {
    journals: Journals,
    number: u16,
}

impl Start for Elsewhere {
    fn start(&mut self, wanted: &Wanted) -> io::Result<Running> {
        let read = match wanted {
            Wanted::Latest => Read::Latest,
            Wanted::From(cursor) => Read::From(cursor.clone()),
        };
        let output = self.journals.start(self.number, read)?;
        let mut started = Started {
            journals: self.journals.clone(),
            number: self.number,
            is_latest: *wanted == Wanted::Latest,
            is_over: false,
        };
        Ok(Running::new(output, move || started.end()))
    }
}

/// One that the monitor has started, and ends when this is dropped.
struct Started {
    journals: Journals,
    number: u16,
    is_latest: bool,
    is_over: bool,
}

impl Started {
    fn end(&mut self) -> Option<ExitStatus> {
        self.is_over = true;
        let how = self.journals.end(self.number, self.is_latest);
        how.map(ExitStatus::from_raw)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if !self.is_over {
            self.end();
        }
    }
}

//! The sources that the daemon follows: each is opened, and started, once, and says how it is.
//!
//! In: what the operator named. Out: open sources, then running ones that report to the inbox under their number,
//! with its health and its gaps. The source itself reports why it cannot be started.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;

use ipnet::IpNet;

use super::StartError;
use super::inbox::{Message, Outlet};
use crate::engine::loss::Losses;
use crate::privsep::Journals;
use crate::source::{self, Closed, Handle, Health, Refusal, Sink};
use crate::source_spec::SourceSpec;

/// A source that is followed.
pub(super) struct Followed {
    /// As it was named.
    pub(super) spec: SourceSpec,
    /// What it last said of itself.
    pub(super) health: Option<Health>,
    /// What it has lost.
    pub(super) gaps: Losses,
    /// How often inotify had more events than room for them.
    pub(super) overflows: u64,
    /// Whether nothing more comes from it.
    pub(super) ended: bool,
    _handle: Handle,
}

/// The senders that the sockets accept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peers<'a> {
    /// To a `udp:` source.
    pub(super) udp: &'a [IpNet],
    /// To a `unix:` source: the number of a user.
    pub(super) relay: Option<u32>,
}

/// A source that is open, and not read yet: nothing is left to be done that needs a right.
pub(super) struct Opened {
    /// What it is.
    pub(super) spec: SourceSpec,
    start: Start,
}

/// Starts the source of this number.
type Start = Box<dyn FnOnce(u16, Means, Box<dyn Sink>) -> Result<Handle, Refusal>>;

/// What some sources need beside what they have opened.
pub(super) struct Means {
    /// How files are followed.
    pub(super) files: source::file::Options,
    /// What starts journalctls.
    pub(super) journals: Journals,
}

/// Opens the sources; `stdin` is what to read as standard input, if it is not our own.
pub(super) fn open(
    specs: Vec<SourceSpec>,
    peers: Peers<'_>,
    mut stdin: Option<OwnedFd>,
) -> Result<Vec<Opened>, StartError> {
    let opened = specs
        .into_iter()
        .map(|spec| match open_one(&spec, peers, &mut stdin) {
            Ok(start) => Ok(Opened { spec, start }),
            Err(refusal) => Err(StartError::Source(spec, refusal)),
        });
    opened.collect()
}

fn open_one(
    spec: &SourceSpec,
    peers: Peers<'_>,
    stdin: &mut Option<OwnedFd>,
) -> Result<Start, Refusal> {
    Ok(match spec.clone() {
        SourceSpec::File(path) => Box::new(move |number, means, sink| {
            Ok(source::file::spawn(number, path, means.files, sink)?)
        }),
        SourceSpec::Files(pattern) => Box::new(move |number, means, sink| {
            let directory = pattern.directory().to_path_buf();
            let meant = move |name: &OsStr| pattern.means(name);
            let files = means.files;
            Ok(source::file::spawn_matching(
                number, directory, meant, files, sink,
            )?)
        }),
        SourceSpec::Kmsg => {
            let device = source::kmsg::open()?;
            Box::new(move |number, _, sink| source::kmsg::spawn(number, device, sink))
        }
        SourceSpec::Nflog(group) => {
            let socket = source::nflog::open(group)?;
            Box::new(move |number, _, sink| source::nflog::spawn(number, socket, sink))
        }
        SourceSpec::Journald => {
            let options = source::journal::Options::new()?;
            Box::new(move |number, means, sink| {
                source::journal::spawn(number, means.journals.of(number), options, sink)
            })
        }
        SourceSpec::Stdin => {
            let input = stdin.take();
            Box::new(move |number, _, sink| source::stdin::spawn(number, input, sink))
        }
        SourceSpec::Unix(path) => {
            let bound = source::unix::bound(path, peers.relay)?;
            Box::new(move |number, _, sink| source::unix::spawn(number, bound, sink))
        }
        SourceSpec::Udp(address) => {
            let bound = source::udp::bound(address, peers.udp)?;
            Box::new(move |number, _, sink| source::udp::spawn(number, bound, sink))
        }
    })
}

impl Opened {
    /// Follows it as number `number`.
    pub(super) fn follow(
        self,
        number: u16,
        means: Means,
        inbox: &Outlet,
    ) -> Result<Followed, StartError> {
        let inbox = inbox.clone();
        let sink = move |report| {
            let message = Message::Source(number, report);
            inbox.send(message).map_err(|_| Closed)
        };
        let Self { spec, start } = self;
        match start(number, means, Box::new(sink)) {
            Ok(handle) => Ok(Followed {
                spec,
                health: None,
                gaps: Losses::default(),
                overflows: 0,
                ended: false,
                _handle: handle,
            }),
            Err(refusal) => Err(StartError::Source(spec, refusal)),
        }
    }
}

//! What a command is for, and what is to be done with it.

use std::io::{self, PipeReader, PipeWriter};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::exec;
use super::queue::Lane;
use crate::engine::action::GrantId;
use crate::engine::answered::Last;
use crate::engine::command::Invocation;

/// What a command is for.
#[derive(Clone, Debug)]
pub(super) enum Task {
    Open(GrantId),
    Close(GrantId),
    Run(Arc<str>, IpAddr),
}

impl Task {
    pub(super) fn lane(&self) -> Lane {
        match self {
            Self::Close(_) => Lane::Close,
            Self::Open(_) | Self::Run(..) => Lane::Open,
        }
    }
}

/// A task with its command. A close has none: the ledger's is taken when its turn comes.
pub(super) struct Job {
    pub(super) task: Task,
    pub(super) invocation: Option<Invocation>,
    /// Whether it must not run before what was said with it is on disk.
    pub(super) awaits_disk: bool,
    /// The packet that completed the knock which it answers.
    pub(super) last: Option<Last>,
}

impl Job {
    pub(super) fn new(task: Task, invocation: Option<Invocation>, last: Option<Last>) -> Self {
        Self {
            task,
            invocation,
            awaits_disk: false,
            last,
        }
    }

    /// One that must not run before the ledger knows of it.
    pub(super) fn after_disk(task: Task, invocation: Invocation, last: Option<Last>) -> Self {
        Self {
            awaits_disk: true,
            ..Self::new(task, Some(invocation), last)
        }
    }
}

/// What is done with a command.
pub(super) enum Way {
    /// It is run, until `stop` is dropped.
    Run {
        timeout: Duration,
        /// Which state directory its grant is in.
        mark: Option<String>,
        stopped: Arc<PipeReader>,
        stop: Option<PipeWriter>,
    },
    Dry,
}

impl Way {
    pub(super) fn run(timeout: Duration, mark: Option<String>) -> io::Result<Self> {
        exec::hear_of_children()?;
        let (stopped, stop) = io::pipe()?;
        Ok(Self::Run {
            timeout,
            mark,
            stopped: Arc::new(stopped),
            stop: Some(stop),
        })
    }
}

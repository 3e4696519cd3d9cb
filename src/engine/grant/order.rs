//! What the table of grants asks of its caller, and what it answers.
//!
//! In: nothing; values. An [`Order`] is a command to run, a [`Change`] is to be put on disk before it; the caller
//! says how the command ended ([`Outcome`]). They name the grants in the table and hold none of them.

use std::net::IpAddr;
use std::sync::Arc;

use super::GrantId;
use crate::engine::answered::Last;
use crate::engine::command::Invocation;
use crate::engine::event::RefusedReason;
use crate::engine::one_time::Mark;
use crate::engine::time::Time;

/// The outcome of a completed knock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A grant has begun; its open command ends with [`Task::Open`].
    Opening(GrantId),
    /// The door holds nothing open; its command ends with [`Task::Run`].
    Running,
    /// It was open and stays so for longer.
    Extended,
    /// It was open, and nothing changed.
    Ignored,
    /// Nothing is opened.
    Refused(RefusedReason),
}

/// Why nothing is opened by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotOpened {
    /// The door has no open command for the family of this address.
    NoCommand,
    /// The door does not let this address in.
    NotAllowed,
    /// No single host can have this address.
    Nobody,
}

/// The purpose of a command.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// To open a grant.
    Open(GrantId),
    /// To close it.
    Close(GrantId),
    /// At a door that holds nothing open, or to renew what would end by itself.
    Run(Arc<str>),
    /// None: only a used sequence is to be marked in its list.
    Mark(Arc<str>),
}

/// What the caller must do. Orders of one address are carried out one after another, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "an order that is not carried out is a door that does not open or does not close"]
pub struct Order {
    /// What it is for.
    pub task: Task,
    /// Whose it is.
    pub src: IpAddr,
    /// What to run; a close takes [`Grant::close`](super::Grant::close) when its turn comes.
    pub invocation: Option<Invocation>,
    /// It must not run before the changes made with it are on disk.
    pub awaits_disk: bool,
    /// The line of a list that must be marked as used before it runs.
    pub mark: Option<Mark>,
    /// The packet that completed the knock which it answers.
    pub last: Option<Last>,
    /// From then on it is not worth running.
    pub expires: Option<Time>,
}

impl Order {
    /// One that runs nothing yet.
    pub(super) fn new(task: Task, src: IpAddr) -> Self {
        Self {
            task,
            src,
            invocation: None,
            awaits_disk: false,
            mark: None,
            last: None,
            expires: None,
        }
    }
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Exit status 0.
    Done,
    /// Another exit status, a signal, a timeout: it may have done half of it.
    Failed,
    /// It never ran.
    NotRun,
}

/// What is to be put on disk. It names what changed; its present state is in [`Grants`](super::Grants).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A grant began. Its open command may run once this is on the disk.
    Begun(GrantId),
    /// Its open command has succeeded.
    Opened(GrantId),
    /// It has another deadline.
    Moved(GrantId),
    /// It is over.
    Closed(GrantId),
    /// More one-time sequences of a door are used. What they open may run once this is on the disk.
    Used(Arc<str>),
    /// A knock was answered.
    Answered(Arc<str>, IpAddr),
}

impl Change {
    /// Whether a command waits until this is on disk.
    pub fn is_awaited(&self) -> bool {
        matches!(self, Self::Begun(_) | Self::Used(_))
    }
}

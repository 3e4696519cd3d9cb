//! What must be done outside, as data.

use std::sync::Arc;

use super::answered::Last;
use super::command::Facts;
use super::door::Door;
use super::one_time::Token;
use super::time::Time;

/// The number of a grant: unique in one state directory for ever, counted up from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GrantId(pub u64);

/// What the caller must do. Actions of one grant come in the order in which they must be done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "an action that is not carried out is a door that does not open or does not close"]
pub enum Action {
    /// Put what is spent on disk, then the grant with its close command, then run the door's open
    /// command and answer with `handle_finished`. On a disk that refuses, run nothing and answer that it
    /// failed.
    Open {
        /// The new grant.
        grant: GrantId,
        /// Its door.
        door: Arc<Door>,
        /// What its commands may know.
        facts: Facts,
        /// When it is to be closed.
        deadline: Time,
        /// A sequence that opens once.
        spend: Option<Token>,
        /// The packet that completed the knock, to be kept for a later run; none when there was none.
        last: Option<Last>,
    },
    /// Put what is spent on disk, then run the door's open command; nothing is held open, nothing
    /// answered. On a disk that refuses, run nothing.
    Run {
        /// The door.
        door: Arc<Door>,
        /// What its command may know.
        facts: Facts,
        /// A sequence that opens once.
        spend: Option<Token>,
        /// The packet that completed the knock, to be kept for a later run; none when there was none.
        last: Option<Last>,
    },
    /// Put on disk that a sequence is used which opened nothing: its door is open already, or may not.
    /// Nothing is answered.
    Spend(Token),
    /// Put the new deadline on disk.
    Extend {
        /// The grant.
        grant: GrantId,
        /// Its new deadline.
        deadline: Time,
        /// The packet that completed the knock.
        last: Option<Last>,
    },
    /// Run the door's refresh command; nothing is answered. Where it fails, what it was to renew ends
    /// by itself before the deadline.
    Refresh {
        /// The door.
        door: Arc<Door>,
        /// What its command may know.
        facts: Facts,
    },
    /// Run the close command that was put on disk with the grant, and answer with
    /// `handle_finished`; when it succeeded, take the grant off the disk first.
    Close {
        /// The grant.
        grant: GrantId,
    },
    /// Take the grant off the disk without another try at its close command.
    Forget {
        /// The grant.
        grant: GrantId,
    },
}

/// Which of a grant's two commands ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// The open command.
    Open,
    /// The close command.
    Close,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Exit status 0.
    Done,
    /// Anything else: another exit status, a signal, a timeout, not started at all.
    Failed,
}

//! What commands came to, one by one.
//!
//! In: a [`Carried`] of the runner's threads. Out: the book and the log know, and the follower is told.

use super::{Supervisor, report};
use crate::clock;
use crate::engine::action::{Command, Outcome};
use crate::privsep::Tell;
use crate::runner::{Carried, Ended, How};

impl Supervisor {
    /// Takes what was done.
    pub(super) fn carried(&mut self, carried: &Carried) {
        match carried {
            Carried::Finished {
                grant,
                command,
                outcome,
                ended,
            } => {
                let door = self.book.door_of(*grant).unwrap_or_default();
                report::finished(&door, Some(*command), ended);
                let now = clock::boot_now();
                self.book.finished(*grant, *command, *outcome, now);
                let tell = Tell::Finished {
                    grant: grant.0,
                    close: *command == Command::Close,
                    done: *outcome == Outcome::Done,
                    status: status(ended),
                };
                self.tell(tell, None);
            }
            Carried::Ran { door, ended, .. } => {
                report::finished(door, None, ended);
                let tell = Tell::Ran {
                    door: door.to_string(),
                    done: ended.outcome() == Outcome::Done,
                    status: status(ended),
                };
                self.tell(tell, None);
            }
            Carried::NotSpent { door, why } => report::not_spent(door, *why),
            Carried::Degraded(trouble) => {
                report::disk(*trouble);
                self.tell(Tell::Degraded(trouble.to_string()), None);
            }
            Carried::Recovered => {
                report::recovered();
                self.tell(Tell::Recovered, None);
            }
            // Of a dry run, which has no runner.
            Carried::Would(_) => {}
        }
    }
}

/// What a command exited with, if it did.
fn status(ended: &Ended) -> Option<i32> {
    match ended.how {
        How::Exited(status) => Some(status),
        _ => None,
    }
}

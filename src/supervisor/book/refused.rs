//! Why an ask is not carried out, in words for the log. They name nothing that the follower said.

use std::fmt;

/// Why an ask is not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::supervisor) enum Refused {
    /// No such door is configured.
    Door,
    /// The door does not let this address in, or is not knocked at like this.
    Scope,
    /// The door has no such command for this family.
    Command,
    /// Not the number of the next grant.
    Number,
    /// Later than the door stays open.
    Deadline,
    /// No such grant is open.
    Grant,
    /// It is being closed already.
    Closing,
    /// Its close has not failed often enough.
    Forget,
    /// No sequence of the door can be used like this.
    Spend,
    /// Too many are open.
    Crowded,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Door => "no such door is configured",
            Self::Scope => "the door does not let this knock in",
            Self::Command => "the door has no such command",
            Self::Number => "the number is not the next one",
            Self::Deadline => "the deadline is later than the door stays open",
            Self::Grant => "no such grant is open",
            Self::Closing => "the grant is being closed",
            Self::Forget => "the grant is not closed yet",
            Self::Spend => "no sequence of the door can be used like this",
            Self::Crowded => "too many doors are open",
        })
    }
}

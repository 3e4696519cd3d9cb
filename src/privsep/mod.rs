//! Privilege separation: what the two processes of the daemon say to each other, and over what.
//!
//! The *follower* reads what anybody may have written and has no rights; the *runner* (`supervisor`)
//! has the commands, the ledger and the configuration, and reads nothing but these messages. In and
//! out: [`Ask`]s from the follower, [`Tell`]s from the runner, each one datagram of JSON on a socket
//! that nobody else has an end of. An ask names a door and carries the facts of a knock, never a
//! command: the runner looks up its own. What is asked is looked at again in `supervisor::book`.

mod ask;
mod asks;
mod channel;
mod link;
mod message;
mod tell;

pub use ask::{Ask, Knock, Last, MAX_ASK, MAX_CURSOR, Notice, Read, Spend, decode_ask};
pub use asks::{Asks, Gone};
pub use channel::{Broken, Channel};
pub use link::{Heard, Journals, Link, Welcome};
pub use message::VERSION;
pub use tell::{MAX_TELL, Restored, Tell, pieces};

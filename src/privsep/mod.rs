//! What passes between the monitor, which may act, and the detector, which reads the logs.
//!
//! A socket with a descriptor at each end (`channel`), and messages as JSON on it (`message`). The
//! detector's end is [`Link`].

mod channel;
mod link;
mod message;

pub use self::channel::{Broken, Channel};
pub use self::link::{EndJournal, Heard, Journal, Journals, Link, StartJournal, Welcome};
pub use self::message::{
    MAX_CURSOR, MAX_TO_DETECTOR, MAX_TO_MONITOR, Piece, Question, Record, ToDetector, ToMonitor,
    VERSION, Wanted, pieces,
};

//! Syslog datagrams: what UNIX and UDP sockets have in common.
//!
//! In: datagrams, each with whether its sender may send at all. Out: each as one line. A datagram is never split: a
//! datagram with a newline inside is not a line, whatever follows it. It must begin with `<PRI>` from 0 to 191, as
//! RFC 3164 and RFC 5424 have it; a count of octets in front belongs to TCP.

use std::io;
use std::os::fd::BorrowedFd;

use memchr::memchr2;
use rustix::io::Errno;

use super::assembler::MAX_LINE;
use super::outbox::Outbox;
use super::thread::{self, Messages};
use super::{Handle, Sink};
use crate::engine::line;
use crate::engine::reason::Reason;

/// The longest line, one byte for the newline that may end it, and one byte that shows that there were more.
const ROOM: usize = MAX_LINE + 3;

/// A socket that datagrams come to. It never waits.
pub(super) trait Receive: Send + 'static {
    /// Receives one into `room`: how long it is, as far as there was room, and whether its sender may send.
    fn receive(&mut self, room: &mut [u8]) -> Result<(usize, bool), Errno>;

    /// What to wait for.
    fn descriptor(&self) -> BorrowedFd<'_>;
}

/// Receives in a thread of its own.
pub(super) fn spawn(source: u16, socket: impl Receive, sink: impl Sink) -> io::Result<Handle> {
    let room = [0; ROOM];
    thread::spawn("syslog", source, Datagrams { socket, room }, sink)
}

struct Datagrams<T> {
    socket: T,
    room: [u8; ROOM],
}

impl<T: Receive> Messages for Datagrams<T> {
    fn read(&mut self, outbox: &mut Outbox) -> Result<(), Errno> {
        let (length, is_peer) = self.socket.receive(&mut self.room)?;
        let line = if is_peer {
            line(&mut self.room, length)
        } else {
            Err(Reason::Peer)
        };
        outbox.take_line(line);
        Ok(())
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.descriptor()
    }
}

/// The datagram of this length as a line, ended by its newline.
fn line(room: &mut [u8; ROOM], length: usize) -> Result<&[u8], Reason> {
    let datagram = room.get(..length).unwrap_or_default();
    let is_padding = |byte: &u8| matches!(byte, b'\n' | b'\r' | 0);
    let padding = datagram.iter().rev().take_while(|byte| is_padding(byte));
    let length = length - padding.count();
    let text = room.get(..length).unwrap_or_default();
    if length > MAX_LINE {
        return Err(Reason::TooLong);
    }
    if line::priority(text).is_none() || memchr2(b'\n', 0, text).is_some() {
        return Err(Reason::Grammar);
    }
    if let Some(end) = room.get_mut(length) {
        *end = b'\n';
    }
    room.get(..=length).ok_or(Reason::TooLong)
}

#[cfg(test)]
#[path = "datagram_test.rs"]
mod tests;

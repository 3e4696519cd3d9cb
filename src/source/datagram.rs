//! Syslog datagrams: what UNIX and UDP sockets have in common.
//!
//! In: datagrams, each with whether its sender may send at all. Out: each as one line. A datagram is never split: a
//! datagram with a newline inside is not a line, whatever follows it. It must begin with `<PRI>` from 0 to 191, as
//! RFC 3164 and RFC 5424 have it; a count of octets in front belongs to TCP.

use std::io;
use std::os::fd::AsFd;

use memchr::memchr2;
use rustix::io::Errno;

use super::assembler::MAX_LINE;
use super::outbox::Outbox;
use super::{Handle, Sink, thread};
use crate::engine::line;
use crate::engine::reason::Reason;

/// The longest line, one byte for the newline that may end it, and one byte that shows that there were more.
const ROOM: usize = MAX_LINE + 3;

/// Receives in a thread of its own. `receive` takes one datagram from `socket` into the room that it is given, and
/// never waits: how long it is, as far as there was room, and whether its sender may send.
pub(super) fn spawn<T: AsFd + Send + 'static>(
    source: u16,
    socket: T,
    mut receive: impl FnMut(&T, &mut [u8]) -> Result<(usize, bool), Errno> + Send + 'static,
    sink: impl Sink,
) -> io::Result<Handle> {
    let mut room = [0; ROOM];
    let read = move |socket: &T, outbox: &mut Outbox| {
        let (length, is_peer) = receive(socket, &mut room)?;
        let line = if is_peer {
            line(&mut room, length)
        } else {
            Err(Reason::Peer)
        };
        outbox.take_line(line);
        Ok(())
    };
    thread::spawn("syslog", source, socket, read, sink)
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

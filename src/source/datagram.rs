//! Syslog datagrams: what UNIX and UDP sockets have in common.
//!
//! In: datagrams, each with whether its sender may send at all. Out: each as one line. A datagram is
//! never split: one with a newline within is no line, whatever stands behind it. It must begin with
//! `<PRI>` from 0 to 191, as RFC 3164 and RFC 5424 have it; a count of octets in front belongs to TCP.

use std::io;
use std::os::fd::BorrowedFd;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use memchr::memchr2;
use rustix::io::Errno;

use super::assembler::{MAX_LINE, Yield};
use super::outbox::Outbox;
use super::stop::{Stop, Woken};
use super::{Closed, Health, Report};
use crate::engine::line;
use crate::engine::reason::Reason;

/// One byte more than a line may have, and one for the newline that may end it, and one that tells
/// that there were more.
const ROOM: usize = MAX_LINE + 3;
/// Datagrams read before the sink and the request to stop are looked at again.
const AT_ONCE: usize = 1000;
/// How long a socket that fails is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// A socket that datagrams come to. It never waits.
pub(super) trait Receive: Send + 'static {
    /// Receives one into `room`: how long it is, as far as there was room, and from whom.
    fn receive(&mut self, room: &mut [u8]) -> Result<(usize, Sender), Errno>;

    /// What to wait for.
    fn descriptor(&self) -> BorrowedFd<'_>;
}

/// Who sent a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    /// Somebody who may.
    Peer,
    /// Somebody who may not.
    Stranger,
}

/// Receives in a thread of its own, until the request is made or the sink closes.
pub(super) fn spawn(
    source: u16,
    mut socket: impl Receive,
    sink: impl FnMut(Report) -> Result<(), Closed> + Send + 'static,
) -> io::Result<(JoinHandle<()>, Stop)> {
    let stop = Stop::new()?;
    let asked = stop.clone();
    let thread = thread::Builder::new()
        .name(format!("syslog-{source}"))
        .spawn(move || {
            let mut outbox = Outbox::new(source, sink);
            loop {
                let health = match drain(&mut socket, &mut outbox) {
                    Ok(()) => Health::Following,
                    Err(errno) => Health::Degraded(errno.into()),
                };
                let failed = health != Health::Following;
                if outbox.send_all(health) == Err(Closed) {
                    return;
                }
                let woken = if failed {
                    asked.wait(None, Some(PAUSE))
                } else {
                    asked.wait(Some(socket.descriptor()), None)
                };
                if woken == Woken::Stop {
                    return;
                }
            }
        })?;
    Ok((thread, stop))
}

/// Receives what there is, up to a fair amount.
fn drain<S: FnMut(Report) -> Result<(), Closed>>(
    socket: &mut impl Receive,
    outbox: &mut Outbox<S>,
) -> Result<(), Errno> {
    let mut room = [0; ROOM];
    for _ in 0..AT_ONCE {
        match socket.receive(&mut room) {
            Ok((_, Sender::Stranger)) => outbox.take(Yield::Dropped(Reason::Peer)),
            Ok((length, Sender::Peer)) => match line(&mut room, length) {
                Ok(bytes) => outbox.take(Yield::Lines { bytes, count: 1 }),
                Err(reason) => outbox.take(Yield::Dropped(reason)),
            },
            Err(Errno::AGAIN) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(datagram: &[u8]) -> Result<Vec<u8>, Reason> {
        let mut room = [b'#'; ROOM];
        let length = datagram.len().min(ROOM);
        room[..length].copy_from_slice(&datagram[..length]);
        line(&mut room, length).map(<[u8]>::to_vec)
    }

    #[test]
    fn a_datagram_is_a_line_whatever_ends_it() {
        for end in ["", "\n", "\r\n", "\0", "\n\0"] {
            let datagram = format!("<4>Nov 20 10:00:00 gw kernel: lk: IN=eth0 {end}");
            assert_eq!(
                read(datagram.as_bytes()).unwrap(),
                b"<4>Nov 20 10:00:00 gw kernel: lk: IN=eth0 \n"
            );
        }
    }

    #[test]
    fn what_syslog_does_not_allow_is_no_line() {
        for datagram in [
            "",
            "\n",
            "kernel: lk: IN=eth0",
            "4,7,5000001,-;lk: IN=eth0",
            "MESSAGE=lk: IN=eth0",
            "<>x",
            "<192>x",
            "<004>x",
            "<-1>x",
            "<4x",
            "23 <4>kernel: lk: IN=eth0",
            "<4>kernel: a\n<4>kernel: lk: IN=eth0",
            "<4>kernel: a\0lk: IN=eth0",
        ] {
            assert_eq!(
                read(datagram.as_bytes()),
                Err(Reason::Grammar),
                "{datagram:?}"
            );
        }
    }

    #[test]
    fn the_longest_line_passes_and_one_byte_more_does_not() {
        let datagram = |length: usize| [b"<4>".to_vec(), vec![b'x'; length - 3]].concat();
        assert_eq!(read(&datagram(MAX_LINE)).unwrap().len(), MAX_LINE + 1);
        for length in [MAX_LINE + 1, MAX_LINE + 2, MAX_LINE + 3, 65_507] {
            assert_eq!(read(&datagram(length)), Err(Reason::TooLong), "{length}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_one_line_or_none(datagram in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(line) = read(&datagram) {
                prop_assert_eq!(memchr::memchr_iter(b'\n', &line).count(), 1);
                prop_assert!(line.ends_with(b"\n") && datagram.starts_with(&line[..line.len() - 1]));
            }
        }
    }
}

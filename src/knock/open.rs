//! Connects until one of the host's addresses accepts.
//!
//! In: where, and for how long. Out: the connection itself, because a door may let in only one. Each try is a fresh
//! SYN to every address at once, given up after a quarter of a second at first and later for slower networks; when
//! this returns, none of its packets is in flight.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll as poll_fds};
use rustix::io::Errno;
use rustix::net::sockopt::socket_error;
use rustix::net::{getpeername, getsockname};

use super::wire;
use crate::clock;

const FIRST_TRY: Duration = Duration::from_millis(250);
const LONGEST_TRY: Duration = Duration::from_secs(2);

/// Connects to whichever of `doors` opens first.
pub(super) fn poll(
    doors: &[SocketAddr],
    source: Option<IpAddr>,
    timeout: Duration,
) -> Option<(OwnedFd, SocketAddr)> {
    let begun = clock::monotonic_now();
    let elapsed = || clock::monotonic_now().since(begun);
    let mut patience = FIRST_TRY;
    while elapsed() < timeout {
        let until = (elapsed() + patience).min(timeout);
        let opened = connect(doors, source, || until.saturating_sub(elapsed()));
        if opened.is_some() {
            return opened;
        }
        // All were refused: not before the next try is due.
        wire::pause(until.saturating_sub(elapsed()));
        patience = (patience * 2).min(LONGEST_TRY);
    }
    None
}

/// One try: `None` when all failed or the time that is `left` is over.
fn connect(
    doors: &[SocketAddr],
    source: Option<IpAddr>,
    left: impl Fn() -> Duration,
) -> Option<(OwnedFd, SocketAddr)> {
    let begin = |to: &SocketAddr| Some((wire::begin(*to, source).ok()?, *to));
    let mut pending: Vec<_> = doors.iter().filter_map(begin).collect();
    while !pending.is_empty() && !left().is_zero() {
        let answered = wait_for_answers(&pending, left());
        let mut answers = answered.into_iter();
        let (done, waiting): (Vec<_>, Vec<_>) = pending
            .into_iter()
            .partition(|_| answers.next().unwrap_or(true));
        let mut opened = done.into_iter().filter(|(socket, _)| is_open(socket));
        if let Some(opened) = opened.next() {
            return Some(opened);
        }
        pending = waiting;
    }
    None
}

/// For each socket, whether there is an answer, accepted or not.
fn wait_for_answers(pending: &[(OwnedFd, SocketAddr)], left: Duration) -> Vec<bool> {
    let mut watched: Vec<_> = pending
        .iter()
        .map(|(socket, _)| PollFd::new(socket, PollFlags::OUT))
        .collect();
    let timeout = Timespec::try_from(left).ok();
    match poll_fds(&mut watched, timeout.as_ref()) {
        Ok(_) => watched.iter().map(|fd| !fd.revents().is_empty()).collect(),
        Err(Errno::INTR) => vec![false; pending.len()],
        Err(_) => vec![true; pending.len()],
    }
}

fn is_open(socket: &OwnedFd) -> bool {
    let is_connected = matches!(socket_error(socket), Ok(Ok(())));
    // On loopback a socket can be given the very port it connects to, and then meets itself.
    let is_itself = match (getsockname(socket), getpeername(socket)) {
        (Ok(here), Ok(Some(there))) => here == there,
        _ => true,
    };
    is_connected && !is_itself
}

//! The packets that leave this machine.
//!
//! In: where to. Out: one SYN that is never repeated, one datagram of one NUL byte, or a connection that has begun.
//! The kernel repeats the SYN of a socket that waits for an answer, so the socket of a hit is closed at once; an
//! answer then finds no socket.
#![expect(
    clippy::disallowed_methods,
    reason = "the pause between two knocks is a sleep: nothing could end it early"
)]

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendFlags, SocketFlags, SocketType, bind, connect, sendto, socket_with,
};

use crate::engine::sequence::Transport;

/// Sends one knock.
pub(super) fn hit(to: SocketAddr, transport: Transport, source: Option<IpAddr>) -> io::Result<()> {
    match transport {
        Transport::Tcp => {
            let socket = socket(to, SocketType::STREAM, source)?;
            match connect(&socket, &to) {
                // On loopback the answer may be here already.
                Ok(()) | Err(Errno::INPROGRESS | Errno::CONNREFUSED) => Ok(()),
                Err(error) => Err(error.into()),
            }
        }
        Transport::Udp => {
            let socket = socket(to, SocketType::DGRAM, source)?;
            sendto(&socket, &[0], SendFlags::empty(), &to)?;
            Ok(())
        }
    }
}

/// Begins a connection; whether it comes about, the socket tells when it is writable.
pub(super) fn begin(to: SocketAddr, source: Option<IpAddr>) -> io::Result<OwnedFd> {
    let socket = socket(to, SocketType::STREAM, source)?;
    match connect(&socket, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

/// Waits.
pub(super) fn pause(span: Duration) {
    if !span.is_zero() {
        std::thread::sleep(span);
    }
}

fn socket(to: SocketAddr, kind: SocketType, source: Option<IpAddr>) -> io::Result<OwnedFd> {
    let family = match to {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, kind, flags, None)?;
    if let Some(source) = source {
        bind(&socket, &SocketAddr::new(source, 0))?;
    }
    Ok(socket)
}

//! The nft backend without a process: a netlink socket that stays open.
//!
//! In: a [`Batch`]. Out: what the kernel answered. The kernel has carried out a batch, or refused it as a
//! whole, when the send returns; so nothing here waits. Starting `nft` takes 16 ms, most of it the close of
//! its socket.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, send, socket_with,
};

use crate::firewall::netlink::{Batch, Verdict};

/// Room for all answers to a batch.
const MAX_ANSWERS: usize = 64 * 1024;

/// The socket, once it was needed.
#[derive(Debug, Default)]
pub(super) struct Nftables(Option<OwnedFd>);

impl Nftables {
    /// Has the kernel carry out `batch`. `None` where there is no such socket to be had, and a program must
    /// do it.
    pub(super) fn run(&mut self, batch: &Batch) -> Option<Verdict> {
        if self.0.is_none() {
            self.0 = open().ok();
        }
        let socket = self.0.as_ref()?;
        let verdict = ask(socket, batch);
        if verdict.is_err() {
            // What is left in it must not be taken for the answer to the next.
            self.0 = None;
        }
        Some(verdict.unwrap_or_else(|error| Verdict::Refused(error.raw_os_error())))
    }
}

fn open() -> rustix::io::Result<OwnedFd> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(NETFILTER),
    )?;
    connect(&socket, &SocketAddrNetlink::new(0, 0))?;
    Ok(socket)
}

fn ask(socket: &OwnedFd, batch: &Batch) -> rustix::io::Result<Verdict> {
    send(socket, &batch.bytes(), SendFlags::empty())?;
    let mut answers = Vec::new();
    let mut room = vec![0; MAX_ANSWERS];
    loop {
        match recv(socket, &mut *room, RecvFlags::DONTWAIT) {
            Ok((length, _)) => answers.extend(room.iter().take(length)),
            Err(Errno::AGAIN) => break,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        if answers.len() > MAX_ANSWERS {
            return Err(Errno::MSGSIZE);
        }
    }
    batch.verdict(&answers).ok_or(Errno::IO)
}

#[cfg(test)]
#[path = "nftables_test.rs"]
mod tests;

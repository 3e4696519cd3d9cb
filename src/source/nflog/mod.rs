//! `nflog:GROUP`: the packets that a rule hands to a group of the kernel's (`log group N`, `-j NFLOG`).
//!
//! In: netlink messages of this network namespace's kernel. Out: packets, and how many were lost. No text is read and
//! no other process can send here, so nothing can be forged. Binding needs `CAP_NET_ADMIN` in the user namespace that
//! the network namespace belongs to; receiving needs nothing. A group has one reader. By default the kernel holds
//! back a single packet for a second. It answers `EPERM` both for a missing right and for a group that another socket
//! has.

pub mod message;

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netdevice::index_to_name;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recvfrom, sendto,
    socket_with, sockopt,
};
use rustix::thread::{CapabilitySet, capabilities};

use self::message::{Captured, Message, messages};
use super::outbox::Outbox;
use super::thread::{self, Stop, Woken};
use super::{Handle, LoggedPacket, Refusal, Sink};
use crate::clock;
use crate::engine::packet::{Headers, OwnedPacket};
use crate::engine::reason::Reason;

/// How many bytes of each packet are copied: the headers, with 190 bytes of IPv6 extension headers.
const COPIED: u32 = 256;
/// The largest datagram that is read: a packet with all that the kernel may say of it.
const MAX_DATAGRAM: usize = 4096;
/// How much may wait in the socket: some 25,000 packets.
const SOCKET_BUFFER: usize = 32 << 20;
/// How long the kernel may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// What has been read of a socket that is bound to a group.
struct Nflog {
    buffer: Box<[u8]>,
    /// The number of the packet that comes next, once one has come.
    next: Option<u32>,
    /// The socket was full, and no packet's number has told yet how many did not fit.
    is_overrun: bool,
}

/// Binds to `group`: what it logs from now on comes here.
pub fn open(group: u16) -> Result<OwnedFd, Refusal> {
    request(group).map_err(|errno| match errno {
        Errno::PERM if !may_bind() => Refusal::NflogDenied,
        Errno::PERM | Errno::BUSY => Refusal::NflogTaken,
        Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT | Errno::INVAL | Errno::OPNOTSUPP => {
            Refusal::NflogMissing
        }
        other => Refusal::Bind(other),
    })
}

/// Receives in a thread of its own.
pub fn spawn(source: u16, socket: OwnedFd, sink: impl Sink) -> Result<Handle, Refusal> {
    let mut nflog = Nflog {
        buffer: vec![0; MAX_DATAGRAM].into(),
        next: None,
        is_overrun: false,
    };
    let read = move |socket: &OwnedFd, outbox: &mut Outbox| nflog.read(socket, outbox);
    Ok(thread::spawn("nflog", source, socket, read, sink)?)
}

fn may_bind() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::NET_ADMIN))
}

fn request(group: u16) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        flags,
        Some(NETFILTER),
    )?;
    let kernel = SocketAddrNetlink::new(0, 0);
    bind(&socket, &kernel)?;
    if sockopt::set_socket_recv_buffer_size_force(&socket, SOCKET_BUFFER).is_err() {
        // As much as net.core.rmem_max lets an ordinary user have.
        sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BUFFER)?;
    }
    let request = message::bind(group, COPIED);
    sendto(&socket, &request, SendFlags::empty(), &kernel)?;
    let never = Stop::new().map_err(|_| Errno::MFILE)?;
    let mut buffer = [0; MAX_DATAGRAM];
    loop {
        if never.wait(Some(socket.as_fd()), Some(ANSWER_TIMEOUT)) == Woken::Timeout {
            return Err(Errno::TIMEDOUT);
        }
        let datagram = receive(&socket, &mut buffer)?;
        // What is logged meanwhile comes before the start.
        let answer = messages(datagram).find_map(|message| match message {
            Message::Answer(error) => Some(error),
            _ => None,
        });
        match answer {
            None => {}
            Some(0) => return Ok(socket),
            Some(error) => return Err(Errno::from_raw_os_error(error)),
        }
    }
}

/// Receives a datagram of the kernel; an empty one instead of any other.
fn receive<'a>(socket: &OwnedFd, buffer: &'a mut [u8]) -> Result<&'a [u8], Errno> {
    let (length, _, sender) = recvfrom(socket, &mut *buffer, RecvFlags::empty())?;
    let sender = sender.and_then(|sender| SocketAddrNetlink::try_from(sender).ok());
    let is_kernel = sender.is_some_and(|sender| sender.pid() == 0);
    let length = if is_kernel { length } else { 0 };
    Ok(buffer.get(..length).unwrap_or_default())
}

impl Nflog {
    fn read(&mut self, socket: &OwnedFd, outbox: &mut Outbox) -> Result<(), Errno> {
        let datagram = match receive(socket, &mut self.buffer) {
            Ok(datagram) => datagram,
            // What did fit is still to be read.
            Err(Errno::NOBUFS) => {
                self.is_overrun = true;
                return Ok(());
            }
            Err(Errno::AGAIN) => {
                if std::mem::take(&mut self.is_overrun) {
                    outbox.lose(None);
                }
                return Err(Errno::AGAIN);
            }
            Err(errno) => return Err(errno),
        };
        for message in messages(datagram) {
            if let Message::Packet(captured) = message {
                let lost = lost(captured.seq, &mut self.next);
                if lost > 0 {
                    self.is_overrun = false;
                    outbox.lose(Some(lost.into()));
                }
                outbox.take_packet(packet(&captured, socket));
            }
        }
        Ok(())
    }
}

/// How many packets are missing before the one with the number `seq`, where `next` was expected.
fn lost(seq: Option<u32>, next: &mut Option<u32>) -> u32 {
    let Some(seq) = seq else {
        return 0;
    };
    let expected = next.replace(seq.wrapping_add(1));
    expected.map_or(0, |expected| seq.wrapping_sub(expected))
}

/// The packet, with the names of its interfaces.
fn packet(captured: &Captured<'_>, socket: &OwnedFd) -> Result<LoggedPacket, Reason> {
    let family = captured.family.ok_or(Reason::Protocol)?;
    let headers = Headers::read(family, captured.payload)?;
    let name = |index| match index {
        0 => Box::default(),
        // An interface that has gone since has no name any more, but it counts.
        index => index_to_name(socket, index).map_or(Box::from(*b"?"), |name| {
            name.into_bytes().into_boxed_slice()
        }),
    };
    Ok(LoggedPacket {
        at: clock::boot_now(),
        packet: OwnedPacket {
            prefix: captured.prefix.into(),
            iif: name(captured.iif),
            oif: name(captured.oif),
            headers,
        },
    })
}

#[cfg(test)]
#[path = "nflog_test.rs"]
mod tests;

//! A socket with two ends, for whole messages, one of which may bring a descriptor along.
//!
//! In and out: bytes, as datagrams that come in order and are never cut (`SOCK_SEQPACKET`): a message longer than the
//! reader's buffer is an error, and is not cut. The end of the other process is the end of the messages.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, send,
    sendmsg, socketpair,
};
use thiserror::Error;

/// Why nothing more can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Broken {
    /// The other process has ended, or has closed its end.
    #[error("it has ended")]
    Ended,
    /// It has sent a malformed message.
    #[error("it sent a malformed message")]
    Garbage,
    /// It does not read its messages.
    #[error("it does not read its messages")]
    Deaf,
    /// The kernel's number.
    #[error("{0}")]
    Failed(Errno),
}

/// One end.
#[derive(Debug)]
pub struct Channel(OwnedFd);

impl Channel {
    /// Both ends; neither outlives the start of another program unless it is handed to it.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        Ok((Self(ours), theirs))
    }

    /// The end that is `descriptor`.
    pub fn new(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }

    /// Sends a message without waiting, with an optional descriptor. Returns whether there was room.
    pub fn try_send(&self, bytes: &[u8], along: Option<BorrowedFd<'_>>) -> Result<bool, Broken> {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let sent = match along {
            None => retry(|| send(&self.0, bytes, flags)),
            Some(descriptor) => retry(|| {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
                let mut along = SendAncillaryBuffer::new(&mut space);
                let descriptors = [descriptor];
                along.push(SendAncillaryMessage::ScmRights(&descriptors));
                sendmsg(&self.0, &[IoSlice::new(bytes)], &mut along, flags)
            }),
        };
        match sent {
            Ok(_) => Ok(true),
            // A descriptor in flight counts against the receiver's own: ETOOMANYREFS ends with it.
            Err(Broken::Failed(Errno::AGAIN | Errno::TOOMANYREFS)) => Ok(false),
            Err(broken) => Err(broken),
        }
    }

    /// Sends a message; waits while the other end has too many.
    pub(super) fn send(&self, bytes: &[u8]) -> Result<(), Broken> {
        retry(|| send(&self.0, bytes, SendFlags::NOSIGNAL)).map(drop)
    }

    /// The next message that is there already, in `room`; `None` when there is none. A descriptor that comes
    /// along is not taken: the kernel closes it.
    pub fn try_receive<'a>(&self, room: &'a mut [u8]) -> Result<Option<&'a [u8]>, Broken> {
        let none = &mut RecvAncillaryBuffer::new(&mut []);
        match self.read(room, none, RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT) {
            Ok(length) => room.get(..length).map(Some).ok_or(Broken::Garbage),
            Err(Broken::Failed(Errno::AGAIN)) => Ok(None),
            Err(broken) => Err(broken),
        }
    }

    /// The next message, in `room`, and the descriptor that comes along.
    pub(super) fn receive_with<'a>(
        &self,
        room: &'a mut [u8],
    ) -> Result<(&'a [u8], Option<OwnedFd>), Broken> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut along = RecvAncillaryBuffer::new(&mut space);
        let length = self.read(room, &mut along, RecvFlags::CMSG_CLOEXEC)?;
        let descriptor = along.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        let bytes = room.get(..length).ok_or(Broken::Garbage)?;
        Ok((bytes, descriptor))
    }

    fn read(
        &self,
        room: &mut [u8],
        along: &mut RecvAncillaryBuffer<'_>,
        flags: RecvFlags,
    ) -> Result<usize, Broken> {
        let received = retry(|| {
            let mut slices = [IoSliceMut::new(room)];
            recvmsg(&self.0, &mut slices, along, flags)
        })?;
        match received.bytes {
            _ if received.flags.contains(ReturnFlags::TRUNC) => Err(Broken::Garbage),
            // An empty datagram is no message either.
            0 => Err(Broken::Ended),
            length => Ok(length),
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> Result<T, Broken> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            Err(Errno::PIPE | Errno::CONNRESET) => return Err(Broken::Ended),
            result => return result.map_err(Broken::Failed),
        }
    }
}

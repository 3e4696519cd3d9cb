//! A syslog socket of our own: `unix:PATH`.
//!
//! In: datagrams from root, from the daemon's own user and from the relay that is named; the kernel says who sent
//! each. Out: lines, and how many were from others. Only its owner (the relay, if there is one) can reach the socket;
//! it is removed when the source ends. A socket that an earlier run left there is removed, if it is ours and no
//! process has it. The mode of a socket's file is that of its descriptor at the bind, so there is no moment in which
//! others could send.
#![expect(
    clippy::disallowed_methods,
    reason = "the kernel lists in a file who is bound to a path"
)]

use std::fs;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, chownat, fchmod};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketAddrUnix,
    SocketFlags, SocketType, bind, connect, recvmsg, socket_with, sockopt,
};
use rustix::process::{Uid, geteuid};

use super::checkpoint::FileId;
use super::{Handle, Refusal, Sink, datagram};

/// A bound socket.
#[derive(Debug)]
pub struct Bound {
    socket: OwnedFd,
    relay: Option<Uid>,
    path: PathBuf,
    id: Option<FileId>,
}

/// Makes the socket at `path`; the user `relay` may send to it too.
pub fn bound(path: PathBuf, relay: Option<u32>) -> Result<Bound, Refusal> {
    let relay = relay.map(Uid::from_raw);
    let socket = listen(&path, relay)?;
    let id = found(&path).map(|found| FileId::of(&found));
    Ok(Bound {
        socket,
        relay,
        path,
        id,
    })
}

/// Receives at the socket, in a thread of its own.
pub fn spawn(source: u16, bound: Bound, sink: impl Sink) -> Result<Handle, Refusal> {
    let Bound {
        socket,
        relay,
        path,
        id,
    } = bound;
    let receive = move |socket: &OwnedFd, room: &mut [u8]| receive(socket, relay, room);
    let handle = datagram::spawn(source, socket, receive, sink)?;
    Ok(handle.and(move || {
        if found(&path).map(|found| FileId::of(&found)) == id {
            // It may be gone together with its directory.
            let _ = fs::remove_file(&path);
        }
    }))
}

fn listen(path: &Path, relay: Option<Uid>) -> Result<OwnedFd, Refusal> {
    let address = SocketAddrUnix::new(path).map_err(Refusal::Bind)?;
    refuse_insecure_directory(path)?;
    let socket = datagram_socket()?;
    fchmod(&socket, Mode::RUSR | Mode::WUSR).map_err(Refusal::Bind)?;
    sockopt::set_socket_passcred(&socket, true).map_err(Refusal::Bind)?;
    match bind(&socket, &address) {
        Err(Errno::ADDRINUSE) => {
            remove_stale(path, &address, relay)?;
            bind(&socket, &address).map_err(Refusal::Bind)?;
        }
        bound => bound.map_err(Refusal::Bind)?,
    }
    if let Some(relay) = relay.filter(|relay| *relay != geteuid()) {
        // The name, not the descriptor, has the owner that a sender is measured by. Not over a symlink.
        chownat(CWD, path, Some(relay), None, AtFlags::SYMLINK_NOFOLLOW).map_err(Refusal::Relay)?;
    }
    Ok(socket)
}

fn datagram_socket() -> Result<OwnedFd, Refusal> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None).map_err(Refusal::Bind)
}

/// Removes the socket of an earlier run.
fn remove_stale(path: &Path, address: &SocketAddrUnix, relay: Option<Uid>) -> Result<(), Refusal> {
    let owners = [Some(geteuid()), relay];
    let ours = |found: &fs::Metadata| {
        found.file_type().is_socket() && owners.contains(&Some(Uid::from_raw(found.uid())))
    };
    if !found(path).as_ref().is_some_and(ours) {
        return Err(Refusal::NotOurSocket);
    }
    let is_stale = match connect(datagram_socket()?, address) {
        Err(Errno::CONNREFUSED) => true,
        // It is the relay's: without CAP_DAC_OVERRIDE only the kernel's list tells.
        Err(Errno::ACCESS) => !is_bound(path),
        _ => false,
    };
    if !is_stale {
        return Err(Refusal::SocketTaken);
    }
    fs::remove_file(path)?;
    Ok(())
}

/// Whether a process of this network namespace is bound to `path`, or may be.
fn is_bound(path: &Path) -> bool {
    let path = path.as_os_str().as_bytes();
    let is_it = |line: &[u8]| {
        line.strip_suffix(path)
            .is_some_and(|rest| rest.ends_with(b" "))
    };
    let sockets = fs::read("/proc/net/unix");
    sockets.map_or(true, |list| list.split(|&byte| byte == b'\n').any(is_it))
}

/// A user that may write the directory could replace our socket.
fn refuse_insecure_directory(path: &Path) -> Result<(), Refusal> {
    const OTHERS_WRITE: u32 = 0o022;
    const STICKY: u32 = 0o1000;
    let directory = path.parent().unwrap_or(Path::new("/"));
    let mode = found(directory).map_or(0, |found| found.mode());
    if mode & OTHERS_WRITE != 0 && mode & STICKY == 0 {
        return Err(Refusal::InsecureDirectory(directory.to_path_buf()));
    }
    Ok(())
}

fn found(path: &Path) -> Option<fs::Metadata> {
    fs::symlink_metadata(path).ok()
}

/// Receives a datagram into `room`: how long it is, as far as there was room, and whether its sender may send.
fn receive(socket: &OwnedFd, relay: Option<Uid>, room: &mut [u8]) -> Result<(usize, bool), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
    let mut said = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(room)];
    let received = recvmsg(socket, &mut slices, &mut said, RecvFlags::CMSG_CLOEXEC)?;
    let sender = said.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmCredentials(who) => Some(who.uid),
        _ => None,
    });
    let known =
        sender.is_some_and(|uid| uid == Uid::ROOT || uid == geteuid() || Some(uid) == relay);
    Ok((received.bytes, known))
}

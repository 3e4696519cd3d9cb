//! The control socket: who may ask, how many at a time, and for how long.
//!
//! In: connections to a UNIX socket, and the replies to their requests. Out: the requests. Nothing here waits: a slow
//! or silent client is disconnected, and delays no other. One request and one reply each.
//!
//! The file is made with its mode, not given it later. Only root and our own user can connect; with a group its
//! members can too, and it is the kernel that checks that: the credentials of a peer name one of its groups only.
#![expect(
    clippy::disallowed_types,
    reason = "the daemon's half of the control socket"
)]

use std::fmt;
use std::fs::{self, DirBuilder, Metadata};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, fchmod};
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with,
};
use rustix::process::geteuid;
use thiserror::Error;

use crate::accounts::group_number;
use crate::clock;
use crate::engine::time::Time;
use crate::protocol::{
    FrameError, MAX_REPLY, MAX_REQUEST, REPLY_TIMEOUT, Reply, Request, decode_frame, encode_frame,
};

/// Clients at a time.
const MAX_CLIENTS: usize = 16;
/// How long a client may take for its request, and for reading its reply.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a daemon that was killed may still answer.
const TAKEOVER_TIMEOUT: Duration = Duration::from_millis(250);
/// Connections that wait to be taken.
const BACKLOG: i32 = 128;
/// How much is read from a client at a time.
const BLOCK_SIZE: usize = 16 * 1024;

/// The control socket, and the users that may use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// The socket.
    pub path: PathBuf,
    /// A group whose members may ask too.
    pub group: Option<Box<str>>,
}

/// Why there is no control socket.
#[derive(Debug, Error)]
pub(super) enum ControlError {
    /// Another daemon answers there.
    #[error("another daemon listens there; give each daemon its own path")]
    InUse,
    /// Its directory belongs to others, or others can write in it.
    #[error(
        "other users could replace the socket; its directory must belong to root or to logknock's user, and only the owner may write it"
    )]
    Insecure,
    /// Something else has its name.
    #[error("something else is there")]
    NotASocket,
    /// There is no such group.
    #[error("its group is not in /etc/group")]
    NoGroup,
    /// There is no such user.
    #[error("its user is not in /etc/passwd")]
    NoUser,
    /// What the kernel says.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<Errno> for ControlError {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

/// The number of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ClientId(u64);

/// The socket, which is there as long as this lives, and its clients.
#[derive(Debug)]
pub(super) struct Control {
    path: PathBuf,
    /// Device and inode of the file: another daemon may have taken our place.
    file: (u64, u64),
    listener: UnixListener,
    /// Every client that could connect may send a request.
    anybody: bool,
    clients: Vec<Client>,
    last: u64,
}

#[derive(Debug)]
struct Client {
    id: ClientId,
    stream: UnixStream,
    /// When it is hung up on, on the monotonic clock.
    until: Time,
    state: State,
}

/// How far a conversation is.
#[derive(Debug)]
enum State {
    /// Its request is read, as far as it has come.
    Reading(Vec<u8>),
    /// It waits for the reply.
    Waiting,
    /// The reply is written, what is left of it.
    Writing(Vec<u8>),
}

/// Makes the socket.
pub(super) fn listen_at(socket: &Socket) -> Result<Control, ControlError> {
    let number = |name: &str| group_number(name).ok_or(ControlError::NoGroup);
    let group = socket.group.as_deref().map(number).transpose()?;
    check_directory(&socket.path)?;
    let until = clock::monotonic_now().after(TAKEOVER_TIMEOUT);
    loop {
        match make_room(&socket.path) {
            Err(ControlError::InUse) if clock::monotonic_now() < until => {
                thread::park_timeout(TAKEOVER_TIMEOUT / 50);
            }
            room => break room?,
        }
    }
    let listener = UnixListener::from(bind_to(&socket.path, group)?);
    listener.set_nonblocking(true)?;
    let file = fs::symlink_metadata(&socket.path)?;
    Ok(Control {
        path: socket.path.clone(),
        file: (file.dev(), file.ino()),
        listener,
        anybody: group.is_some(),
        clients: Vec::new(),
        last: 0,
    })
}

impl Control {
    /// What is to be watched, and for what.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let clients = self.clients.iter().map(|client| {
            let flags = match client.state {
                State::Reading(_) => PollFlags::IN,
                State::Writing(_) => PollFlags::OUT,
                // poll reports unasked that the client has gone.
                State::Waiting => PollFlags::empty(),
            };
            (client.stream.as_fd(), flags)
        });
        clients.chain([(self.listener.as_fd(), PollFlags::IN)])
    }

    /// When a client is hung up on, on the boot clock.
    pub(super) fn due(&self) -> Option<Time> {
        let until = self.clients.iter().map(|client| client.until).min()?;
        Some(clock::boot_now().after(until.since(clock::monotonic_now())))
    }

    /// Accepts new clients, reads from the others, and returns the complete requests.
    pub(super) fn turn(&mut self) -> Vec<(ClientId, Request)> {
        self.accept();
        let mut requests = Vec::new();
        for client in &mut self.clients {
            requests.extend(client.read().map(|request| (client.id, request)));
            client.write();
        }
        let now = clock::monotonic_now();
        self.clients
            .retain(|client| now < client.until && !client.is_done() && !client.is_gone());
        requests
    }

    /// Answers a client. A client that has gone needs no answer.
    pub(super) fn reply(&mut self, id: ClientId, reply: &Reply) {
        if let Some(client) = self.clients.iter_mut().find(|client| client.id == id) {
            client.answer(reply);
        }
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            let refused = if !self.admits(&stream) {
                Some(Reply::Denied)
            } else if self.clients.len() >= MAX_CLIENTS {
                Some(Reply::Busy)
            } else {
                None
            };
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            self.last += 1;
            let mut client = Client {
                id: ClientId(self.last),
                stream,
                until: clock::monotonic_now().after(CLIENT_TIMEOUT),
                state: State::Reading(Vec::new()),
            };
            match refused {
                None => self.clients.push(client),
                // It fits into the empty buffer of a new socket.
                Some(reply) => client.answer(&reply),
            }
        }
    }

    fn admits(&self, stream: &UnixStream) -> bool {
        let owners = [0, geteuid().as_raw()];
        socket_peercred(stream)
            .is_ok_and(|peer| self.anybody || owners.contains(&peer.uid.as_raw()))
    }
}

impl Client {
    /// Its request, once it is whole.
    fn read(&mut self) -> Option<Request> {
        let State::Reading(bytes) = &mut self.state else {
            return None;
        };
        let mut room = [0; BLOCK_SIZE];
        let ended = loop {
            match self.stream.read(&mut room) {
                Ok(0) => break true,
                Ok(length) => bytes.extend(room.iter().take(length)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break error.kind() != io::ErrorKind::WouldBlock,
            }
            if bytes.len() > MAX_REQUEST + BLOCK_SIZE {
                break false;
            }
        };
        match decode_frame(bytes, MAX_REQUEST) {
            Ok(Some(request)) => {
                self.state = State::Waiting;
                self.until = clock::monotonic_now().after(REPLY_TIMEOUT);
                return Some(request);
            }
            Ok(None) if ended => self.state = State::Writing(Vec::new()),
            Ok(None) => {}
            Err(error) => self.answer(&failed(error)),
        }
        None
    }

    fn answer(&mut self, reply: &Reply) {
        let frame = encode_frame(reply, MAX_REPLY);
        let frame = frame.or_else(|_| encode_frame(&failed(FrameError::TooLong), MAX_REPLY));
        self.state = State::Writing(frame.unwrap_or_default());
        self.until = clock::monotonic_now().after(CLIENT_TIMEOUT);
        self.write();
    }

    fn write(&mut self) {
        let State::Writing(left) = &mut self.state else {
            return;
        };
        while !left.is_empty() {
            match self.stream.write(left) {
                Ok(length) => drop(left.drain(..length)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => left.clear(),
            }
        }
    }

    /// Whether it has hung up before it was answered.
    fn is_gone(&self) -> bool {
        let mut end = [PollFd::new(&self.stream, PollFlags::empty())];
        let now = Timespec::default();
        matches!(self.state, State::Waiting) && poll(&mut end, Some(&now)) != Ok(0)
    }

    fn is_done(&self) -> bool {
        matches!(&self.state, State::Writing(left) if left.is_empty())
    }
}

/// It is not done, and why.
pub(super) fn failed(why: impl fmt::Display) -> Reply {
    Reply::Failed {
        message: why.to_string(),
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|file| (file.dev(), file.ino()) == self.file);
        if ours {
            drop(fs::remove_file(&self.path));
        }
    }
}

/// Makes the directory if it is missing, and looks whether it can be trusted.
pub(super) fn check_directory(path: &Path) -> Result<(), ControlError> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    match DirBuilder::new().mode(0o755).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
        _ => {}
    }
    if is_ours(&fs::metadata(directory)?) {
        Ok(())
    } else {
        Err(ControlError::Insecure)
    }
}

/// Whether only root or our own user can put something into it.
pub(super) fn is_ours(directory: &Metadata) -> bool {
    let owners = [0, geteuid().as_raw()];
    directory.mode() & 0o022 == 0 && owners.contains(&directory.uid())
}

/// Removes a socket without a listener.
pub(super) fn make_room(path: &Path) -> Result<(), ControlError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
        Ok(file) if !file.file_type().is_socket() => return Err(ControlError::NotASocket),
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Ok(fs::remove_file(path)?)
        }
        Err(error) => Err(error.into()),
        Ok(_) => Err(ControlError::InUse),
    }
}

pub(super) fn bind_to(path: &Path, group: Option<u32>) -> Result<OwnedFd, ControlError> {
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    // The file is made with the mode that its socket has (unix_bind): it is never open to others.
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    if let Some(group) = group {
        std::os::unix::fs::lchown(path, None, Some(group))?;
        rustix::fs::chmod(path, Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::WGRP)?;
    }
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

#[cfg(test)]
#[path = "control_test.rs"]
mod tests;

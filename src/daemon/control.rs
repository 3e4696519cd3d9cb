//! The control socket: who may ask, how many at a time, and for how long.
//!
//! In: connections to a UNIX socket. Out: [`Message::Request`]s for the loop, each with a place for the
//! reply, which the loop can fill without waiting. A thread for each client reads and writes, sixteen
//! at most and two seconds each, so a client that is slow or silent is nobody's business but its own.
//!
//! The file is made with its mode, not given it later. Nobody but root and our own user can connect;
//! with a group its members can too, and it is the kernel that checks that: the credentials of a peer
//! name one of its groups only.
#![expect(
    clippy::disallowed_types,
    reason = "the daemon's half of the control socket"
)]

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;
use std::{error, fmt};

use rustix::fs::{Mode, fchmod};
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{
    AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType, bind, listen, shutdown,
    socket_with,
};
use rustix::process::geteuid;

use super::inbox::{Message, Outlet};
use crate::accounts::group_number;
use crate::clock;
use crate::protocol::{
    FrameError, MAX_REPLY, MAX_REQUEST, Reply, Request, Timed, read_frame, write_frame,
};

/// Clients at a time.
const MAX_CLIENTS: usize = 16;
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a daemon that was killed may still answer.
const LAST_MOMENT: Duration = Duration::from_millis(250);
/// What `accept` says of a socket that has been shut down.
const SHUT_DOWN: i32 = Errno::INVAL.raw_os_error();
/// Connections that wait to be taken.
const BACKLOG: i32 = 128;

/// Where the daemon is asked, and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// The socket.
    pub path: PathBuf,
    /// A group whose members may ask too.
    pub group: Option<Box<str>>,
}

/// Why there is no control socket.
#[derive(Debug)]
pub(super) enum ControlError {
    /// Another daemon answers there.
    InUse,
    /// Its directory belongs to others, or others can write in it.
    Insecure,
    /// Something else has its name.
    NotASocket,
    /// There is no such group.
    NoGroup,
    /// What the kernel says.
    Io(io::Error),
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InUse => "another daemon answers there; give each a path of its own",
            Self::Insecure => {
                "others could put a socket of theirs in its place; its directory must belong to root or to us, and be writable by nobody else"
            }
            Self::NotASocket => "something else is there",
            Self::NoGroup => "its group is not in /etc/group",
            Self::Io(error) => return error.fmt(f),
        })
    }
}

impl error::Error for ControlError {}

impl From<io::Error> for ControlError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Errno> for ControlError {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

/// The socket, which is there as long as this lives.
#[derive(Debug)]
pub(super) struct Control {
    path: PathBuf,
    /// Device and inode of the file: another daemon may have taken our place.
    file: (u64, u64),
    listener: Arc<UnixListener>,
}

/// The socket, on which nobody answers yet.
pub(super) struct Bound {
    listener: UnixListener,
    path: PathBuf,
    file: (u64, u64),
    anybody: bool,
}

/// Makes the socket. It is the last thing that needs a right.
pub(super) fn bound(socket: &Socket) -> Result<Bound, ControlError> {
    let number = |name: &str| group_number(name).ok_or(ControlError::NoGroup);
    let group = socket.group.as_deref().map(number).transpose()?;
    check_directory(&socket.path)?;
    let until = clock::monotonic_now().after(LAST_MOMENT);
    loop {
        match make_room(&socket.path) {
            Err(ControlError::InUse) if clock::monotonic_now() < until => {
                thread::park_timeout(LAST_MOMENT / 50);
            }
            room => break room?,
        }
    }
    let listener = UnixListener::from(bind_to(&socket.path, group)?);
    let file = fs::symlink_metadata(&socket.path)?;
    Ok(Bound {
        listener,
        path: socket.path.clone(),
        file: (file.dev(), file.ino()),
        anybody: group.is_some(),
    })
}

impl Control {
    /// Answers at the socket from now on, by way of `inbox`.
    pub(super) fn start(bound: Bound, inbox: Outlet) -> Result<Self, ControlError> {
        let Bound {
            listener,
            path,
            file,
            anybody,
        } = bound;
        let listener = Arc::new(listener);
        let desk = Desk {
            inbox,
            anybody,
            clients: Arc::new(()),
        };
        let accepting = Arc::clone(&listener);
        thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || desk.serve(&accepting))?;
        Ok(Self {
            path,
            file,
            listener,
        })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|file| (file.dev(), file.ino()) == self.file);
        if ours {
            drop(fs::remove_file(&self.path));
        }
        // Ends the accepting thread.
        let _ = shutdown(&*self.listener, Shutdown::Both);
    }
}

/// Makes the directory if it is missing, and looks whether it can be trusted.
fn check_directory(path: &Path) -> Result<(), ControlError> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    match DirBuilder::new().mode(0o755).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
        _ => {}
    }
    let found = fs::metadata(directory)?;
    let owners = [0, geteuid().as_raw()];
    if found.mode() & 0o022 != 0 || !owners.contains(&found.uid()) {
        return Err(ControlError::Insecure);
    }
    Ok(())
}

/// Removes a socket on which nobody listens any more.
fn make_room(path: &Path) -> Result<(), ControlError> {
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

fn bind_to(path: &Path, group: Option<u32>) -> Result<OwnedFd, ControlError> {
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

/// Where clients are served.
struct Desk {
    inbox: Outlet,
    /// Whoever could connect may ask.
    anybody: bool,
    /// As many more of these as there are clients.
    clients: Arc<()>,
}

impl Desk {
    fn serve(&self, listener: &UnixListener) {
        for stream in listener.incoming() {
            match stream {
                Ok(stream) => self.receive(stream),
                Err(error) if error.raw_os_error() == Some(SHUT_DOWN) => return,
                // No descriptor is left: whoever waits is heard when there is.
                Err(_) => thread::park_timeout(PATIENCE / 20),
            }
        }
    }

    fn receive(&self, stream: UnixStream) {
        let turned_away = if !self.admits(&stream) {
            Some(Reply::Denied)
        } else if Arc::strong_count(&self.clients) > MAX_CLIENTS {
            Some(Reply::Busy)
        } else {
            None
        };
        if let Some(reply) = turned_away {
            // It fits into the empty buffer of a new socket.
            drop(stream.set_nonblocking(true));
            drop(write_frame(&mut &stream, &reply, MAX_REPLY));
            return;
        }
        let (inbox, place) = (self.inbox.clone(), Arc::clone(&self.clients));
        let thread = thread::Builder::new().name("client".to_owned());
        // Without a thread there is no answer, and the client sees us hang up.
        drop(thread.spawn(move || {
            converse(&stream, &inbox);
            drop(place);
        }));
    }

    fn admits(&self, stream: &UnixStream) -> bool {
        let owners = [0, geteuid().as_raw()];
        socket_peercred(stream)
            .is_ok_and(|peer| self.anybody || owners.contains(&peer.uid.as_raw()))
    }
}

/// One request, one reply.
fn converse(stream: &UnixStream, inbox: &Outlet) {
    let mut timed = Timed::new(stream, PATIENCE);
    let reply = match read_frame::<Request>(&mut timed, MAX_REQUEST) {
        Ok(request) => answer(request, inbox, &timed),
        Err(FrameError::Io(_)) => return,
        Err(error) => failed(error),
    };
    // A client that has gone does not want to know, and of what is too long nothing has been written.
    if let Err(error @ FrameError::TooLong) = write_frame(&mut timed, &reply, MAX_REPLY) {
        drop(write_frame(&mut timed, &failed(error), MAX_REPLY));
    }
}

/// What the loop says.
fn answer(request: Request, inbox: &Outlet, timed: &Timed<'_>) -> Reply {
    let (reply, answered) = sync_channel(1);
    if inbox.send(Message::Request(request, reply)).is_err() {
        return failed("the daemon is stopping");
    }
    answered
        .recv_timeout(timed.left())
        .unwrap_or_else(|_| failed("the daemon has no time to answer, or is stopping"))
}

fn failed(why: impl fmt::Display) -> Reply {
    Reply::Failed {
        message: why.to_string(),
    }
}

#[cfg(test)]
#[path = "control_test.rs"]
mod tests;

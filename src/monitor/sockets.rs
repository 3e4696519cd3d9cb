//! The sockets that the detector has made, removed behind it: it can remove nothing itself, as the right to
//! remove one file of a directory is the right to remove all of them.
//!
//! In: their paths, once a detector that had made them is gone. Out: none of them is left, unless another
//! process listens there by now.
#![expect(
    clippy::disallowed_types,
    reason = "whether anybody has a socket is learnt by connecting to it"
)]

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, lstat, unlink};
use rustix::io::Errno;

/// Removes the sockets in `paths` that no process has bound.
pub(super) fn remove(paths: &[PathBuf]) {
    for path in paths.iter().filter(|path| is_left(path)) {
        // This is harmless: a client that connects finds no listener.
        let _ = unlink(path.as_path());
    }
}

/// Whether it is a socket that no process has bound. A listener refuses a datagram socket with another error, and
/// never makes it wait. Without the right to connect it is the relay's, whom we have made it for.
fn is_left(path: &Path) -> bool {
    let is_socket = |mode| FileType::from_raw_mode(mode) == FileType::Socket;
    let is_socket = lstat(path).is_ok_and(|file| is_socket(file.st_mode));
    let left = |error: std::io::Error| {
        let left = [Errno::CONNREFUSED, Errno::ACCESS].map(|errno| Some(errno.raw_os_error()));
        left.contains(&error.raw_os_error())
    };
    let connected = || UnixDatagram::unbound()?.connect(path);
    is_socket && connected().is_err_and(left)
}

#[cfg(test)]
#[path = "sockets_test.rs"]
mod tests;

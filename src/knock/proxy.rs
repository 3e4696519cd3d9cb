//! A connection passed to standard input and output, for ssh's `ProxyCommand`.
//!
//! In: a connection and two descriptors. Out: their bytes, unbuffered, both ways, until the peer has
//! no more. End of input is passed on, and the answer to it is still waited for.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::thread;

use rustix::io::{Errno, ioctl_fionbio, read, write};
use rustix::net::sockopt::{set_socket_keepalive, set_tcp_nodelay};
use rustix::net::{Shutdown, shutdown};

const CHUNK: usize = 64 * 1024;

/// Passes `connection` between `input` and `output` until the peer ends it.
pub fn pass(
    connection: &OwnedFd,
    input: impl AsFd + Send + 'static,
    output: impl AsFd,
) -> io::Result<()> {
    ioctl_fionbio(connection, false)?;
    set_tcp_nodelay(connection, true)?;
    set_socket_keepalive(connection, true)?;
    let to_peer = connection.try_clone()?;
    // Nobody joins it: it may wait for input for ever, and ends with the process.
    thread::Builder::new()
        .name("input".to_owned())
        .spawn(move || {
            // A peer that takes no more is still heard to its end; what failed, it will tell.
            let _ = copy(input, &to_peer);
            let _ = shutdown(&to_peer, Shutdown::Write);
        })?;
    copy(connection, output)?;
    Ok(())
}

fn copy(from: impl AsFd, to: impl AsFd) -> rustix::io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let length = match read(&from, &mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error),
        };
        let mut rest = buffer.get(..length).unwrap_or_default();
        while !rest.is_empty() {
            match write(&to, rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

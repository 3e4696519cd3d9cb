use std::fs;
use std::os::unix::net::{UnixDatagram, UnixListener};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, connect, listen, socket};

use super::*;

#[test]
fn a_socket_is_taken_away_when_nobody_has_it_and_nothing_else_ever() {
    let dir = tempfile::tempdir().unwrap();
    let paths = ["asked", "told", "file", "missing"].map(|name| dir.path().join(name));
    let [asked, told, file, missing] = &paths;
    let listener = UnixListener::bind(asked).unwrap();
    let receiver = UnixDatagram::bind(told).unwrap();
    fs::create_dir(file).unwrap();
    std::os::unix::fs::symlink(asked, missing).unwrap();
    remove(&paths);
    assert!(asked.exists() && told.exists());
    drop((listener, receiver));
    remove(&paths);
    assert!(!asked.exists() && !told.exists());
    assert!(file.exists() && missing.is_symlink());
}

#[test]
fn a_listener_that_accepts_nobody_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("full");
    let address = SocketAddrUnix::new(&path).unwrap();
    let stream = || socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    let (listener, client) = (stream(), stream());
    bind(&listener, &address).unwrap();
    listen(&listener, 0).unwrap();
    connect(&client, &address).unwrap();
    remove(std::slice::from_ref(&path));
    assert!(path.exists());
}

//! The control socket: whose it is, and what in its place is left alone.
#![expect(
    clippy::disallowed_methods,
    reason = "a test makes files, and reads what came of them"
)]

use std::os::unix::fs::PermissionsExt;

use rustix::event::{PollFd, poll};

use super::*;
use crate::protocol::{AskError, ask};

fn socket(dir: &Path) -> Socket {
    Socket {
        path: dir.join("control.sock"),
        group: None,
    }
}

/// Waits until something has come, and takes it.
fn turn(control: &mut Control) -> Vec<(ClientId, Request)> {
    let mut fds: Vec<_> = control
        .descriptors()
        .map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags))
        .collect();
    let most = Duration::from_secs(10).try_into().unwrap();
    poll(&mut fds, Some(&most)).unwrap();
    drop(fds);
    control.turn()
}

fn next(control: &mut Control) -> (ClientId, Request) {
    let end = clock::monotonic_now().after(Duration::from_secs(10));
    loop {
        if let Some(request) = turn(control).pop() {
            return request;
        }
        assert!(clock::monotonic_now() < end, "no request");
    }
}

#[test]
fn a_request_comes_out_and_its_reply_reaches_the_client() {
    let dir = tempfile::tempdir().unwrap();
    let socket = socket(dir.path());
    let mut control = listen_at(&socket).unwrap();
    let path = socket.path.clone();
    let client = thread::Builder::new()
        .spawn(move || ask(&path, &Request::Reload, Duration::from_secs(10)))
        .unwrap();
    let (id, request) = next(&mut control);
    assert_eq!(request, Request::Reload);
    control.reply(id, &Reply::Done { count: 3 });
    assert_eq!(client.join().unwrap().unwrap(), Reply::Done { count: 3 });
    drop(control);
    let gone = ask(&socket.path, &Request::Status, Duration::from_secs(1));
    assert!(matches!(gone, Err(AskError::NoDaemon(_))));
    assert!(!socket.path.exists());
}

/// What comes back until it hangs up.
fn rest(mut client: UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).unwrap();
    bytes
}

fn reply(bytes: &[u8]) -> Reply {
    decode_frame(bytes, MAX_REPLY).unwrap().unwrap()
}

#[test]
fn a_request_may_come_byte_by_byte_and_holds_up_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let socket = socket(dir.path());
    let mut control = listen_at(&socket).unwrap();
    let mut slow = UnixStream::connect(&socket.path).unwrap();
    let frame = encode_frame(&Request::Status, MAX_REQUEST).unwrap();
    for byte in &frame[..frame.len() - 1] {
        slow.write_all(&[*byte]).unwrap();
        assert_eq!(turn(&mut control), []);
    }
    let mut quick = UnixStream::connect(&socket.path).unwrap();
    quick.write_all(&frame).unwrap();
    let (other, request) = next(&mut control);
    assert_eq!(request, Request::Status);
    slow.write_all(&frame[frame.len() - 1..]).unwrap();
    let (id, request) = next(&mut control);
    assert_eq!(request, Request::Status);
    assert_ne!(id, other);
    control.reply(id, &Reply::Done { count: 1 });
    control.turn();
    assert_eq!(reply(&rest(slow)), Reply::Done { count: 1 });
}

#[test]
fn the_last_of_too_many_clients_gets_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let socket = socket(dir.path());
    let mut control = listen_at(&socket).unwrap();
    let silent: Vec<_> = (0..MAX_CLIENTS)
        .map(|_| UnixStream::connect(&socket.path).unwrap())
        .collect();
    let one_more = UnixStream::connect(&socket.path).unwrap();
    assert_eq!(control.turn(), []);
    assert_eq!(reply(&rest(one_more)), Reply::Busy);
    assert!(control.due().is_some(), "the silent ones are hung up on");
    drop(silent);
    assert_eq!(control.turn(), []);
    assert_eq!(control.due(), None);
}

#[test]
fn a_malformed_request_is_answered_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let socket = socket(dir.path());
    let mut control = listen_at(&socket).unwrap();
    let mut client = UnixStream::connect(&socket.path).unwrap();
    client.write_all(&[0xff; 64]).unwrap();
    assert_eq!(turn(&mut control), []);
    assert!(matches!(reply(&rest(client)), Reply::Failed { .. }));
}

#[test]
fn the_socket_is_for_its_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let socket = socket(dir.path());
    let control = listen_at(&socket);
    control.unwrap();
    let control = listen_at(&socket);
    let control = control.unwrap();
    assert_eq!(fs::metadata(&socket.path).unwrap().mode() & 0o7777, 0o600);
    drop(control);
}

#[test]
fn a_group_may_be_let_in() {
    let dir = tempfile::tempdir().unwrap();
    let own = rustix::process::getegid().as_raw();
    let socket = Socket {
        group: Some(own.to_string().into()),
        ..socket(dir.path())
    };
    let control = listen_at(&socket);
    let control = control.unwrap();
    let file = fs::metadata(&socket.path).unwrap();
    assert_eq!((file.mode() & 0o7777, file.gid()), (0o660, own));
    drop(control);
}

#[test]
fn a_socket_on_which_somebody_listens_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let socket = socket(dir.path());
    let first = listen_at(&socket);
    let second = listen_at(&socket);
    assert!(matches!(second, Err(ControlError::InUse)));
    assert!(UnixStream::connect(&socket.path).is_ok());
    drop(first);
}

#[test]
fn a_socket_on_which_nobody_listens_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let socket = socket(dir.path());
    drop(UnixListener::bind(&socket.path).unwrap());
    let control = listen_at(&socket);
    assert!(control.is_ok());
}

#[test]
fn another_file_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let socket = socket(dir.path());
    fs::write(&socket.path, "mine").unwrap();
    let control = listen_at(&socket);
    assert!(matches!(control, Err(ControlError::NotASocket)));
    assert_eq!(fs::read(&socket.path).unwrap(), b"mine");
}

#[test]
fn a_directory_that_others_can_write_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let control = listen_at(&socket(dir.path()));
    assert!(matches!(control, Err(ControlError::Insecure)));
}

#[test]
fn another_daemon_s_socket_is_not_removed_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let socket = socket(dir.path());
    let control = listen_at(&socket);
    fs::remove_file(&socket.path).unwrap();
    let _other = UnixListener::bind(&socket.path).unwrap();
    drop(control);
    assert!(socket.path.exists());
}

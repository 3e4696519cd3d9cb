//! The control socket: whose it is, and what in its place is left alone.
#![expect(
    clippy::disallowed_methods,
    reason = "a test makes files, and reads what came of them"
)]

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::daemon::inbox::{Inbox, Next};
use crate::protocol::{AskError, ask};

fn socket(dir: &Path) -> Socket {
    Socket {
        path: dir.join("control.sock"),
        group: None,
    }
}

fn start(socket: &Socket) -> (Result<Control, ControlError>, Inbox) {
    let (sender, inbox) = Inbox::new();
    (
        bound(socket).and_then(|bound| Control::start(bound, sender)),
        inbox,
    )
}

#[test]
fn a_request_reaches_the_inbox_and_its_reply_the_client() {
    let dir = tempfile::tempdir().unwrap();
    let socket = socket(dir.path());
    let (control, inbox) = start(&socket);
    let control = control.unwrap();
    let path = socket.path.clone();
    let client = thread::Builder::new()
        .spawn(move || ask(&path, &Request::Reload, Duration::from_secs(10)))
        .unwrap();
    let Next::Message(Message::Request(Request::Reload, reply)) = inbox.wait(None) else {
        panic!("no request");
    };
    reply.try_send(Reply::Done { count: 3 }).unwrap();
    assert_eq!(client.join().unwrap().unwrap(), Reply::Done { count: 3 });
    drop(control);
    let gone = ask(&socket.path, &Request::Status, Duration::from_secs(1));
    assert!(matches!(gone, Err(AskError::NoDaemon(_))));
    assert!(!socket.path.exists());
}

#[test]
fn the_socket_is_for_its_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let socket = socket(dir.path());
    let (control, _inbox) = start(&socket);
    control.unwrap();
    let (control, _inbox) = start(&socket);
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
    let (control, _inbox) = start(&socket);
    let control = control.unwrap();
    let file = fs::metadata(&socket.path).unwrap();
    assert_eq!((file.mode() & 0o7777, file.gid()), (0o660, own));
    drop(control);
}

#[test]
fn a_socket_on_which_somebody_listens_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let socket = socket(dir.path());
    let (first, _inbox) = start(&socket);
    let (second, _other) = start(&socket);
    assert!(matches!(second, Err(ControlError::InUse)));
    assert!(UnixStream::connect(&socket.path).is_ok());
    drop(first);
}

#[test]
fn a_socket_on_which_nobody_listens_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let socket = socket(dir.path());
    drop(UnixListener::bind(&socket.path).unwrap());
    let (control, _inbox) = start(&socket);
    assert!(control.is_ok());
}

#[test]
fn another_file_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let socket = socket(dir.path());
    fs::write(&socket.path, "mine").unwrap();
    let (control, _inbox) = start(&socket);
    assert!(matches!(control, Err(ControlError::NotASocket)));
    assert_eq!(fs::read(&socket.path).unwrap(), b"mine");
}

#[test]
fn a_directory_that_others_can_write_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let (control, _inbox) = start(&socket(dir.path()));
    assert!(matches!(control, Err(ControlError::Insecure)));
}

#[test]
fn another_daemon_s_socket_is_not_removed_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let socket = socket(dir.path());
    let (control, _inbox) = start(&socket);
    fs::remove_file(&socket.path).unwrap();
    let _other = UnixListener::bind(&socket.path).unwrap();
    drop(control);
    assert!(socket.path.exists());
}

//! What is written to the control socket, and what is read from it, whatever bytes come.

use super::*;

fn frame(request: &Request) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_frame(&mut bytes, request, MAX_REQUEST).unwrap();
    bytes
}

fn read(bytes: &[u8]) -> Result<Request, FrameError> {
    read_frame(&mut &bytes[..], MAX_REQUEST)
}

fn framed(json: &str) -> Vec<u8> {
    let length = u32::try_from(json.len()).unwrap();
    [&length.to_be_bytes()[..], json.as_bytes()].concat()
}

#[test]
fn what_is_written_is_read() {
    let address = IpAddr::from([192, 0, 2, 7]);
    for request in [
        Request::Status,
        Request::Open {
            door: "ssh".to_owned(),
            src: address,
        },
        Request::Close(Whose::Everybody),
        Request::Close(Whose::Of(address)),
        Request::Reload,
        Request::PutBack,
        Request::Explain(address),
    ] {
        assert_eq!(read(&frame(&request)).unwrap(), request);
    }
}

#[test]
fn the_length_is_looked_at_before_anything_is_read() {
    let most = u32::try_from(MAX_REQUEST).unwrap();
    let endless = (most + 1).to_be_bytes();
    assert!(matches!(read(&endless), Err(FrameError::TooLong)));
    let cut = most.to_be_bytes();
    assert!(matches!(read(&cut), Err(FrameError::Io(_))));
}

#[test]
fn a_cut_frame_is_no_request() {
    let whole = frame(&Request::Reload);
    for length in 0..whole.len() {
        assert!(read(&whole[..length]).is_err(), "{length}");
    }
}

#[test]
fn another_version_is_recognised_by_its_number() {
    let bytes = framed(r#"{"version":7,"body":{"dance":[]}}"#);
    assert!(matches!(read(&bytes), Err(FrameError::Version(7))));
}

#[test]
fn anything_else_is_malformed() {
    for json in [
        "",
        "null",
        "{}",
        "\u{fffd}",
        r#"{"version":1}"#,
        r#"{"version":1,"body":"dance"}"#,
        r#"{"version":1,"body":{"open":{"door":"ssh"}}}"#,
        r#"{"version":1,"body":{"open":{"door":"ssh","src":"here"}}}"#,
        r#"{"version":1,"body":{"open":{"door":"ssh","src":"192.0.2.7","for":1}}}"#,
        r#"{"version":1,"body":{"close":null}}"#,
        r#"{"version":-1,"body":"status"}"#,
    ] {
        let read = read(&framed(json));
        assert!(matches!(read, Err(FrameError::Malformed)), "{json}");
    }
}

#[test]
fn a_status_with_every_grant_it_may_have_fits_into_a_reply() {
    let grant = GrantStatus {
        origin: None,
        door: "d".repeat(64),
        src: "2001:db8:1111:2222:3333:4444:5555:6666".parse().unwrap(),
        phase: Phase::Closing,
        left_seconds: u64::from(u32::MAX),
        failed: u32::MAX,
        words: String::new(),
    };
    let status = Status {
        grants: vec![grant; MAX_GRANTS],
        ..Status::default()
    };
    let reply = Reply::Status(Box::new(status));
    let mut bytes = Vec::new();
    write_frame(&mut bytes, &reply, MAX_REPLY / 2).unwrap();
    assert_eq!(
        read_frame::<Reply>(&mut &bytes[..], MAX_REPLY).unwrap(),
        reply
    );
}

#[test]
fn what_comes_back_does_nothing_to_a_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut client, _) = listener.accept().unwrap();
            let _: Request = read_frame(&mut client, MAX_REQUEST).unwrap();
            let message = "1\u{1b}[2J2\u{9b}3\r4\n5\u{7f}é".to_owned();
            write_frame(&mut client, &Reply::Failed { message }, MAX_REPLY).unwrap();
        });
        let reply = ask(&path, &Request::Reload, Duration::from_secs(10));
        let Ok(Reply::Failed { message }) = reply else {
            panic!("{reply:?}");
        };
        assert_eq!(message, "1\u{fffd}[2J2\u{fffd}3\u{fffd}4\n5\u{fffd}é");
    });
}

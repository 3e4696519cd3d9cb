//! Syslog sockets as the daemon opens them: who is heard, what is a line, and what stays behind.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use logknock::engine::reason::Reason;
use logknock::source::{Closed, Handle, Refusal, RefusalKind, Report, udp, unix};

const PATIENCE: Duration = Duration::from_secs(10);
const LINE: &[u8] = b"<4>Nov 20 10:00:00 gw kernel: lk: IN=eth0 OUT= \n";

type Started = (Handle, Receiver<Report>);

fn start(
    spawn: impl FnOnce(Box<dyn FnMut(Report) -> Result<(), Closed> + Send>) -> Result<Handle, Refusal>,
) -> Result<Started, Refusal> {
    let (sender, reports) = channel();
    let sink = Box::new(move |report| sender.send(report).map_err(|_| Closed));
    spawn(sink).map(|handle| (handle, reports))
}

fn start_unix(path: &Path) -> Result<Started, Refusal> {
    start(|sink| unix::spawn(0, unix::bound(path.into(), None)?, sink))
}

/// A UDP source on a port that was free, and where it is.
fn start_udp(peers: &[&str]) -> (Started, SocketAddr) {
    let peers: Vec<_> = peers.iter().map(|peer| peer.parse().unwrap()).collect();
    let free = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let started = start(|sink| udp::spawn(0, udp::bound(address, &peers)?, sink)).unwrap();
    (started, address)
}

/// What comes next beside health: lines as they are, or why there is none.
fn next(reports: &Receiver<Report>) -> Result<Vec<u8>, Reason> {
    loop {
        match reports.recv_timeout(PATIENCE).expect("a report") {
            Report::Lines(batch) => return Ok(batch.bytes),
            Report::Rejected { reason, .. } => return Err(reason),
            Report::Health { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn datagrams_to_the_socket_become_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("syslog");
    let (handle, reports) = start_unix(&path).unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let relay = UnixDatagram::unbound().unwrap();
    relay.send_to(LINE, &path).unwrap();
    assert_eq!(next(&reports), Ok(LINE.to_vec()));
    let two = [LINE, LINE].concat();
    relay.send_to(&two, &path).unwrap();
    assert_eq!(next(&reports), Err(Reason::Grammar));
    relay.send_to(&vec![b'<'; 65_536], &path).unwrap();
    assert_eq!(next(&reports), Err(Reason::TooLong));
    relay.send_to(&[], &path).unwrap();
    assert_eq!(next(&reports), Err(Reason::Grammar));
    handle.stop();
    assert!(!path.exists());
}

#[test]
fn the_socket_of_an_earlier_run_is_taken_over_and_nothing_else_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("syslog");
    drop(UnixDatagram::bind(&path).unwrap());
    // A child that another test starts has the closed socket open until it executes its program.
    let limit = std::time::Instant::now() + PATIENCE;
    let (handle, _reports) = loop {
        match start_unix(&path) {
            Err(Refusal::SocketTaken) if std::time::Instant::now() < limit => {
                std::thread::sleep(Duration::from_millis(5));
            }
            started => break started.unwrap(),
        }
    };
    assert!(matches!(start_unix(&path), Err(Refusal::SocketTaken)));
    handle.stop();
    fs::write(&path, "precious").unwrap();
    assert!(matches!(start_unix(&path), Err(Refusal::NotOurSocket)));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_socket_that_another_run_put_in_place_of_ours_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("syslog");
    let (handle, _reports) = start_unix(&path).unwrap();
    let aside = dir.path().join("aside");
    fs::rename(&path, &aside).unwrap();
    let _other = UnixDatagram::bind(&path).unwrap();
    handle.stop();
    assert!(fs::symlink_metadata(&path).unwrap().file_type().is_socket());
}

#[test]
fn a_directory_that_others_may_write_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let set = |mode| fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
    set(0o777);
    let refusal = start_unix(&dir.path().join("syslog")).err().unwrap();
    assert_eq!(refusal.kind(), RefusalKind::Permission, "{refusal}");
    set(0o1777);
    start_unix(&dir.path().join("syslog")).unwrap().0.stop();
}

#[test]
fn datagrams_over_loopback_become_lines() {
    let ((handle, reports), address) = start_udp(&[]);
    let relay = UdpSocket::bind("127.0.0.1:0").unwrap();
    relay.send_to(LINE, address).unwrap();
    assert_eq!(next(&reports), Ok(LINE.to_vec()));
    relay.send_to(&[LINE, LINE].concat(), address).unwrap();
    assert_eq!(next(&reports), Err(Reason::Grammar));
    relay.send_to(&vec![b'<'; 65_507], address).unwrap();
    assert_eq!(next(&reports), Err(Reason::TooLong));
    handle.stop();
}

#[test]
fn datagrams_of_hosts_that_are_not_named_are_counted_and_not_read() {
    let ((handle, reports), address) = start_udp(&["192.0.2.0/24"]);
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.send_to(LINE, address).unwrap();
    assert_eq!(next(&reports), Err(Reason::Peer));
    handle.stop();
}

#[test]
fn an_address_of_the_network_needs_peers() {
    for address in [
        "0.0.0.0:5514",
        "[::]:5514",
        "192.0.2.1:5514",
        "[::ffff:192.0.2.1]:5514",
    ] {
        let address = address.parse().unwrap();
        let refusal = start(|sink| udp::spawn(0, udp::bound(address, &[])?, sink))
            .err()
            .unwrap();
        assert_eq!(refusal.kind(), RefusalKind::Configuration, "{refusal}");
    }
}

#[test]
fn an_address_in_use_is_refused() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let refusal = start(|sink| udp::spawn(0, udp::bound(address, &[])?, sink))
        .err()
        .unwrap();
    assert_eq!(refusal.kind(), RefusalKind::Source, "{refusal}");
}

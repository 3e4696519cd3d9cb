//! The client on loopback: what arrives, what it says, how it ends.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

/// `logknock knock` with the words of `line`.
pub(super) fn knock(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logknock"));
    command.arg("knock").args(line.split_whitespace());
    command
        .env("XDG_CONFIG_HOME", "/nonexistent")
        .stdin(Stdio::null());
    command
}

pub(super) fn run(line: &str) -> Output {
    knock(line).output().unwrap()
}

pub(super) fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

pub(super) fn said(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub(super) fn datagram_socket() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

pub(super) fn port(socket: &UdpSocket) -> u16 {
    socket.local_addr().unwrap().port()
}

/// The next datagram, whole.
fn datagram(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = [1; 64];
    // A signal of another test ends the call, whatever its handler says of restarting.
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        match socket.recv(&mut buffer) {
            Ok(length) => return buffer[..length].to_vec(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("no datagram: {error}"),
        }
        assert!(Instant::now() < deadline, "no datagram");
    }
}

/// How many datagrams have arrived and were not read.
pub(super) fn unread(socket: &UdpSocket) -> usize {
    socket.set_nonblocking(true).unwrap();
    let mut count = 0;
    while socket.recv(&mut [0; 64]).is_ok() {
        count += 1;
    }
    count
}

/// A port where nothing listens, at an address that no other test uses: nobody else is given it.
fn closed_port(host: &str) -> u16 {
    let listener = TcpListener::bind((host, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// A socket for knocks and a closed door, at an address that no other test uses.
fn knock_port_and_door(host: &str) -> (UdpSocket, u16) {
    (UdpSocket::bind((host, 0)).unwrap(), closed_port(host))
}

#[test]
fn a_udp_hit_is_one_datagram_of_one_nul() {
    let [first, second] = [datagram_socket(), datagram_socket()];
    let [a, b] = [port(&first), port(&second)];
    let output = run(&format!("-u 127.0.0.1 {a} {b}:tcp -d 0"));
    assert_eq!(code(&output), 0, "{output:?}");
    assert_eq!(output.stdout, b"");
    assert_eq!(output.stderr, b"");
    assert_eq!([datagram(&first), datagram(&second)], [[0], [0]]);
    assert_eq!([unread(&first), unread(&second)], [0, 0]);
}

#[test]
fn a_tcp_hit_is_a_connection_that_is_closed_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let output = run(&format!("127.0.0.1 {port} -d 0"));
    assert_eq!(code(&output), 0, "{output:?}");
    let (mut connection, _) = listener.accept().unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    match connection.read(&mut [0; 8]) {
        Ok(length) => assert_eq!(length, 0),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "one connection");
}

#[test]
fn hits_are_shown_in_order_with_a_delay_after_each() {
    let begun = Instant::now();
    let output = run("127.0.0.1 7001 8002:UDP ssh:tcp -v -d 150");
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(begun.elapsed() >= Duration::from_millis(450));
    assert_eq!(
        said(&output.stdout),
        "hitting tcp 127.0.0.1:7001\nhitting udp 127.0.0.1:8002\nhitting tcp 127.0.0.1:22\n"
    );
}

#[test]
fn a_dry_run_sends_nothing_and_shows_everything() {
    let socket = datagram_socket();
    let port = port(&socket);
    let output = run(&format!(
        "127.0.0.1 7001 {port}:udp -d 200 --wait 22 --dry-run"
    ));
    assert_eq!(code(&output), 0, "{output:?}");
    let expected = format!(
        "  0.000s  would hit tcp 127.0.0.1:7001\n  0.200s  would hit udp 127.0.0.1:{port}\n\
         would wait for tcp 127.0.0.1:22\n"
    );
    assert_eq!(said(&output.stdout), expected);
    assert_eq!(unread(&socket), 0);
}

#[test]
fn json_has_an_object_for_each_hit() {
    let output = run("::1 7001 8002:udp -d 0 --json");
    assert_eq!(code(&output), 0, "{output:?}");
    assert_eq!(
        said(&output.stdout),
        "{\"event\":\"hit\",\"dst\":\"::1\",\"proto\":\"tcp\",\"dpt\":7001}\n\
         {\"event\":\"hit\",\"dst\":\"::1\",\"proto\":\"udp\",\"dpt\":8002}\n"
    );
}

#[test]
fn hits_leave_from_the_source_address() {
    let socket = datagram_socket();
    let port = port(&socket);
    let output = run(&format!("127.0.0.1 {port}:udp -d 0 --source 127.0.0.2"));
    assert_eq!(code(&output), 0, "{output:?}");
    let (_, from) = socket.recv_from(&mut [0; 8]).unwrap();
    assert_eq!(from.ip().to_string(), "127.0.0.2");
}

#[test]
fn a_family_that_the_host_has_not_is_a_failure() {
    let output = run("-6 127.0.0.1 7001");
    assert_eq!(code(&output), 1);
    assert_eq!(
        said(&output.stderr),
        "logknock: '127.0.0.1': no IPv6 address\n"
    );
}

#[test]
fn what_cannot_be_sent_is_a_failure() {
    let output = run("127.0.0.1 7001 --source 192.0.2.77");
    assert_eq!(code(&output), 1);
    let said = said(&output.stderr);
    assert!(
        said.starts_with("logknock: cannot knock at '127.0.0.1': "),
        "{said}"
    );
    assert!(!said.contains("7001"), "{said}");
}

#[test]
fn a_wrong_command_line_ends_with_2_and_sends_nothing() {
    let socket = datagram_socket();
    let port = port(&socket);
    for words in [
        "99999",
        "0",
        "8000:xyz",
        "nosuchservice",
        "7000 -d soon",
        "7000 -4 -6",
        "7000 --proxy",
        "7000 --wait 53:udp",
        "7000 --counts 1234 --port 443",
        "7000 --source example",
        "7000 --timeout 0",
    ] {
        let output = run(&format!("127.0.0.1 {port}:udp {words}"));
        assert_eq!(code(&output), 2, "{words}: {output:?}");
        assert!(!output.stderr.is_empty(), "{words}");
    }
    for line in [
        "",
        "127.0.0.1",
        "127.0.0.1 --counts 1234",
        "127.0.0.1 --counts 1230 --port 443",
        "127.0.0.1 --counts 1234 --port 443 --window 4h",
        "127.0.0.1 --counts 1999 --port 443 --window 1s -d 100",
    ] {
        assert_eq!(code(&run(line)), 2, "{line}");
    }
    assert_eq!(unread(&socket), 0);
}

#[test]
fn a_wait_ends_well_when_the_port_opens_after_the_knock() {
    let (socket, door) = knock_port_and_door("127.0.0.81");
    let knocker = knock(&format!(
        "127.0.0.81 {}:udp -v --wait {door}",
        port(&socket)
    ))
    .stdout(Stdio::piped())
    .spawn()
    .unwrap();
    datagram(&socket);
    let _listener = TcpListener::bind(("127.0.0.81", door)).unwrap();
    let output = knocker.wait_with_output().unwrap();
    assert_eq!(code(&output), 0, "{output:?}");
    let open = format!("open: tcp 127.0.0.81:{door}\n");
    assert!(said(&output.stdout).ends_with(&open), "{output:?}");
}

#[test]
fn a_wait_for_a_port_that_stays_closed_knocks_twice_and_fails() {
    let (socket, door) = knock_port_and_door("127.0.0.82");
    let line = format!(
        "127.0.0.82 {}:udp -d 10 --wait {door} --timeout 1s",
        port(&socket)
    );
    let begun = Instant::now();
    let output = run(&line);
    assert_eq!(code(&output), 1, "{output:?}");
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(
        said(&output.stderr),
        "logknock: '127.0.0.82' did not open within 1s\n"
    );
    assert_eq!(unread(&socket), 2);
}

#[test]
fn the_second_knock_of_a_wait_opens_too() {
    let (socket, door) = knock_port_and_door("127.0.0.83");
    let mut knocker = knock(&format!(
        "127.0.0.83 {}:udp --wait {door} --timeout 4s",
        port(&socket)
    ))
    .spawn()
    .unwrap();
    datagram(&socket);
    datagram(&socket);
    let _listener = TcpListener::bind(("127.0.0.83", door)).unwrap();
    assert!(knocker.wait().unwrap().success());
}

#[test]
fn a_proxy_passes_both_ways_through_the_one_connection_it_made() {
    let (socket, listener) = (datagram_socket(), TcpListener::bind("127.0.0.1:0").unwrap());
    let door = listener.local_addr().unwrap().port();
    let line = format!("127.0.0.1 {}:udp --wait {door} --proxy -v", port(&socket));
    let mut proxy = knock(&line)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut connection, _) = listener.accept().unwrap();
    let mut stdin = proxy.stdin.take().unwrap();
    let mut stdout = proxy.stdout.take().unwrap();

    // No newline: nothing may wait for one.
    connection.write_all(b"SSH-2.0-there").unwrap();
    let mut banner = [0; 13];
    stdout.read_exact(&mut banner).unwrap();
    assert_eq!(&banner, b"SSH-2.0-there");

    let sent: Vec<u8> = (0..300_000_u32)
        .map(|n| n.to_le_bytes()[n as usize % 4])
        .collect();
    let writer = {
        let sent = sent.clone();
        std::thread::spawn(move || stdin.write_all(&sent).unwrap())
    };
    let mut received = Vec::new();
    connection.read_to_end(&mut received).unwrap();
    writer.join().unwrap();
    assert!(
        received == sent,
        "{} bytes of {}",
        received.len(),
        sent.len()
    );

    // Our input has ended, the peer's has not.
    connection.write_all(b"goodbye").unwrap();
    drop(connection);
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"goodbye");
    assert!(proxy.wait().unwrap().success());
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "one connection");
}

#[test]
fn a_proxy_for_a_port_that_stays_closed_fails_and_says_nothing_on_stdout() {
    let door = closed_port("127.0.0.84");
    let output = run(&format!(
        "127.0.0.84 7001 -d 0 --wait {door} --proxy --json --timeout 300ms"
    ));
    assert_eq!(code(&output), 1);
    assert_eq!(output.stdout, b"");
}

#[test]
fn counts_are_groups_of_hits_on_one_port() {
    let socket = datagram_socket();
    let port = port(&socket);
    let line = format!("127.0.0.1 --counts 2121 --port {port}:udp --window 500ms");
    let output = run(&format!("{line} --dry-run"));
    let times: Vec<f64> = said(&output.stdout)
        .lines()
        .map(|line| line.trim().split('s').next().unwrap().parse().unwrap())
        .collect();
    assert_eq!(times, [0.0, 0.01, 0.573, 1.125, 1.135, 1.698]);
    let begun = Instant::now();
    assert_eq!(code(&run(&line)), 0);
    assert!(begun.elapsed() >= Duration::from_millis(1697));
    assert_eq!(unread(&socket), 6);
}

//! Doors that let in one connection, behind the rules that `logknock rules` prints.
//!
//! What must hold of each backend: the first connection gets in and stays, what others send closes
//! nothing, a second one is kept out long before the deadline, and the deadline closes what nobody used.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use crate::daemon::Daemon;
use crate::host::{Host, Reach};
use crate::lab::{Family, Hit, Lab, PATIENCE};
use crate::opens::{Backend, load};
use crate::process::eventually;
use crate::turn::Ring;

const KNOCKS: [Hit; 3] = [Hit::Tcp(7000), Hit::Udp(8000), Hit::Tcp(9000)];
const PORT: u16 = 2022;

#[test]
fn the_first_connection_closes_an_nft_door_for_one() {
    lets_in_one(Backend::Nft);
}

#[test]
fn the_first_connection_closes_an_ipset_door_for_one() {
    lets_in_one(Backend::Ipset);
}

#[test]
fn the_first_connection_closes_an_iptables_door_for_one() {
    lets_in_one(Backend::Iptables);
}

fn lets_in_one(backend: Backend) {
    let Some(lab) = Lab::new(Ring::Shared, backend.needs()) else {
        return;
    };
    let listener = lab.server.listen(PORT);
    configure(&lab, backend, "60s");
    load(&lab, backend, &[]);
    let daemon = Daemon::restart(&lab);
    for family in [Family::V4, Family::V6] {
        let door = family.server(PORT);
        assert_eq!(lab.near.connect(door), Reach::Closed);
        lab.hit(&lab.near, family, &KNOCKS);
        open(&lab);
        assert_eq!(lab.far.connect(door), Reach::Closed, "not for others");
        let (mut theirs, mut ours) = connected(&lab.near, door, &listener);
        eventually("nobody else gets in", PATIENCE, || {
            lab.near.connect(door) == Reach::Closed
        });
        theirs.write_all(b"still here").expect("it is connected");
        let mut said = [0; 10];
        ours.read_exact(&mut said).expect("it is connected");
        assert_eq!(&said, b"still here");
        closed(&lab);
    }
    assert!(daemon.stop().success());

    configure(&lab, backend, "2s");
    let daemon = Daemon::restart(&lab);
    lab.hit(&lab.near, Family::V4, &KNOCKS);
    open(&lab);
    closed(&lab);
    assert_eq!(lab.near.connect(Family::V4.server(PORT)), Reach::Closed);
    assert!(daemon.stop().success());
}

fn configure(lab: &Lab, backend: Backend, hold: &str) {
    let text = format!(
        "[log]\nsources = [\"kmsg\"]\nprefix = \"{}\"\n\n[firewall]\nbackend = \"{}\"\n\n[door.ssh]\n\
         sequence = [7000, \"8000:udp\", 9000]\ncmd_timeout = \"{hold}\"\nopens = [\"{PORT}:tcp\"]\nonce = true\n",
        lab.prefix,
        backend.name(),
    );
    lab.write("logknock.toml", &text);
}

/// Waits until the firewall lets the near client in, without trying.
fn open(lab: &Lab) {
    eventually("the door opens", PATIENCE, || is_open(lab));
}

fn closed(lab: &Lab) {
    eventually("the door closes", PATIENCE, || !is_open(lab));
}

fn is_open(lab: &Lab) -> bool {
    let status = Daemon::status(lab);
    let mut lines = status.lines();
    lines.any(|line| {
        line.contains("ssh") && (line.contains("192.0.2.2") || line.contains("2001:db8:0:a::2"))
    })
}

/// A connection from `client` to `door`, and its other end.
fn connected(client: &Host, door: SocketAddr, listener: &TcpListener) -> (TcpStream, TcpStream) {
    // The daemon knows of its open before the firewall may have it; a SYN is sent again after a second.
    let theirs = client.inside(|| TcpStream::connect_timeout(&door, PATIENCE));
    let theirs = theirs.expect("an address that knocked gets in");
    let from = theirs.local_addr().expect("it is bound");
    let ours = loop {
        let (ours, peer) = listener.accept().expect("the connection is there");
        if peer.port() == from.port() && peer.ip().to_canonical() == from.ip() {
            break ours;
        }
    };
    let patience = Some(PATIENCE);
    ours.set_read_timeout(patience).expect("a timeout");
    (theirs, ours)
}

//! What the printed rules promise whoever loads them: sessions live, strangers stay out by every way in, other hosts'
//! traffic passes, and no flood turns the rules against the host.
//!
//! In: each kind of rules, loaded as printed. What every kind must keep is one function, tried with all.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::net::{SendFlags, SocketFlags, SocketType, ipproto, sendto, socket_with};

use crate::daemon::Daemon;
use crate::host::{Host, Reach};
use crate::kernel_only::{Form, witness};
use crate::lab::{Family, Hit, Lab, PATIENCE};
use crate::opens::{Backend, load};
use crate::process::{eventually, finish};
use crate::turn::Ring;
use crate::wire::{ACK, Kind, SYN, Sender, Shot};

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];
const KNOCKS: [Hit; 3] = [Hit::Tcp(7000), Hit::Udp(8000), Hit::Tcp(9000)];
/// Guarded: sshd's port, one that is published by DNAT, and one by UDP.
const SSH: u16 = 22;
const PUBLISHED: u16 = 2022;
const MOSH: u16 = 60_001;
/// Redirected to sshd's.
const ALIAS: u16 = 2222;
/// Open to everybody.
const PUBLIC: u16 = 8022;

/// Rules of one kind.
#[derive(Clone, Copy, Debug)]
enum Guard {
    For(Backend),
    Only(Form),
}

const ALL: [Guard; 5] = [
    Guard::For(Backend::Nft),
    Guard::For(Backend::Ipset),
    Guard::For(Backend::Iptables),
    Guard::Only(Form::Nft),
    Guard::Only(Form::Recent),
];

impl Guard {
    fn lab(self, ring: Ring) -> Option<Lab> {
        let needs = match self {
            Self::For(backend) => backend.needs(),
            Self::Only(form) => form.needs(),
        };
        Lab::new(ring, needs)
    }

    /// Loads what is printed for a door, with `more` of `[firewall]`.
    fn load(self, lab: &Lab, more: &str) {
        let door = format!(
            "{more}\n[door.ssh]\nsequence = [7000, \"8000:udp\", 9000]\nseq_timeout = \"5s\"\ncmd_timeout = \"30s\"\n\
             opens = [{SSH}, {PUBLISHED}, \"{MOSH}:udp\"]\n"
        );
        match self {
            Self::Only(form) => form.load(lab, &door),
            Self::For(backend) => {
                let text = format!(
                    "[log]\nsources = [\"kmsg\"]\nprefix = \"{}\"\n[firewall]\nbackend = \"{}\"\n{door}",
                    lab.prefix,
                    backend.name()
                );
                lab.write("logknock.toml", &text);
                load(lab, backend, &[]);
            }
        }
    }

    /// What answers knocks: the daemon, or nobody but the kernel.
    fn start(self, lab: &Lab) -> Option<Daemon> {
        match self {
            Self::For(_) => Some(Daemon::restart(lab)),
            Self::Only(_) => {
                witness(lab);
                None
            }
        }
    }
}

#[test]
fn a_session_that_exists_lives_on_whatever_conntrack_knows_of_it() {
    for kind in ALL {
        // Conntrack knows nothing, as no rule has asked it before; it may not pick a connection up; it never sees one.
        for conntrack in ["", "tcp_loose = 0", "notrack"] {
            let Some(lab) = kind.lab(Ring::Shared) else {
                return;
            };
            let listener = lab.server.listen(PUBLISHED);
            let mut sessions = FAMILIES.map(|family| Session::new(&lab, family, &listener));
            match conntrack {
                "tcp_loose = 0" => lab.server.inside(|| {
                    let switch = "/proc/sys/net/netfilter/nf_conntrack_tcp_loose";
                    std::fs::write(switch, "0").expect("a switch of the namespace");
                }),
                "notrack" => nft(
                    &lab,
                    "table inet untracked { chain in { type filter hook prerouting priority -300; notrack; }; \
                     chain out { type filter hook output priority -300; notrack; }; }",
                ),
                _ => {}
            }
            kind.load(&lab, "");
            for session in &mut sessions {
                session.goes_on();
            }
            kind.load(&lab, "");
            if conntrack.is_empty() {
                let _ = lab.server.command("conntrack").arg("-F").output();
            }
            for session in &mut sessions {
                session.goes_on();
            }
            for family in FAMILIES {
                let new = lab.near.connect(family.server(PUBLISHED));
                assert_eq!(new, Reach::Closed, "{kind:?} {conntrack}");
            }
        }
    }
}

#[test]
fn strangers_are_shut_out_of_guarded_published_and_redirected_ports_and_a_knock_lets_in() {
    for kind in ALL {
        let Some(lab) = kind.lab(Ring::Shared) else {
            return;
        };
        let _behind = publish(&lab);
        let _public = lab.server.listen(PUBLIC);
        for family in FAMILIES {
            for port in [SSH, PUBLISHED, ALIAS] {
                let before = lab.near.connect(family.server(port));
                assert_eq!(before, Reach::Open, "{kind:?} {family:?} {port}");
            }
        }
        kind.load(&lab, "");
        let daemon = kind.start(&lab);
        for family in FAMILIES {
            for port in [SSH, PUBLISHED, ALIAS] {
                let stranger = lab.near.connect(family.server(port));
                assert_eq!(stranger, Reach::Closed, "{kind:?} {family:?} {port}");
            }
            let public = lab.near.connect(family.server(PUBLIC));
            assert_eq!(public, Reach::Open, "{kind:?} {family:?}");
            // What is on its way to another host is none of the rules' business.
            let other = match family {
                Family::V4 => SocketAddr::from(([192, 0, 2, 18], SSH)),
                Family::V6 => "[2001:db8:0:b::2]:22".parse().expect("an address"),
            };
            assert_eq!(lab.near.connect(other), Reach::Open, "{kind:?} {family:?}");
        }
        for family in FAMILIES {
            for port in [SSH, PUBLISHED] {
                if port == SSH || matches!(kind, Guard::Only(_)) {
                    lab.hit(&lab.near, family, &KNOCKS);
                }
                eventually("an address that knocked gets in", PATIENCE, || {
                    lab.near.connect(family.server(port)) == Reach::Open
                });
                let other = lab.far.connect(family.server(port));
                assert_eq!(other, Reach::Closed, "{kind:?} {family:?} {port}");
            }
        }
        drop(daemon);
    }
}

#[test]
fn a_stranger_who_makes_conntrack_believe_in_a_connection_gets_no_syn_through() {
    let near = Ipv4Addr::new(192, 0, 2, 2);
    for kind in ALL {
        let Some(lab) = kind.lab(Ring::Shared) else {
            return;
        };
        kind.load(&lab, "");
        // The server's answers must reach nobody who would end the attempt.
        let rule = "table inet mute { chain in { type filter hook prerouting priority -400; \
                    tcp sport 22 counter drop; }; }";
        finish(lab.near.command("nft").arg(rule));
        let sender = Sender::new(&lab.near, &[near], Ipv4Addr::new(192, 0, 2, 1));
        for source in 40_000..40_020 {
            let shot = |flags| Shot {
                from: SocketAddrV4::new(near, source),
                port: SSH,
                kind: Kind::Tcp(flags),
            };
            for flags in [ACK, SYN, ACK, SYN] {
                sender.send(shot(flags));
            }
        }
        eventually("the answers to the ACKs are there", PATIENCE, || {
            answers(&lab) >= 40
        });
        let half_open = finish(lab.server.command("ss").args(["-Htn", "state", "syn-recv"]));
        assert_eq!(half_open, "", "{kind:?}");
        assert_eq!(answers(&lab), 40, "only the ACKs are answered: {kind:?}");
    }
}

#[test]
fn networks_that_never_need_a_knock_get_in_and_public_ports_are_not_logged() {
    for kind in ALL {
        let Some(lab) = kind.lab(Ring::Shared) else {
            return;
        };
        let _public = lab.server.listen(PUBLIC);
        let more = format!(
            "always_allow = [\"192.0.2.0/28\", \"2001:db8:0:a::/64\"]\npublic = [{PUBLIC}]"
        );
        kind.load(&lab, &more);
        let mut kernel = crate::kmsg::Kmsg::from_now();
        for family in FAMILIES {
            let ssh = family.server(SSH);
            assert_eq!(lab.near.connect(ssh), Reach::Open, "{kind:?} {family:?}");
            assert_eq!(lab.far.connect(ssh), Reach::Closed, "{kind:?} {family:?}");
            let public = lab.far.connect(family.server(PUBLIC));
            assert_eq!(public, Reach::Open, "{kind:?} {family:?}");
        }
        if let Guard::For(_) = kind {
            lab.far.syn(Family::V4.server(9));
            let logged = || kernel.lines(&lab.prefix).concat();
            let mut all = String::new();
            let mut logged = logged;
            eventually("a port of nobody is logged", PATIENCE, || {
                all += &logged();
                all.contains(" DPT=9 ")
            });
            assert!(all.contains(&format!(" DPT={SSH} ")) && all.contains(" SEQ="));
            assert!(!all.contains(&format!(" DPT={PUBLIC} ")), "{kind:?}");
        }
    }
}

#[test]
fn a_flood_of_spoofed_sources_keeps_nobody_from_a_port_that_is_not_guarded() {
    for kind in ALL {
        let Some(lab) = kind.lab(Ring::Alone) else {
            return;
        };
        let _public = lab.server.listen(PUBLIC);
        kind.load(&lab, "");
        // More than any table of theirs holds.
        flood(&lab.near, 1, 300_000);
        for family in FAMILIES {
            let public = lab.far.connect(family.server(PUBLIC));
            assert_eq!(public, Reach::Open, "{kind:?} {family:?}");
        }
    }
}

#[test]
fn a_flood_at_the_port_of_counts_keeps_nobody_from_it() {
    let Some(lab) = Guard::Only(Form::Recent).lab(Ring::Alone) else {
        return;
    };
    let _public = lab.server.listen(PUBLIC);
    Form::Recent.load(
        &lab,
        &format!("[door.ssh]\ncounts = [1, 2]\nport = {PUBLIC}\nopens = [{SSH}]\n"),
    );
    flood(&lab.near, PUBLIC, 300_000);
    assert_eq!(lab.far.connect(Family::V4.server(PUBLIC)), Reach::Open);
}

/// Sends a SYN to `port` from each of so many addresses.
fn flood(from: &Host, port: u16, count: u32) {
    let began = Instant::now();
    from.inside(|| {
        let socket = socket_with(
            rustix::net::AddressFamily::INET,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(ipproto::RAW),
        )
        .expect("root opens raw sockets");
        let to = Ipv4Addr::new(192, 0, 2, 1);
        for number in 0..count {
            let source = Ipv4Addr::from(0x0b00_0000 + number);
            let packet = crate::wire::spoofed_syn(source, to, port);
            // A full queue of the link loses one; the next is another address.
            let _ = sendto(
                &socket,
                &packet,
                SendFlags::empty(),
                &SocketAddrV4::new(to, 0),
            );
        }
    });
    assert!(
        began.elapsed() < Duration::from_secs(60),
        "it is to be a flood"
    );
}

/// How many answers of port 22 have reached the near client.
fn answers(lab: &Lab) -> u32 {
    let listed = finish(
        lab.near
            .command("nft")
            .args(["list", "table", "inet", "mute"]),
    );
    let (_, behind) = listed.split_once("packets ").expect("a counter");
    let number = behind.split(' ').next().expect("a number");
    number.parse().expect("a number")
}

/// A connection, and its other end.
struct Session {
    theirs: TcpStream,
    ours: TcpStream,
}

impl Session {
    fn new(lab: &Lab, family: Family, listener: &TcpListener) -> Self {
        let door = family.server(PUBLISHED);
        let theirs = lab
            .near
            .inside(|| TcpStream::connect_timeout(&door, PATIENCE));
        let theirs = theirs.expect("no rule is there yet");
        let from = theirs.local_addr().expect("it is bound");
        let ours = loop {
            let (ours, peer) = listener.accept().expect("the connection is there");
            if peer.port() == from.port() && peer.ip().to_canonical() == from.ip() {
                break ours;
            }
        };
        for end in [&theirs, &ours] {
            end.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        }
        Self { theirs, ours }
    }

    /// Bytes pass in both directions, the client's first.
    fn goes_on(&mut self) {
        let mut said = [0; 5];
        self.theirs.write_all(b"there").expect("it is connected");
        self.ours
            .read_exact(&mut said)
            .expect("the client is heard");
        self.ours.write_all(b"again").expect("it is connected");
        self.theirs
            .read_exact(&mut said)
            .expect("the server is heard");
    }
}

fn nft(lab: &Lab, rules: &str) {
    finish(lab.server.command("nft").arg(rules));
}

/// Publishes a port of the far host at the server's address, gives ssh another port that is redirected to it, and has
/// the server forward.
fn publish(lab: &Lab) -> [TcpListener; 2] {
    nft(
        lab,
        &format!(
            "table inet nat {{ chain in {{ type nat hook prerouting priority dstnat; \
             ip daddr 192.0.2.1 tcp dport {PUBLISHED} dnat ip to 192.0.2.18:{SSH}; \
             ip6 daddr 2001:db8::1 tcp dport {PUBLISHED} dnat ip6 to [2001:db8:0:b::2]:{SSH}; \
             tcp dport {ALIAS} redirect to :{SSH}; }}; \
             chain out {{ type nat hook postrouting priority srcnat; ct status dnat masquerade; }}; }}"
        ),
    );
    lab.server.inside(|| {
        for switch in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            std::fs::write(format!("/proc/sys/net/{switch}"), "1").expect("the switch turns");
        }
    });
    [SSH, PUBLISHED].map(|port| lab.far.listen(port))
}

//! The same random packets by LOG and by NFLOG, through the real kernel: both readers say the same of each.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::OwnedFd;
use std::sync::mpsc::channel;

use logknock::engine::line::Printer;
use logknock::engine::packet::{Packet, Proto, TcpFlags};
use logknock::engine::reading::Expected;
use logknock::engine::reason::Reason;
use logknock::source::{Closed, Report, nflog};
use rustix::net::{
    AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, sendto, socket_with,
};

use crate::kmsg::Kmsg;
use crate::lab::{Family, Lab, PATIENCE};
use crate::need::long;
use crate::process::{self, eventually};
use crate::random::Random;
use crate::turn::Ring;

const GROUP: u16 = 9;
/// Packets sent before both readers are waited for; the ring holds a few hundred lines.
const AT_ONCE: usize = 40;

/// A random packet, header and all, which the kernel of the server lets as far as its rules.
fn packet(random: &mut Random) -> (Family, Vec<u8>) {
    if random.below(2) == 0 {
        (Family::V4, ipv4(random, true))
    } else {
        (Family::V6, ipv6(random, true))
    }
}

fn ipv4(random: &mut Random, may_quote: bool) -> Vec<u8> {
    let options = [0, 0, 0, 4, 12, 40][random.below(6)];
    let protocol = *random.pick(&[1, 6, 6, 6, 17, 17, 136, 50, 51, 132, 47, 58, 255]);
    let payload = transport(random, protocol, may_quote);
    let offset = match random.below(8) {
        0 => u16::try_from(random.below(8000)).expect("small") | 0x2000,
        1 => 0x2000,
        2 => 0x4000,
        _ => 0,
    };
    let length = u16::try_from(20 + options + payload.len()).expect("small");
    let version = 0x45 + u8::try_from(options / 4).expect("small");
    let mut bytes = vec![version, random.byte() & 0xfc];
    bytes.extend(length.to_be_bytes());
    bytes.extend([random.byte() | 1, random.byte()]);
    bytes.extend(offset.to_be_bytes());
    bytes.extend([random.byte() | 1, protocol, 0, 0]);
    bytes.extend([203, 0, 113, random.byte(), 192, 0, 2, 1]);
    bytes.extend(vec![1; options]);
    bytes.extend(payload);
    bytes
}

fn ipv6(random: &mut Random, may_quote: bool) -> Vec<u8> {
    let protocol = *random.pick(&[6, 6, 6, 17, 17, 136, 58, 50, 59, 132, 1, 255]);
    let mut chain = Vec::new();
    let mut next = protocol;
    for _ in 0..[0, 0, 1, 2, 3][random.below(5)] {
        let kind = *random.pick(&[43, 44, 51, 60]);
        let (length, mut header) = match kind {
            44 => {
                let offset = [0, 0, 8, 0x0ff8][random.below(4)] | u16::from(random.byte() & 1);
                let [o0, o1] = offset.to_be_bytes();
                (8, vec![next, 0, o0, o1, 1, 2, 3, random.byte()])
            }
            51 => (12, vec![next, 1, 0, 0, 0, 0, 0, random.byte()]),
            _ => {
                let eights = random.below(4);
                let length = u8::try_from(eights).expect("small");
                (8 + 8 * eights, vec![next, length, 1, 0])
            }
        };
        header.resize(length, 0);
        chain = [header, chain].concat();
        next = kind;
    }
    let mut payload = [chain, transport(random, protocol, may_quote)].concat();
    if random.below(10) == 0 {
        payload.truncate(random.below(payload.len() + 1));
    }
    let mut bytes = vec![0x60, random.byte() & 0x0f, random.byte(), random.byte()];
    bytes.extend(u16::try_from(payload.len()).expect("small").to_be_bytes());
    bytes.extend([next, random.byte() | 2]);
    bytes.extend([
        0x20,
        1,
        0x0d,
        0xb8,
        0,
        9,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        random.byte(),
    ]);
    bytes.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    bytes.extend(payload);
    bytes
}

fn transport(random: &mut Random, protocol: u8, may_quote: bool) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..20).map(|_| random.byte()).collect();
    match protocol {
        6 => bytes[12] = 0x50 | (bytes[12] & 0x0e),
        1 | 58 => {
            bytes[0] = *random.pick(&[0, 1, 3, 4, 5, 8, 11, 12, 128, 129, 135]);
            if may_quote && random.below(2) == 0 {
                let quoted = if protocol == 1 {
                    ipv4(random, false)
                } else {
                    ipv6(random, false)
                };
                bytes.truncate(8);
                bytes.extend(quoted);
            }
        }
        _ => {}
    }
    if random.below(8) == 0 {
        bytes.truncate(random.below(bytes.len()));
    }
    bytes
}

/// What is right though LOG's line says something else; none of it can be a knock.
fn is_named_difference(
    logged: &Result<Option<Packet<'_>>, Reason>,
    read: Option<&Packet<'_>>,
) -> bool {
    match (logged, read) {
        // LOG prints no protocol of IPv6 that is encrypted, and its line has no end.
        (Err(_), Some(read)) => read.headers.proto == Proto::Esp && read.headers.ports.is_none(),
        // … nor of what a later fragment begins with, unless it is AH, whose bytes it reads on.
        (Ok(Some(logged)), None) => logged.headers.src.is_ipv6() && logged.headers.ports.is_none(),
        _ => false,
    }
}

#[test]
fn both_say_the_same_of_every_packet() {
    let Some(lab) = Lab::new(Ring::Alone, &[]) else {
        return;
    };
    let rules = format!(
        "table inet differ {{\n\
         chain logging {{\nlog prefix \"{0}\" flags tcp sequence\nlog prefix \"{0}\" group {GROUP}\ndrop\n}}\n\
         chain arriving {{\ntype filter hook prerouting priority -350; policy accept;\n\
         ip saddr 203.0.113.0/24 jump logging\nip6 saddr 2001:db8:9::/48 jump logging\n}}\n}}\n",
        lab.prefix
    );
    process::finish(
        lab.server
            .command("nft")
            .arg("-f")
            .arg(lab.write("differ.nft", &rules)),
    );
    let socket = lab
        .server
        .inside(|| nflog::open(GROUP))
        .expect("it is free");
    let (sender, reports) = channel();
    let _handle = nflog::spawn(0, socket, move |report| {
        sender.send(report).map_err(|_| Closed)
    });
    let raw = |family| {
        lab.near.inside(|| {
            let flags = SocketFlags::CLOEXEC;
            socket_with(family, SocketType::RAW, flags, Some(ipproto::RAW)).expect("root may")
        })
    };
    let sockets = [raw(AddressFamily::INET), raw(AddressFamily::INET6)];
    let mut random = Random(20_261_129);
    let mut kernel = Kmsg::from_now();
    let (mut lines, mut packets) = (Vec::new(), BTreeMap::new());
    let (mut sent, mut rejected) = (0, 0);
    let wanted = if long() { 10_000 } else { 600 };
    while sent < wanted {
        for _ in 0..AT_ONCE {
            sent += usize::from(send(&sockets, &packet(&mut random)));
        }
        eventually("the kernel logs every packet", PATIENCE, || {
            lines.extend(kernel.lines(&lab.prefix));
            lines.len() >= sent
        });
        while packets.len() + rejected < sent {
            match reports.recv_timeout(PATIENCE).expect("every packet comes") {
                Report::Packets {
                    packets: some,
                    first,
                    ..
                } => packets.extend((first..).zip(some)),
                Report::Rejected { count, .. } => rejected += usize::try_from(count).expect("few"),
                Report::Lost { .. } => panic!("packets were lost"),
                _ => {}
            }
        }
    }
    assert_eq!((lines.len(), packets.len() + rejected), (sent, sent));
    let expected = Expected::Prefix(lab.prefix.as_bytes().into());
    let mut knocks = 0;
    for (line, number) in lines.iter().zip(1..) {
        let logged = expected.read_message(line.as_bytes(), Printer::Kernel);
        let read = packets.get(&number);
        let read = read.map(|logged| logged.packet.as_packet());
        let agreed = match (&logged, &read) {
            (Ok(Some(logged)), Some(read)) => *logged == without_ae(*read, *logged),
            (Err(_), None) => true,
            _ => false,
        };
        assert!(
            agreed || is_named_difference(&logged, read.as_ref()),
            "{number}: {line}\nby LOG {logged:?}\nby NFLOG {read:?}"
        );
        knocks += usize::from(read.is_some_and(|read| read.headers.ports.is_some()));
    }
    eprintln!("{sent} packets, {knocks} with ports, {rejected} without a header to read");
    assert!(knocks > wanted / 8 && rejected > 0);
}

/// The flag AE is a reserved bit to an older kernel.
fn without_ae<'a>(mut read: Packet<'a>, logged: Packet<'a>) -> Packet<'a> {
    let flags = &mut read.headers.flags;
    if !logged.headers.flags.contains(TcpFlags::AE) {
        *flags = flags.without(TcpFlags::AE);
    }
    read
}

/// Whether it has left; a kernel refuses some headers at once.
fn send([v4, v6]: &[OwnedFd; 2], (family, bytes): &(Family, Vec<u8>)) -> bool {
    match family {
        Family::V4 => {
            let to = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 0);
            sendto(v4, bytes, SendFlags::empty(), &to).is_ok()
        }
        Family::V6 => {
            let to = "2001:db8::1".parse().expect("an address");
            let to = SocketAddrV6::new(to, 0, 0, 0);
            sendto(v6, bytes, SendFlags::empty(), &to).is_ok()
        }
    }
}

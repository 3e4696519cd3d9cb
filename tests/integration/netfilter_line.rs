//! Packet lines made by the grammar, with what must be read from them.
//!
//! In: a seed. Out: a [`Line`], the same for the same seed. Every option of the kernel's and of ulogd's
//! writers occurs; addresses are from the documentation ranges.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use logknock::engine::packet::{Fingerprint, Packet, Ports, Proto, TcpFlags};

/// Chance from a seed (splitmix64).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    /// True in `percent` of cases.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// At most `limit`, often at one of its ends.
    fn number<T: TryFrom<u64>>(&mut self, limit: u64) -> T {
        let number = match self.below(10) {
            0 => 0,
            1 => limit,
            2 => self.next() % 10,
            _ => self.next() % (limit + 1),
        };
        T::try_from(number).ok().unwrap()
    }

    /// One of `choices`.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        *choices.get(self.below(choices.len())).unwrap()
    }
}

/// Who writes the line.
#[derive(Clone, Copy, PartialEq)]
enum Author {
    Kernel,
    Ulogd,
}

/// A line and its reading.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) prefix: String,
    /// From `IN=` on.
    pub(crate) body: String,
    iif: String,
    oif: String,
    src: IpAddr,
    dst: IpAddr,
    proto: Proto,
    ports: Option<Ports>,
    flags: TcpFlags,
    mark: Fingerprint,
}

impl Line {
    /// The line of `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let author = dice.pick(&[Author::Kernel, Author::Kernel, Author::Ulogd]);
        let iif = dice.pick(&[
            "eth0",
            "ens3",
            "br-lan",
            "eth0.1811",
            "SRC=192.0.2.99",
            "wg[0]",
            "",
        ]);
        let oif = dice.pick(&["", "", "", "eth1", "tap0"]);
        let mut line = Self {
            prefix: dice.pick(PREFIXES).to_owned(),
            body: format!("IN={iif} OUT={oif} "),
            iif: iif.to_owned(),
            oif: oif.to_owned(),
            src: Ipv4Addr::UNSPECIFIED.into(),
            dst: Ipv4Addr::UNSPECIFIED.into(),
            proto: Proto::Tcp,
            ports: None,
            flags: TcpFlags::NONE,
            mark: Fingerprint::default(),
        };
        line.link(&mut dice);
        let fragment = if dice.chance(70) {
            line.ipv4(&mut dice, author)
        } else {
            line.ipv6(&mut dice, author)
        };
        if fragment {
            line.later_fragment(&mut dice);
        } else {
            line.transport(&mut dice, author);
        }
        if dice.chance(30) && line.body.ends_with(' ') && !line.body.ends_with("URG ") {
            line.body.pop(); // files are often edited by what trims lines
        }
        line
    }

    /// Prefix and body.
    pub(crate) fn message(&self) -> Vec<u8> {
        format!("{}{}", self.prefix, self.body).into_bytes()
    }

    /// What must be read.
    pub(crate) fn packet(&self) -> Packet<'_> {
        Packet {
            prefix: self.prefix.as_bytes(),
            iif: self.iif.as_bytes(),
            oif: self.oif.as_bytes(),
            src: self.src,
            dst: self.dst,
            proto: self.proto,
            ports: self.ports,
            flags: self.flags,
            mark: self.mark,
        }
    }

    fn put(&mut self, text: impl std::fmt::Display) {
        write!(self.body, "{text} ").unwrap();
    }

    fn link(&mut self, dice: &mut Dice) {
        if dice.chance(10) {
            self.put("PHYSIN=eth0");
            if dice.chance(50) {
                self.put("PHYSOUT=tap0");
            }
        }
        let mac = |dice: &mut Dice, count: usize| {
            let bytes: Vec<String> = (0..count)
                .map(|_| format!("{:02x}", dice.number::<u8>(255)))
                .collect();
            bytes.join(":")
        };
        match dice.below(10) {
            0 => {}
            1 => {
                let (src, dst) = (mac(dice, 6), mac(dice, 6));
                self.put(format_args!("MACSRC={src} MACDST={dst}"));
                if dice.chance(30) {
                    let id: u16 = dice.number(4095);
                    self.put(format_args!("VPROTO=8100 VID={id}"));
                }
                self.put("MACPROTO=0800");
            }
            2 => self.put("MAC="),
            3 => {
                let bytes = mac(dice, 20);
                self.put(format_args!("MAC={bytes} TUNNEL=192.0.2.26->198.51.100.15"));
            }
            _ => {
                let count = dice.pick(&[14, 14, 14, 6, 16, 18]);
                let bytes = mac(dice, count);
                self.put(format_args!("MAC={bytes}"));
            }
        }
    }

    /// The IPv4 header; whether it is a later fragment.
    fn ipv4(&mut self, dice: &mut Dice, author: Author) -> bool {
        let address = |dice: &mut Dice| {
            let net = dice.pick(&[[192, 0, 2], [198, 51, 100], [203, 0, 113]]);
            Ipv4Addr::new(net[0], net[1], net[2], dice.number(255))
        };
        let (src, dst) = (address(dice), address(dice));
        (self.src, self.dst) = (src.into(), dst.into());
        self.put(format_args!("SRC={src} DST={dst}"));
        if dice.chance(3) {
            return false; // some routers print no IP header fields at all
        }
        let (len, ttl, id) = (dice.number(70_000), dice.number(255), dice.number(65_535));
        (self.mark.len, self.mark.ttl, self.mark.id) = (Some(len), Some(ttl), Some(id));
        let x = if author == Author::Kernel { "0x" } else { "" };
        let tos = dice.pick(&["00", "10", "1E", "08"]);
        let prec = dice.pick(&["00", "C0", "20"]);
        self.put(format_args!(
            "LEN={len} TOS={x}{tos} PREC=0x{prec} TTL={ttl} ID={id}"
        ));
        for word in ["CE", "DF", "MF"] {
            if dice.chance(20) {
                self.put(word);
            }
        }
        let offset = if dice.chance(5) {
            1 + dice.number::<u32>(8190)
        } else {
            0
        };
        if offset > 0 {
            self.put(format_args!("FRAG:{offset}"));
        }
        if dice.chance(5) {
            self.put("OPT (94040000)");
        }
        offset > 0
    }

    /// The IPv6 header; whether it is a later fragment.
    fn ipv6(&mut self, dice: &mut Dice, author: Author) -> bool {
        let address = |dice: &mut Dice| {
            let tail: [u16; 4] = std::array::from_fn(|_| dice.number(65_535));
            Ipv6Addr::new(0x2001, 0xdb8, 0, tail[0], 0, tail[1], tail[2], tail[3])
        };
        let (src, dst) = (address(dice), address(dice));
        (self.src, self.dst) = (src.into(), dst.into());
        let text = |address: Ipv6Addr| match author {
            Author::Kernel => address
                .segments()
                .map(|group| format!("{group:04x}"))
                .join(":"),
            Author::Ulogd => address.to_string(),
        };
        let (len, hops, flow) = (dice.number(70_000), dice.number(255), dice.number(0xf_ffff));
        (self.mark.len, self.mark.ttl, self.mark.flow) = (Some(len), Some(hops), Some(flow));
        let class: u8 = dice.number(255);
        self.put(format_args!(
            "SRC={} DST={} LEN={len} TC={class} HOPLIMIT={hops} FLOWLBL={flow}",
            text(src),
            text(dst)
        ));
        match dice.below(20) {
            0 => self.put("OPT ( ) OPT ( )"),
            1 => self.put("OPT ( AH SPI=0xdeadbeef )"),
            2 => self.put("FRAG:0 INCOMPLETE ID:0000002a"),
            3 => self.put("OPT ( FRAG:0 INCOMPLETE ID:0000002a )"),
            4 => self.put("FRAG:1448 ID:0000002a"),
            _ => return false,
        }
        self.body.contains("FRAG:1448")
    }

    fn later_fragment(&mut self, dice: &mut Dice) {
        let (name, proto) = dice.pick(&[
            ("TCP", Proto::Tcp),
            ("UDP", Proto::Udp),
            ("47", Proto::Number(47)),
        ]);
        self.proto = proto;
        self.put(format_args!("PROTO={name}"));
        self.tail(dice);
    }

    fn transport(&mut self, dice: &mut Dice, author: Author) {
        match dice.below(20) {
            0..=9 => self.tcp(dice, author),
            10..=14 => self.udp(dice),
            15 => self.icmp(dice),
            16 => self.icmp_error(dice),
            17 => {
                let number = dice.pick(&[2, 33, 41, 47, 89, 132, 255]);
                self.proto = Proto::Number(number);
                self.put(format_args!("PROTO={number}"));
            }
            18 => {
                let (name, proto) = dice.pick(&[("ESP", Proto::Esp), ("AH", Proto::Ah)]);
                self.proto = proto;
                self.put(format_args!("PROTO={name} SPI=0xdeadbeef"));
            }
            _ => return self.sctp(dice),
        }
        if !self.body.ends_with("] ") && !self.body.ends_with("(TRUNCATED) ") {
            self.tail(dice);
        }
    }

    fn ports(&mut self, dice: &mut Dice) {
        let (src, dst) = (dice.number(65_535), dice.number(65_535));
        self.ports = Some(Ports { src, dst });
        self.put(format_args!("SPT={src} DPT={dst}"));
    }

    fn tcp(&mut self, dice: &mut Dice, author: Author) {
        self.put("PROTO=TCP");
        if dice.chance(4) {
            return self.put("INCOMPLETE [8 bytes]");
        }
        self.ports(dice);
        if author == Author::Ulogd || dice.chance(20) {
            let (seq, ack): (u32, u32) =
                (dice.number(u32::MAX.into()), dice.number(u32::MAX.into()));
            self.mark.seq = Some(seq);
            self.put(format_args!("SEQ={seq} ACK={ack}"));
        }
        let window: u16 = dice.number(65_535);
        self.put(format_args!("WINDOW={window}"));
        if author == Author::Kernel {
            self.put("RES=0x00");
        }
        for (name, flag) in TcpFlags::NAMES {
            if dice.chance(if name == "syn" { 60 } else { 15 }) {
                self.flags = self.flags.with(flag);
                self.put(name.to_uppercase());
            }
        }
        if self.flags == TcpFlags::NONE || dice.chance(90) {
            let urgent: u16 = dice.number(65_535);
            self.put(format_args!("URGP={urgent}"));
            if dice.chance(15) {
                self.put(dice.pick(&["OPT (020405B401010402)", "OPT (TRUNCATED)"]));
            }
        }
    }

    fn udp(&mut self, dice: &mut Dice) {
        let (name, proto) = dice.pick(&[
            ("UDP", Proto::Udp),
            ("UDP", Proto::Udp),
            ("UDPLITE", Proto::UdpLite),
        ]);
        self.proto = proto;
        self.put(format_args!("PROTO={name}"));
        if dice.chance(4) {
            return self.put("INCOMPLETE [6 bytes]");
        }
        self.ports(dice);
        let len = dice.number(65_535);
        self.mark.udp_len = Some(len);
        self.put(format_args!("LEN={len}"));
    }

    fn sctp(&mut self, dice: &mut Dice) {
        self.proto = Proto::Sctp;
        self.put("PROTO=SCTP");
        self.ports(dice);
        self.put("MARK=0"); // so that the port is not the last word
    }

    fn icmp(&mut self, dice: &mut Dice) {
        let (name, proto) = if self.src.is_ipv4() {
            ("ICMP", Proto::Icmp)
        } else {
            ("ICMPv6", Proto::Icmpv6)
        };
        self.proto = proto;
        self.put(format_args!("PROTO={name}"));
        self.put(dice.pick(&[
            "TYPE=8 CODE=0 ID=51318 SEQ=10",
            "TYPE=13 CODE=0",
            "TYPE=8 CODE=0 INCOMPLETE [4 bytes]",
            "INCOMPLETE [2 bytes]",
            "TYPE=12 CODE=0 PARAMETER=4",
        ]));
    }

    /// An error that quotes a packet to a knock port, from somebody else.
    fn icmp_error(&mut self, dice: &mut Dice) {
        let v4 = self.src.is_ipv4();
        self.proto = if v4 { Proto::Icmp } else { Proto::Icmpv6 };
        let (head, network) = if v4 {
            (
                dice.pick(&[
                    "PROTO=ICMP TYPE=3 CODE=4",
                    "PROTO=ICMP TYPE=5 CODE=1 GATEWAY=192.0.2.1",
                ]),
                "SRC=198.51.100.66 DST=192.0.2.66 LEN=60 TOS=0x00 PREC=0x00 TTL=1 ID=0 DF",
            )
        } else {
            (
                dice.pick(&[
                    "PROTO=ICMPv6 TYPE=1 CODE=4",
                    "PROTO=ICMPv6 TYPE=4 CODE=1 POINTER=00000006",
                ]),
                "SRC=2001:db8::66 DST=2001:db8::67 LEN=60 TC=0 HOPLIMIT=1 FLOWLBL=0",
            )
        };
        let transport = dice.pick(&[
            "PROTO=TCP SPT=4444 DPT=7000 WINDOW=64240 RES=0x00 SYN URGP=0",
            "PROTO=TCP INCOMPLETE [8 bytes]",
            "PROTO=UDP SPT=4444 DPT=7000 LEN=20",
        ]);
        self.put(format_args!("{head} [{network} {transport} ]"));
        if dice.chance(30) {
            self.put("MTU=1492");
        }
    }

    fn tail(&mut self, dice: &mut Dice) {
        if dice.chance(10) {
            self.put("UID=1000");
            if dice.chance(80) {
                self.put("GID=1000");
            }
        }
        if dice.chance(10) {
            self.put(dice.pick(&["MARK=0x8000000", "MARK=0", "MARK=1a0000"]));
        }
        if dice.chance(3) {
            self.put("PHYSIN=br0 PHYSOUT=eth1");
        }
    }
}

const PREFIXES: &[&str] = &[
    "",
    "KNOCK: ",
    "lk-4f9a1c7e: ",
    "[UFW BLOCK] ",
    "KNOCK",
    "REJECT(src wan)",
    "MAIN=1 ",
    "PLUGIN=1 LOGIN= ",
    " dropped by firewall ",
    "TRACE: raw:OUTPUT:policy:2 ",
    "[WAN_IN-RET-3006] DESCR=\"[WAN_IN] PortForward Allow [HTTPS (cli ",
    "DA->FEDERATEUR ACCEPT  ",
    "\u{1f6d1}Drop all ",
];

/// What may stand in front of a kernel message in a log.
pub(crate) const FRAMINGS: &[&str] = &[
    "Nov 20 21:00:00 fw kernel: [ 1234.000000] ",
    "Nov  2 21:00:00 fw kernel: [    1.234567][   T17] ",
    "Nov 2 21:00:00 192.0.2.1 kernel: ",
    "Nov 20 21:00:00 kernel: ",
    "Nov 20 21:00:00 kernel: kernel: [ 1234.000000] ",
    "Nov 20 21:00:00 fw fw user.warn kernel: [ 1234.000000] ",
    "<4>Nov 20 21:00:00 fw kernel: [ 1234.000000] ",
    "2026-11-20T21:01:10,123456+0100 fw kernel: [ 1234.000000] ",
    "2026-11-20T20:01:10.123456Z fw kernel: ",
    "2026-11-20T21:01:10.123456 [ 1234.000000] ",
    "Fri 2026-11-20 21:01:10 CET fw kernel: ",
    "<4>1 2026-11-20T21:01:05.123456+01:00 192.0.2.1 kernel - - - ",
    "<4>1 2026-11-20T21:01:05Z fw kernel - - [meta x=\"a] b \\\" c\"][z] ",
    "Fri Nov 20 13:31:15 2026 kern.warn kernel: [45020.393820] ",
    "[Fri Nov 20 21:55:11 2026] ",
    "[    1.234567] ",
    "[    1.234567] [   T17] ",
    "[ 1234.567890] fw kernel: ",
    "<6>[ 5739.482168] ",
    "4,2451,1234000000,-;",
    "4,2451,1234000000,-,caller=T123,future=1;",
    "kernel: ",
    "    kernel: [ 9271.326139] ",
    "\0\0\0\0Nov 20 21:00:00 fw kernel: [ 1234.000000] ",
    "MESSAGE=",
    "2026-11-20 21:01:10.222382500 <4>",
    "kern.log:12:Nov 20 21:00:00 fw kernel: [ 1234.000000] ",
];

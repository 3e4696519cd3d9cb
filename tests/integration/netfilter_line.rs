//! Packet lines made by the grammar, with what must be read from them.
//!
//! In: a seed. Out: a [`Line`], the same for the same seed. Every option of the kernel's and of ulogd's
//! writers occurs; addresses are from the documentation ranges.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use logknock::engine::packet::{Fingerprint, Headers, Packet, Ports, Proto, TcpFlags};

use super::random::Random;

/// Chance from a seed, in the forms that a line needs.
pub(crate) struct Dice(Random);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(Random(seed))
    }

    /// Below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0.below(end)
    }

    /// True in `percent` of cases.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// At most `limit`, often at one of its ends.
    pub(super) fn number<T: TryFrom<usize>>(&mut self, limit: usize) -> T {
        let number = match self.below(10) {
            0 => 0,
            1 => limit,
            2 => self.below(10),
            _ => self.below(limit + 1),
        };
        T::try_from(number).ok().unwrap()
    }

    /// One of `choices`.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        *self.0.pick(choices)
    }
}

/// Who writes the line.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Author {
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
    pub(super) src: IpAddr,
    dst: IpAddr,
    pub(super) proto: Proto,
    pub(super) ports: Option<Ports>,
    pub(super) flags: TcpFlags,
    pub(super) mark: Fingerprint,
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
            headers: Headers {
                src: self.src,
                dst: self.dst,
                proto: self.proto,
                ports: self.ports,
                flags: self.flags,
                mark: self.mark,
            },
        }
    }

    /// Adds a word and a blank.
    pub(super) fn put(&mut self, text: impl std::fmt::Display) {
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

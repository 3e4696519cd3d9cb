//! The packet reader against a slow one made of regular expressions, written separately from the
//! grammar: on good, damaged and cut lines both must accept the same and read the same.

use std::net::{IpAddr, Ipv4Addr};

use logknock::engine::packet::{self, Fingerprint, Headers, Packet, Ports, Proto, TcpFlags};
use regex::bytes::{Captures, Regex};

use super::netfilter_line::{Dice, Line};

#[test]
fn the_reader_and_the_regular_expressions_agree() {
    let lines = if std::env::var_os("LOGKNOCK_LONG").is_some() {
        1_000_000
    } else {
        20_000
    };
    let slow = SlowReader::new();
    let mut accepted = 0_u64;
    for seed in 0..lines {
        let mut dice = Dice::new(!seed);
        let message = disturb(Line::new(seed).message(), &mut dice);
        let expected = slow.read(&message);
        let read = packet::read(&message, packet::Printer::Kernel)
            .ok()
            .flatten();
        assert_eq!(read, expected, "line {seed}: {}", message.escape_ascii());
        accepted += u64::from(expected.is_some());
    }
    assert!(
        accepted > lines / 4 && accepted < lines,
        "{accepted} of {lines} accepted"
    );
}

/// Half of the lines as they are, a quarter with one byte changed, a quarter cut or spliced.
fn disturb(mut message: Vec<u8>, dice: &mut Dice) -> Vec<u8> {
    let place = dice.below(message.len());
    match dice.below(8) {
        0 => message[place] = dice.pick(b" =[]0x9:.\t\rAN"),
        1 => message.insert(place, dice.pick(b" =[]0x9:.\t\rAN")),
        2 => message.truncate(place),
        3 => drop(message.remove(place)),
        _ => {}
    }
    message
}

struct SlowReader {
    anchor: Regex,
    ipv4: Regex,
    ipv6: Regex,
    transports: Vec<Regex>,
    fragment: Regex,
    ended: Regex,
}

impl SlowReader {
    fn new() -> Self {
        let build = |pattern: &str| {
            let close = r"(?: |[\t\r][ \t\r]*$|$)";
            let pattern = pattern
                .replace("TAIL", r"(?:UID=NUMCL(?:GID=NUMCL)?)?(?:MARK=(?:0x)?HEX{1,8}CL)?(?:PHYSIN=NAMECL)?(?:PHYSOUT=NAMECL)?[ \t\r]*$")
                .replace("CUT", r"(?:INCOMPLETE \[NUM bytes\]CL|INCOMPLETE)")
                .replace("NUM", r"(?:0|[1-9][0-9]*)")
                .replace("NAME", r"[^\x00-\x20\x7f/]{0,15}")
                .replace("HEX", "[0-9A-Fa-f]")
                .replace("CL", close);
            Regex::new(&format!("(?s-u)^{pattern}")).unwrap()
        };
        let head = r"IN=(?P<in>NAME) OUT=(?P<out>NAME) (?:PHYSIN=NAMECL)?(?:PHYSOUT=NAMECL)?(?:MACSRC=[0-9A-Fa-fXx:]* MACDST=[0-9A-Fa-fXx:]* (?:VPROTO=HEX{4} VID=(?P<vid>NUM) )?MACPROTO=HEX{4} |MAC=[0-9A-Fa-fXx:]* (?:TUNNEL=(?P<t1>[0-9.]+)->(?P<t2>[0-9.]+) )?)?";
        let ports = r"SPT=(?P<spt>NUM) DPT=(?P<dpt>NUM) ";
        Self {
            anchor: Regex::new(r"(?s-u)^(?P<prefix>.*)(?P<body>IN=[^ ]* OUT=.*)$").unwrap(),
            ipv4: build(&format!(r"{head}SRC=(?P<src>[0-9.]+) DST=(?P<dst>[0-9.]+) (?:LEN=(?P<len>NUM) )?(?:TOS=(?:0x)?HEX{{2}} )?(?:PREC=(?:0x)?HEX{{2}} )?(?:TTL=(?P<ttl>NUM) )?(?:ID=(?P<id>NUM) )?(?:CE )?(?:DF )?(?:MF )?(?:FRAG:(?P<frag>NUM) )?(?:OPT \(HEX{{0,80}}\) )?(?P<rest>.*)$")),
            ipv6: build(&format!(r"{head}SRC=(?P<src>[0-9A-Fa-f:.]+) DST=(?P<dst>[0-9A-Fa-f:.]+) (?:LEN=(?P<len>NUM) )?(?:TC=(?P<tc>NUM) )?(?:FLOWLBL=(?P<early>NUM) )?(?:HOPLIMIT=(?P<ttl>NUM) )?(?:FLOWLBL=(?P<flow>NUM) )?(?P<ext>(?:OPT \( (?:AH (?:SPI=0xHEX{{1,8}} )?|FRAG: ?NUM (?:INCOMPLETE )?ID: ?HEX{{1,8}} )?\)CL|FRAG: ?NUM (?:INCOMPLETE )?ID: ?HEX{{1,8}} )*)(?P<rest>.*)$")),
            transports: [
                format!(r"PROTO=(?P<proto>TCP)CL(?:CUT|{ports}(?:SEQ=(?P<seq>NUM) ACK=(?P<ack>NUM) )?WINDOW=(?P<window>NUM) (?:RES=0xHEX{{2}} )?(?P<flags>(?:(?:AE|CWR|ECE|URG|ACK|PSH|RST|SYN|FIN)CL)*)(?:URGP=(?P<urgp>NUM)CL)?(?:OPT \((?:HEX{{0,80}}|TRUNCATED)\)CL)?)TAIL"),
                format!(r"PROTO=(?P<proto>UDP|UDPLITE)CL(?:CUT|{ports}LEN=(?P<ulen>NUM)CL)TAIL"),
                format!(r"PROTO=(?P<proto>SCTP)CL(?:CUT|{ports})TAIL"),
                r"PROTO=(?P<proto>ICMP|ICMPv6)CL(?:CUT|TYPE=(?P<type>NUM) CODE=(?P<code>NUM)CL(?:CUT|ID=(?P<iid>NUM)CL(?:SEQ=(?P<iseq>NUM)CL)?|(?:PARAMETER=NUMCL)?(?:POINTER=HEX{8}CL)?(?:GATEWAY=(?P<gateway>[0-9.]+)CL)?(?:\[(?:[^\[\]\x00-\x1f\x7f]|\[[^\[\]\x00-\x1f\x7f]*\])*\]CL)?(?:MTU=NUMCL)?))TAIL".to_owned(),
                r"PROTO=(?P<proto>ESP|AH)CL(?:CUT|SPI=0xHEX{1,8}CL)?TAIL".to_owned(),
                r"PROTO=(?P<proto>NUM)CLTAIL".to_owned(),
            ]
            .map(|pattern| build(&pattern))
            .into(),
            fragment: build(r"PROTO=(?P<proto>TCP|UDP|UDPLITE|SCTP|ICMP|ICMPv6|ESP|AH|NUM)CLCUT?TAIL"),
            ended: build(r"OPT \( (?:(?P<esp>ESP )(?:CUT)?|AH CUT)(?:SPI=0xHEX{1,8} )?\)CLTAIL"),
        }
    }

    fn read<'a>(&self, message: &'a [u8]) -> Option<Packet<'a>> {
        let anchor = self.anchor(message)?;
        let body = &message[anchor..];
        let prefix = &message[..anchor];
        if prefix
            .iter()
            .any(|byte| byte.is_ascii_control() && *byte != b'\t')
        {
            return None;
        }
        if self
            .anchor(prefix)
            .is_some_and(|start| prefix[start..].windows(5).any(|word| word == b" SRC="))
        {
            return None;
        }
        self.ipv4(prefix, body).or_else(|| self.ipv6(prefix, body))
    }

    fn anchor(&self, message: &[u8]) -> Option<usize> {
        let start = self.anchor.captures(message)?.name("body")?.start();
        let word = message[..start]
            .iter()
            .rposition(|&byte| byte == b' ')
            .map_or(0, |blank| blank + 1);
        if message[word..].starts_with(b"IN=") {
            return Some(word);
        }
        (!message[..start].ends_with(b"PHYS")).then_some(start)
    }

    fn ipv4<'a>(&self, prefix: &'a [u8], body: &'a [u8]) -> Option<Packet<'a>> {
        let head = self.ipv4.captures(body)?;
        let address = |name| Some(IpAddr::V4(ipv4_address(head.name(name)?.as_bytes())?));
        let fragment = limited(&head, "frag", 8191)?.is_some_and(|offset| offset > 0);
        let mark = Fingerprint {
            id: limited(&head, "id", 65_535)?.map(|id| u16::try_from(id).unwrap()),
            ..common_mark(&head)?
        };
        self.finish(
            prefix,
            &head,
            fragment,
            mark,
            address("src")?,
            address("dst")?,
        )
    }

    fn ipv6<'a>(&self, prefix: &'a [u8], body: &'a [u8]) -> Option<Packet<'a>> {
        let head = self.ipv6.captures(body)?;
        let address = |name| {
            let text = std::str::from_utf8(head.name(name)?.as_bytes()).ok()?;
            text.contains(':').then(|| text.parse::<IpAddr>().ok())?
        };
        limited(&head, "tc", 255)?;
        let flow = limited(&head, "early", 0xf_ffff)?.or(limited(&head, "flow", 0xf_ffff)?);
        if head.name("early").is_some() && head.name("flow").is_some() {
            return None;
        }
        let extensions = String::from_utf8_lossy(&head["ext"]).replace("FRAG: ", "FRAG:");
        let mut offsets = extensions.split("FRAG:").skip(1).map(|text| {
            let number = text.split(' ').next().unwrap();
            number.parse::<u16>().ok()
        });
        let fragment = offsets.try_fold(false, |any, offset| Some(any | (offset? > 0)))?;
        let mark = Fingerprint {
            flow,
            ..common_mark(&head)?
        };
        self.finish(
            prefix,
            &head,
            fragment,
            mark,
            address("src")?,
            address("dst")?,
        )
    }

    fn finish<'a>(
        &self,
        prefix: &'a [u8],
        head: &Captures<'a>,
        fragment: bool,
        mark: Fingerprint,
        src: IpAddr,
        dst: IpAddr,
    ) -> Option<Packet<'a>> {
        limited(head, "vid", 4095)?;
        for tunnel in ["t1", "t2"] {
            if let Some(address) = head.name(tunnel) {
                ipv4_address(address.as_bytes())?;
            }
        }
        let rest = head.name("rest")?.as_bytes();
        let mut packet = Packet {
            prefix,
            iif: head.name("in")?.as_bytes(),
            oif: head.name("out")?.as_bytes(),
            headers: Headers {
                src,
                dst,
                proto: Proto::Tcp,
                ports: None,
                flags: TcpFlags::NONE,
                mark,
            },
        };
        if let Some(ended) = self.ended.captures(rest)
            && src.is_ipv6()
        {
            packet.headers.proto = if ended.name("esp").is_some() {
                Proto::Esp
            } else {
                Proto::Ah
            };
            return tail_in_range(rest).then_some(packet);
        }
        let expressions = if fragment {
            std::slice::from_ref(&self.fragment)
        } else {
            self.transports.as_slice()
        };
        let transport = expressions
            .iter()
            .find_map(|expression| expression.captures(rest))?;
        packet.headers.proto = proto(&transport["proto"])?;
        if fragment {
            return tail_in_range(rest).then_some(packet);
        }
        transport_fields(&transport, &mut packet.headers)?;
        tail_in_range(rest).then_some(packet)
    }
}

fn transport_fields(transport: &Captures<'_>, headers: &mut Headers) -> Option<()> {
    let port =
        |name| Some(limited(transport, name, 65_535)?.map(|port| u16::try_from(port).unwrap()));
    headers.ports = port("spt")?
        .zip(port("dpt")?)
        .map(|(src, dst)| Ports { src, dst });
    headers.mark.seq = limited(transport, "seq", u32::MAX)?;
    headers.mark.udp_len = port("ulen")?;
    limited(transport, "ack", u32::MAX)?;
    for (name, limit) in [
        ("window", 65_535),
        ("urgp", 65_535),
        ("iid", 65_535),
        ("iseq", 65_535),
        ("type", 255),
        ("code", 255),
    ] {
        limited(transport, name, limit)?;
    }
    if let Some(gateway) = transport.name("gateway") {
        ipv4_address(gateway.as_bytes())?;
    }
    if headers.proto == Proto::Tcp && headers.ports.is_some() {
        let text = &transport["flags"];
        headers.flags = flags(text)?;
        let urgent = transport.name("urgp").is_some();
        if !urgent && (headers.flags == TcpFlags::NONE || text.ends_with(b"URG")) {
            return None;
        }
    }
    Some(())
}

/// The set, if the words stand in the kernel's order and once each.
fn flags(text: &[u8]) -> Option<TcpFlags> {
    let text = String::from_utf8_lossy(text).to_lowercase();
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let places: Vec<usize> = words
        .iter()
        .map(|word| {
            TcpFlags::NAMES
                .iter()
                .position(|(name, _)| name == word)
                .unwrap()
        })
        .collect();
    places.is_sorted_by(|a, b| a < b).then(|| {
        places.iter().fold(TcpFlags::NONE, |set, &place| {
            set.with(TcpFlags::NAMES[place].1)
        })
    })
}

fn proto(name: &[u8]) -> Option<Proto> {
    Some(match name {
        b"TCP" => Proto::Tcp,
        b"UDP" => Proto::Udp,
        b"UDPLITE" => Proto::UdpLite,
        b"SCTP" => Proto::Sctp,
        b"ICMP" => Proto::Icmp,
        b"ICMPv6" => Proto::Icmpv6,
        b"ESP" => Proto::Esp,
        b"AH" => Proto::Ah,
        number => Proto::Number(std::str::from_utf8(number).ok()?.parse().ok()?),
    })
}

fn common_mark(head: &Captures<'_>) -> Option<Fingerprint> {
    Some(Fingerprint {
        len: limited(head, "len", u32::MAX)?,
        ttl: limited(head, "ttl", 255)?.map(|ttl| u8::try_from(ttl).unwrap()),
        ..Fingerprint::default()
    })
}

/// The number of a group, if it took part; the outer `None` when it is too large.
#[expect(clippy::option_option, reason = "absent is right, too large is wrong")]
fn limited(captures: &Captures<'_>, name: &str, limit: u32) -> Option<Option<u32>> {
    let Some(group) = captures.name(name) else {
        return Some(None);
    };
    let number: u32 = std::str::from_utf8(group.as_bytes()).ok()?.parse().ok()?;
    (number <= limit).then_some(Some(number))
}

/// Whether the numbers that are not read at all are numbers of 32 bits too.
fn tail_in_range(rest: &[u8]) -> bool {
    let text = String::from_utf8_lossy(rest);
    let outside = match (text.find('['), text.rfind(']')) {
        (Some(open), Some(close)) => format!("{} {}", &text[..open], &text[close..]),
        _ => text.into_owned(),
    };
    ["UID=", "GID=", "MTU=", "PARAMETER="].iter().all(|key| {
        outside
            .split(' ')
            .filter_map(|word| word.strip_prefix(key))
            .all(|number| number.trim_end().parse::<u32>().is_ok())
    })
}

fn ipv4_address(text: &[u8]) -> Option<Ipv4Addr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

//! The end of a packet line made by the grammar: from `PROTO=` on.

use logknock::engine::packet::{Ports, Proto, TcpFlags};

use super::netfilter_line::{Author, Dice, Line};

impl Line {
    pub(super) fn later_fragment(&mut self, dice: &mut Dice) {
        let (name, proto) = dice.pick(&[
            ("TCP", Proto::Tcp),
            ("UDP", Proto::Udp),
            ("47", Proto::Number(47)),
        ]);
        self.proto = proto;
        self.put(format_args!("PROTO={name}"));
        self.tail(dice);
    }

    pub(super) fn transport(&mut self, dice: &mut Dice, author: Author) {
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
            let (seq, ack): (u32, u32) = (dice.number(0xffff_ffff), dice.number(0xffff_ffff));
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

//! Logs for the benchmarks: the same bytes for the same arguments.
//!
//! The prefix is `lk-4f9a1c7e: ` and the door is 7000/tcp, 8000/udp, 9000/tcp; `benches/run` writes the
//! config that goes with it. Addresses are from the ranges for benchmarks and documentation, but for a
//! flood's, of which there have to be millions.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use logknock::calendar::rfc3339;
use logknock::engine::time::Time;

/// The door's ports; the second is UDP.
pub(crate) const DOOR: [u16; 3] = [7000, 8000, 9000];
/// 2026-11-20 00:00:00 UTC.
const START: u64 = 1_795_132_800;
/// An honest knocker begins every so many lines of a flood …
const HONEST: u64 = 100_000;
/// … and so many lines, half a second, are between two of his knocks.
const APART: u64 = 10_000;

/// Chance from a seed (splitmix64, by Steele, Lea and Flood).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn port(&mut self) -> u16 {
        u16::try_from(1 + self.below(65_535)).unwrap_or(u16::MAX)
    }
}

/// Counts what it passes on.
struct Counted<'a, W>(&'a mut W, u64);

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.0.write(bytes)?;
        self.1 += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Scanners of 65,536 addresses at random ports, a line each 0.1 ms.
pub(crate) fn packets(out: &mut impl Write, bytes: u64) -> io::Result<()> {
    let (mut out, mut random) = (Counted(out, 0), Random(1));
    for line in 0.. {
        if out.1 >= bytes {
            break;
        }
        scanner(&mut out, &mut random, line * 100)?;
    }
    Ok(())
}

/// The same in every tenth line; the others are of other programs.
pub(crate) fn mixed(out: &mut impl Write, bytes: u64) -> io::Result<()> {
    let (mut out, mut random) = (Counted(out, 0), Random(2));
    for line in 0.. {
        if out.1 >= bytes {
            break;
        }
        let micros = line * 100;
        if line % 10 == 0 {
            scanner(&mut out, &mut random, micros)?;
            continue;
        }
        stamp(&mut out, START * 1_000_000 + micros)?;
        let pid = 1000 + random.below(60_000);
        let address = benchmark(random.below(65_536));
        let port = random.port();
        match random.below(6) {
            0 => writeln!(
                out,
                "sshd[{pid}]: Failed password for invalid user admin from {address} port {port} ssh2"
            ),
            1 => writeln!(
                out,
                "sshd[{pid}]: Connection closed by authenticating user root {address} port {port} [preauth]"
            ),
            2 => writeln!(
                out,
                "CRON[{pid}]: (root) CMD (command -v debian-sa1 > /dev/null && debian-sa1 1 1)"
            ),
            3 => writeln!(
                out,
                "systemd[1]: Started session-{pid}.scope - Session {pid} of User backup."
            ),
            4 => writeln!(
                out,
                "postfix/smtpd[{pid}]: NOQUEUE: reject: RCPT from unknown[{address}]: 554 5.7.1 <a@example.org>: Relay access denied; proto=ESMTP helo=<mail>"
            ),
            _ => writeln!(
                out,
                "kernel: [{:5}.{:06}] usb 1-1: new high-speed USB device number {} using xhci_hcd",
                1000 + micros / 1_000_000,
                micros % 1_000_000,
                pid % 127
            ),
        }?;
    }
    Ok(())
}

/// A source of its own for each line, at `ports` in turn, a line each 50 µs, and honest knockers.
pub(crate) fn flood(out: &mut impl Write, lines: u64, ports: &[u16]) -> io::Result<()> {
    for (line, &port) in (0..lines).zip(ports.iter().cycle()) {
        let micros = line * 50;
        let source = Ipv4Addr::from_bits(
            0x1000_0000 | number(line.wrapping_mul(2_654_435_761) & 0x3ff_ffff),
        );
        packet(out, Clock::Log(micros), source, port, line)?;
        honest(out, Clock::Log(micros), line, HONEST, APART)?;
    }
    Ok(())
}

/// Packet lines of now at the end of `file`, written 64 KiB at a time.
pub(crate) fn burst(file: &Path, lines: u64) -> io::Result<()> {
    let file = OpenOptions::new().append(true).open(file)?;
    let mut out = BufWriter::with_capacity(1 << 16, file);
    let mut random = Random(3);
    for line in 0..lines {
        let source = benchmark(random.below(65_536));
        packet(&mut out, Clock::Now, source, random.port(), line)?;
        honest(&mut out, Clock::Now, line, 10_000, 100)?;
    }
    out.flush()
}

/// The next knock of an honest knocker, where one is due: he begins at each `every`-th line.
fn honest(out: &mut impl Write, clock: Clock, line: u64, every: u64, apart: u64) -> io::Result<()> {
    let (who, since) = (line / every, line % every);
    if since == 0 || since % apart != 0 {
        return Ok(());
    }
    let knock = (1..).zip(&DOOR).find(|(knock, _)| knock * apart == since);
    let source = Ipv4Addr::from_bits(0xcb00_7100 | number(1 + who % 250));
    knock.map_or(Ok(()), |(_, &port)| packet(out, clock, source, port, line))
}

fn scanner(out: &mut impl Write, random: &mut Random, micros: u64) -> io::Result<()> {
    let source = benchmark(random.below(65_536));
    let (port, id) = (random.port(), random.below(65_536));
    packet(out, Clock::Log(micros), source, port, id)
}

/// What a line's stamps say.
#[derive(Clone, Copy)]
enum Clock {
    /// So many microseconds after the log's begin.
    Log(u64),
    Now,
}

/// A packet as the kernel prints it and rsyslog writes it; 8000 is knocked by UDP.
fn packet(
    out: &mut impl Write,
    clock: Clock,
    source: Ipv4Addr,
    port: u16,
    id: u64,
) -> io::Result<()> {
    match clock {
        Clock::Log(micros) => {
            stamp(out, START * 1_000_000 + micros)?;
            let (seconds, micros) = (1000 + micros / 1_000_000, micros % 1_000_000);
            write!(out, "kernel: [{seconds:5}.{micros:06}] ")?;
        }
        Clock::Now => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let now = Time::default().after(now.unwrap_or_default());
            write!(out, "{} gw kernel: ", rfc3339(now))?;
        }
    }
    let (id, from) = (id % 65_536, 1024 + id % 60_000);
    write!(
        out,
        "lk-4f9a1c7e: IN=eth0 OUT= MAC=52:54:00:12:34:56:52:54:00:65:43:21:08:00 SRC={source} DST=192.0.2.1 LEN=60 TOS=0x00 PREC=0x00 TTL=52 ID={id} DF "
    )?;
    if port == 8000 {
        writeln!(out, "PROTO=UDP SPT={from} DPT={port} LEN=40 ")
    } else {
        writeln!(
            out,
            "PROTO=TCP SPT={from} DPT={port} WINDOW=64240 RES=0x00 SYN URGP=0 "
        )
    }
}

/// RFC 3339 in UTC, and the host.
fn stamp(out: &mut impl Write, micros: u64) -> io::Result<()> {
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    // Logs begin on 20 November 2026 and none is longer than ten days.
    let day = 20 + (seconds - START) / 86_400;
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    write!(
        out,
        "2026-11-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}+00:00 gw "
    )
}

fn benchmark(number: u64) -> Ipv4Addr {
    Ipv4Addr::from_bits(0xc612_0000 | self::number(number))
}

fn number(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

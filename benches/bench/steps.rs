//! One step of the walk by itself, so many times: to be timed, or its instructions counted.

use std::hint::black_box;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use logknock::config;
use logknock::engine::attempts::Limits;
use logknock::engine::event::Whence;
use logknock::engine::knock::Logged;
use logknock::engine::line::Origin;
use logknock::engine::reading::Expected;
use logknock::engine::time::Time;
use logknock::engine::{Sighting, line, packet};

use super::chained::Engine;
use super::generate;

/// The steps, in the order of the walk.
pub(crate) const NAMES: [&str; 5] = ["framing", "packet", "line", "detector", "flood"];

const PREFIX: &[u8] = b"lk-4f9a1c7e: ";
const CONFIG: &str = r#"
[door.ssh]
sequence = [7000, "8000:udp", 9000]
start_command = "true"
stop_command = "true"
"#;

/// Runs the step `name` on `lines` lines; `false` when there is none of that name.
pub(crate) fn run(name: &str, lines: u64) -> io::Result<bool> {
    let mut log = Vec::new();
    match name {
        "flood" => generate::flood(&mut log, 4096, &[7000])?,
        _ => generate::packets(&mut log, 1_000_000)?,
    }
    let log: Vec<_> = log
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .collect();
    let log = log
        .iter()
        .cycle()
        .take(usize::try_from(lines).unwrap_or(usize::MAX));
    match name {
        "framing" => log.for_each(|text| {
            black_box(line::read(black_box(text)));
        }),
        "packet" => {
            for text in log {
                // Behind the framing, which is the same length in each.
                let message = text.get(FRAMING..).unwrap_or_default();
                let packet =
                    packet::read_behind(black_box(message), PREFIX, packet::Printer::Kernel);
                black_box(packet.map_err(|reason| io::Error::other(reason.as_str()))?);
            }
        }
        "line" => {
            let expected = Expected::Prefix(PREFIX.into());
            for text in log {
                let read = expected.read(black_box(text), Origin::Claimed);
                black_box(read.map_err(|reason| io::Error::other(reason.as_str()))?);
            }
        }
        "detector" | "flood" => detect(log, name == "flood")?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// What stands in front of the prefix.
const FRAMING: usize = "2026-11-20T00:00:00.000000+00:00 gw kernel: [ 1000.000000] ".len();

/// Hits of scanners at a door that none of them knows, or first knocks of a new source each.
fn detect<'a>(log: impl Iterator<Item = &'a &'a [u8]>, is_flood: bool) -> io::Result<()> {
    let config = config::parse("logknock.toml", CONFIG).map_err(|_| io::Error::other("config"))?;
    let mut engine = Engine::new(config.doors, Duration::ZERO, Limits::default());
    let expected = Expected::Prefix(PREFIX.into());
    let packets = log.map(|text| {
        Ok(expected
            .read(text, Origin::Claimed)
            .ok()
            .flatten()
            .ok_or(io::Error::other("line"))?
            .1)
    });
    // Read once, so that only the detection is repeated.
    let packets: Vec<_> = packets.collect::<io::Result<_>>()?;
    for (number, packet) in (1..).zip(&packets) {
        let at = Time::default().after(Duration::from_micros(100 * number));
        let mut packet = *packet;
        if is_flood {
            packet.headers.src =
                Ipv4Addr::from_bits(0x1000_0000 + u32::try_from(number).unwrap_or(0)).into();
        }
        let whence = Whence {
            source: 0,
            line: number,
        };
        let sighting = Sighting {
            packet,
            at,
            uptime: None,
            logged: Logged::default(),
            whence,
        };
        black_box(engine.handle_packet(at, &sighting)).ok();
        while let Some(event) = engine.poll_event() {
            black_box(event);
        }
    }
    Ok(())
}

//! What a clock can do to a knock: lines through the real readers, timeline and engine, on clocks that
//! only the test turns.

use std::sync::Arc;
use std::time::Duration;

use crate::chained::Engine;
use logknock::calendar::{Calendar, Zone, rfc3339};
use logknock::config;
use logknock::engine::Sighting;
use logknock::engine::attempts::Limits;
use logknock::engine::door::Door;
use logknock::engine::event::{EventKind, Whence};
use logknock::engine::knock::Logged;
use logknock::engine::line::Origin;
use logknock::engine::reading::Expected;
use logknock::engine::reason::Reason;
use logknock::engine::time::Time;
use logknock::engine::timeline::{Received, Stamps, Timeline};
use time::UtcOffset;

use super::random::Random;

const WINDOW: u64 = 15;
/// 2026-11-21T00:00:00Z
const NOVEMBER: i64 = 1_795_219_200;

/// A machine with a door of three knocks, and its clocks.
struct Machine {
    engine: Engine,
    timeline: Timeline,
    calendar: Calendar,
    /// Milliseconds since the boot, and what the clock on the wall showed then, in Unix seconds.
    now: u64,
    booted: i64,
    lines: u64,
}

fn at(nanos: i64) -> Time {
    Time::from_nanos(nanos)
}

impl Machine {
    /// One that booted an hour before this moment.
    fn at(unix: i64) -> Self {
        Self::in_zone(unix, UtcOffset::UTC)
    }

    fn in_zone(unix: i64, zone: UtcOffset) -> Self {
        let text = format!(
            "[door.ssh]\nsequence = [7000, 8000, 9000]\nseq_timeout = {WINDOW}\n\
             start_command = [\"/bin/true\"]\n"
        );
        let doors: Vec<Arc<Door>> = config::parse("test", &text).unwrap().doors;
        Self {
            engine: Engine::new(doors, Duration::from_secs(1), Limits::default()),
            timeline: Timeline::new(Duration::from_secs(WINDOW), *b"gw"),
            calendar: Calendar::new(Zone::Fixed(zone), at(unix * 1_000_000_000)),
            now: 3_600_000,
            booted: unix - 3600,
            lines: 0,
        }
    }

    /// The clock on the wall, in nanoseconds.
    fn wall(&self) -> Time {
        at(self.booted * 1_000_000_000 + i64::try_from(self.now).unwrap() * 1_000_000)
    }

    fn pass(&mut self, millis: u64) -> &mut Self {
        self.now += millis;
        let now = at(i64::try_from(self.now).unwrap() * 1_000_000);
        self.engine.handle_timeout(now);
        self
    }

    /// Reads a line now.
    fn read(&mut self, head: &str, port: u16) -> Result<(), Reason> {
        self.read_of(head, "203.0.113.7", port)
    }

    /// Reads a line about `src` now.
    fn read_of(&mut self, head: &str, src: &str, port: u16) -> Result<(), Reason> {
        self.lines += 1;
        let line = format!(
            "{head}lk: IN=eth0 OUT= MAC= SRC={src} DST=192.0.2.1 LEN=60 TOS=0x00 PREC=0x00 \
             TTL=64 ID=0 DF PROTO=TCP SPT={} DPT={port} WINDOW=64240 RES=0x00 SYN URGP=0 ",
            40_000 + self.lines
        );
        let now = at(i64::try_from(self.now).unwrap() * 1_000_000);
        let received = Received {
            now,
            awake: now,
            wall: self.wall(),
            late: false,
        };
        self.calendar.set_not_after(received.wall);
        let expected = Expected::Prefix((*b"lk: ").into());
        let (record, packet) = expected
            .read(line.as_bytes(), Origin::Claimed)?
            .expect("a packet");
        let stamps = Stamps {
            host: record.host,
            wall: record.stamp.and_then(|stamp| self.calendar.resolve(stamp)),
            uptime: record.uptime,
        };
        let placed = self.timeline.place_live(stamps, received)?;
        if let Some(kernel) = placed.rebooted {
            self.engine.detection.attempts.forget_fed_by((0, kernel));
        }
        let sighting = Sighting {
            packet,
            at: placed.at,
            uptime: record.uptime,
            logged: Logged {
                clock: placed.kernel,
                ..Logged::default()
            },
            whence: Whence {
                source: 0,
                line: self.lines,
            },
        };
        self.engine.handle_packet(now, &sighting)
    }

    /// Whether the door has opened since the last call.
    fn opened(&mut self) -> bool {
        !self.openers().is_empty()
    }

    /// For whom it has opened since the last call.
    fn openers(&mut self) -> Vec<String> {
        while self.engine.poll_order().is_some() {}
        let events = std::iter::from_fn(|| self.engine.poll_event());
        let opens = events.filter(|event| event.kind == EventKind::Open);
        opens.map(|event| event.src.to_string()).collect()
    }

    /// printk's stamp of now.
    fn printk(&self) -> String {
        format!("[{:>5}.{:03}000] ", self.now / 1000, self.now % 1000)
    }

    /// The knocks, a second apart, each behind the head that is made for it.
    fn knock(&mut self, head: impl Fn(&Self) -> String) -> bool {
        for port in [7000, 8000, 9000] {
            let head = head(self);
            self.pass(1000)
                .read(&head, port)
                .unwrap_or_else(|reason| panic!("{head}: {reason:?}"));
        }
        self.opened()
    }
}

/// The Unix time of a moment in RFC 3339.
fn unix(text: &str) -> i64 {
    use time::format_description::well_known::Rfc3339;
    time::OffsetDateTime::parse(text, &Rfc3339)
        .unwrap()
        .unix_timestamp()
}

/// A header as RFC 3164 has it, of the clock on the wall in `zone`.
fn rfc3164(machine: &Machine, zone: UtcOffset) -> String {
    let moment = time::OffsetDateTime::from_unix_timestamp_nanos(machine.wall().as_nanos().into());
    let moment = moment.unwrap().to_offset(zone);
    let month = &moment.month().to_string()[..3];
    let (hour, minute, second) = moment.to_hms();
    format!(
        "{month} {:>2} {hour:02}:{minute:02}:{second:02} gw kernel: ",
        moment.day()
    )
}

#[test]
fn knocks_over_new_year_and_on_leap_days_count_in_headers_without_a_year() {
    for moment in [
        "2026-12-31T23:59:58Z",
        "2027-01-01T00:00:00Z",
        "2028-02-29T12:00:00Z",
        "2028-02-28T23:59:58Z",
        "2027-02-28T23:59:58Z",
    ] {
        let mut machine = Machine::at(unix(moment));
        assert!(
            machine.knock(|now| rfc3164(now, UtcOffset::UTC)),
            "{moment}"
        );
    }
}

#[test]
fn a_date_that_does_not_exist_or_in_another_language_leaves_the_knock_to_the_kernels_stamp() {
    for date in [
        "Feb 29 10:00:00 gw kernel: ", // of 2027, which has none
        "Feb 30 10:00:00 gw kernel: ",
        "nov. 21 10:00:00 gw kernel: ",
        "21 listopada 10:00:00 gw kernel: ",
        "Mär 21 10:00:00 gw kernel: ",
        "十一月 21 10:00:00 gw kernel: ",
    ] {
        let mut machine = Machine::at(unix("2027-03-01T00:00:10Z"));
        for port in [7000, 8000, 9000] {
            let head = format!("{date}{}", machine.pass(1000).printk());
            // What is no header may make it no line of the kernel's; it never makes it another time.
            let _ = machine.read(&head, port);
        }
        let _ = machine.opened();
        assert!(
            machine.knock(|now| format!("kernel: {}", now.printk())),
            "{date}"
        );
    }
}

#[test]
fn every_zone_and_every_form_of_a_header_is_accepted_live() {
    let zone = |hours| UtcOffset::from_hms(hours, 0, 0).unwrap();
    // The machine's zone, and the one that its syslog has not noticed it has left (DST).
    for (ours, theirs) in [(0, 0), (2, 1), (1, 2), (-5, -4), (2, 0), (0, 2)] {
        let mut machine = Machine::in_zone(NOVEMBER, zone(ours));
        let head = |now: &Machine| rfc3164(now, zone(theirs));
        assert!(machine.knock(head), "{ours} {theirs}");
    }
    let utc = |now: &Machine| rfc3339(now.wall());
    let forms: [fn(String) -> String; 3] = [
        |utc| utc,
        |utc| utc.replace('Z', "+00:00"),
        |utc| {
            format!(
                "{}.123456Z",
                utc.trim_end_matches('Z').split('.').next().unwrap()
            )
        },
    ];
    for form in forms {
        let mut machine = Machine::at(NOVEMBER);
        assert!(machine.knock(|now| format!("{} gw kernel: ", form(utc(now)))));
    }
}

#[test]
fn a_wrong_zone_does_not_make_a_replayed_line_fresh() {
    let mut machine = Machine::at(NOVEMBER);
    let old = rfc3164(&machine, UtcOffset::UTC);
    assert_eq!(
        machine.pass(3 * 3_600_000).read(&old, 7000),
        Err(Reason::Stale)
    );
    let exact = format!("{} gw kernel: ", rfc3339(machine.wall()));
    assert_eq!(
        machine.pass(3_600_000).read(&exact, 7000),
        Err(Reason::Stale)
    );
}

#[test]
fn without_printks_stamp_knocks_read_at_once_keep_the_order_of_the_file() {
    let mut machine = Machine::at(NOVEMBER);
    for port in [7000, 8000, 9000] {
        machine.read("kernel: ", port).unwrap();
    }
    assert!(machine.opened());
    for port in [9000, 8000, 7000] {
        machine.read("kernel: ", port).unwrap();
    }
    assert!(!machine.opened());
}

#[test]
fn a_wall_clock_that_is_set_back_or_forth_between_knocks_moves_no_window() {
    for step in [-3600, 3600, -31_536_000, 31_536_000, -1, 1] {
        for (pause, opens) in [(1000, true), (WINDOW * 1000 + 2, false)] {
            let mut machine = Machine::at(NOVEMBER);
            let head = |now: &Machine| format!("kernel: {}", now.printk());
            let first = head(&machine);
            machine.read(&first, 7000).unwrap();
            machine.booted += step;
            for port in [8000, 9000] {
                machine.pass(pause / 2);
                let head = head(&machine);
                machine.read(&head, port).unwrap();
            }
            assert_eq!(machine.opened(), opens, "{step} s, {pause} ms");
        }
    }
}

#[test]
fn a_reboot_into_the_same_file_drops_the_knocks_before_it() {
    let mut machine = Machine::at(NOVEMBER);
    // Another host's, over syslog: our own reboot ends us too. Its firewall is up two seconds after.
    let mut knock = |pause: u64, uptime: u64, port| {
        machine.pass(pause);
        let head = format!(
            "{} fw2 kernel: [{uptime:>5}.000001] ",
            rfc3339(machine.wall())
        );
        machine.read(&head, port).unwrap();
        machine.opened()
    };
    for (pause, uptime, port) in [(1000, 3600, 7000), (1000, 3601, 8000), (3000, 2, 9000)] {
        assert!(!knock(pause, uptime, port), "{uptime}");
    }
    assert!(!knock(1000, 3, 7000));
    assert!(!knock(1000, 4, 8000));
    assert!(knock(1000, 5, 9000));
    // Without the reboot the same three are a knock.
    assert!(!knock(1000, 6, 7000));
    assert!(!knock(1000, 7, 8000));
    assert!(knock(3000, 10, 9000));
}

/// Two machines that call themselves the same, in one log, and who knocks at each.
const TWINS: [&str; 2] = ["203.0.113.7", "203.0.113.8"];

impl Machine {
    /// After a pause a twin that is up `ahead` milliseconds longer than this machine logs a knock of its own knocker.
    fn twin(&mut self, pause: u64, ahead: i64, who: usize, port: u16) {
        self.pass(pause);
        let uptime = i64::try_from(self.now).unwrap() + ahead;
        let head = format!(
            "{} fw2 kernel: [{:>5}.{:03}000] ",
            rfc3339(self.wall()),
            uptime / 1000,
            uptime % 1000
        );
        let read = self.read_of(&head, TWINS[who], port);
        read.unwrap_or_else(|reason| panic!("{head}: {reason:?}"));
    }
}

#[test]
fn two_kernels_of_one_name_never_touch_each_others_attempts() {
    let mut random = Random(20_261_129);
    for round in 0..300 {
        let mut machine = Machine::at(NOVEMBER);
        let mut number = |most| i64::try_from(random.below(most)).unwrap();
        let mut ahead = [number(80_000_000) + 100_000, -number(3_000_000)];
        if round % 2 == 0 {
            ahead.reverse();
        }
        let mut left = TWINS.map(|_| [7000, 8000, 9000].into_iter());
        while left.iter().any(|left| left.len() > 0) {
            let who = usize::try_from(number(2)).unwrap();
            if let Some(port) = left[who].next() {
                machine.twin(u64::try_from(number(1900)).unwrap(), ahead[who], who, port);
            }
        }
        let mut opened = machine.openers();
        opened.sort();
        assert_eq!(opened, TWINS, "round {round}: {ahead:?}");
    }
}

#[test]
fn the_boot_of_one_of_two_kernels_of_one_name_drops_its_own_attempts_alone() {
    let mut machine = Machine::at(NOVEMBER);
    let [first, second] = [80_000_000, -2_000_000];
    for port in [7000, 8000] {
        machine.twin(500, first, 0, port);
        machine.twin(500, second, 1, port);
    }
    machine.pass(4000);
    let booted = 2000 - i64::try_from(machine.now).unwrap();
    machine.twin(0, booted, 1, 9000);
    assert!(!machine.opened());
    machine.twin(500, first, 0, 9000);
    assert_eq!(machine.openers(), TWINS[..1]);
    for port in [7000, 8000, 9000] {
        machine.twin(500, booted, 1, port);
    }
    assert_eq!(machine.openers(), TWINS[1..]);
}

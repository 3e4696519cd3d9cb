//! logknock and the real knockd on the same knockd.conf and the same packets: where both must open,
//! and each documented difference by itself.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::beside::{Beside, KNOCKERS, NEAR, note};
use crate::lab::{Lab, PATIENCE};
use crate::need::{long, need};
use crate::process::{eventually, finish};
use crate::random::Random;
use crate::turn::Ring;
use crate::wire::{ACK, FIN, Kind, PSH, RST, SYN, URG};

const X: Ipv4Addr = KNOCKERS[0];
const Y: Ipv4Addr = KNOCKERS[1];
const TCP: Kind = Kind::Tcp(SYN);

// ── where both agree ──

/// The timeout of every random door, in knockd's whole seconds …
const TIMEOUT: u64 = 3;
/// … an attempt that is younger is alive for both, whatever part of its second it began in …
const YOUNG: Duration = Duration::from_millis(1400);
/// … and one that is older is dead for both.
const OLD: Duration = Duration::from_millis(3600);

/// A door of which both think the same.
#[derive(Debug)]
struct RandomDoor {
    name: String,
    steps: Vec<(u16, bool)>,
    /// As knockd writes them, and flags of packets that pass or do not.
    flags: &'static (&'static str, &'static [u8], &'static [u8]),
}

const FLAGS: [(&str, &[u8], &[u8]); 4] = [
    ("syn", &[SYN, SYN | ACK, SYN | URG], &[ACK, FIN, RST, 0]),
    ("syn,!ack", &[SYN, SYN | PSH], &[SYN | ACK, ACK, RST | ACK]),
    ("fin,!ack", &[FIN, FIN | PSH | URG], &[SYN, FIN | ACK, 0]),
    ("", &[SYN, ACK, FIN, RST, 0, FIN | PSH | URG], &[]),
];

impl RandomDoor {
    /// A door whose steps are all different, and in no other door.
    fn new(number: u16, random: &mut Random) -> Self {
        let count = 1 + random.below(4);
        let mut ports: Vec<u16> = (0..8).map(|place| 10_000 + 100 * number + place).collect();
        random.shuffle(&mut ports);
        Self {
            name: format!("door{number}"),
            steps: ports
                .into_iter()
                .take(count)
                .map(|port| (port, random.below(3) > 0))
                .collect(),
            flags: random.pick(&FLAGS),
        }
    }

    fn text(&self, lab: &Lab) -> String {
        let steps: Vec<_> = self
            .steps
            .iter()
            .map(|(port, is_tcp)| format!("{port}:{}", if *is_tcp { "tcp" } else { "udp" }))
            .collect();
        let flags = match self.flags.0 {
            "" => String::new(),
            flags => format!("tcpflags = {flags}\n"),
        };
        format!(
            "[{name}]\nsequence = {}\nseq_timeout = {TIMEOUT}\n{flags}command = {}\n",
            steps.join(" , "),
            note(lab, &self.name),
            name = self.name,
        )
    }

    fn hit(&self, step: usize, random: &mut Random) -> (u16, Kind) {
        let (port, is_tcp) = self.steps[step];
        let kind = if is_tcp {
            Kind::Tcp(*random.pick(self.flags.1))
        } else {
            Kind::Udp
        };
        (port, kind)
    }
}

/// Who knocks at which door, and how far the attempt is.
struct Knocker {
    address: Ipv4Addr,
    door: usize,
    stage: usize,
    begun: Instant,
}

impl Knocker {
    /// Sends one packet of which both must think the same, and keeps count of what that is. Left out
    /// is what documented differences are about: a first knock while an attempt is alive, and any
    /// step of an attempt of an age that knockd may round either way.
    fn act(&mut self, doors: &[RandomDoor], beside: &mut Beside<'_>, random: &mut Random) -> usize {
        let door = &doors[self.door];
        let age = self.begun.elapsed();
        let alive = self.stage > 0 && age < OLD;
        let unsure = alive && age > YOUNG;
        let last = door.steps.len() - 1;
        match random.byte() % 10 {
            // A port of no door.
            0 => beside.send(self.address, 20_000, TCP),
            // The right port by the other protocol.
            1 => {
                let (port, is_tcp) = door.steps[random.below(last + 1)];
                beside.send(self.address, port, if is_tcp { Kind::Udp } else { TCP });
            }
            // The right port with flags that do not pass.
            2 if !door.flags.2.is_empty() => {
                let (port, is_tcp) = door.steps[random.below(last + 1)];
                if is_tcp {
                    beside.send(self.address, port, Kind::Tcp(*random.pick(door.flags.2)));
                }
            }
            // A step that is not its turn.
            3 if last > 0 && !unsure => {
                let step = 1 + random.below(last);
                let (port, kind) = door.hit(step, random);
                if alive && step == self.stage {
                    return 0;
                }
                beside.send(self.address, port, kind);
                self.stage = 0;
            }
            _ if !unsure => {
                let step = if alive { self.stage } else { 0 };
                let (port, kind) = door.hit(step, random);
                if step == 0 {
                    self.begun = Instant::now();
                }
                beside.send(self.address, port, kind);
                self.stage = (step + 1) % door.steps.len();
                return usize::from(self.stage == 0);
            }
            _ => {}
        }
        0
    }
}

#[test]
fn logknock_opens_when_knockd_opens_and_not_else() {
    let Some(lab) = Lab::new(Ring::Shared, &["knockd"]) else {
        return;
    };
    let seed = std::env::var("LOGKNOCK_SEED");
    let seed = seed.ok().and_then(|text| text.parse().ok());
    let mut random = Random(seed.unwrap_or(20_261_121));
    let (files, rounds) = if long() { (20, 10) } else { (2, 5) };
    let [mut packets, mut opens] = [0, 0];
    for _ in 0..files {
        let doors: Vec<_> = (0..5)
            .map(|number| RandomDoor::new(number, &mut random))
            .collect();
        let text: String = doors.iter().map(|door| door.text(&lab)).collect();
        let mut beside = Beside::start(&lab, &text, true);
        let mut knockers: Vec<_> = KNOCKERS
            .into_iter()
            .map(|address| Knocker {
                address,
                door: random.below(doors.len()),
                stage: 0,
                begun: Instant::now(),
            })
            .collect();
        let mut expected = 0;
        for round in 0..rounds {
            for _ in 0..100 {
                let who = random.below(knockers.len());
                expected += knockers[who].act(&doors, &mut beside, &mut random);
                packets += 1;
            }
            let mut both = beside.opened();
            // A command may end after the one behind it.
            eventually("both have opened the same", PATIENCE, || {
                if both[0] != both[1] || both[0].len() != expected {
                    both = beside.opened();
                }
                let same = both[0] == both[1] && both[0].len() == expected;
                if !same {
                    eprintln!(
                        "knockd {:?}\nlogknock {:?}\nexpected {expected}\n{text}",
                        both[0], both[1]
                    );
                }
                same
            });
            if round % 3 == 1 {
                // The time itself is what is tested: every attempt is dead afterwards.
                thread::sleep(OLD);
            }
        }
        opens += expected;
    }
    eprintln!(
        "{} schedules, {packets} turns, {opens} opens, the same",
        files * rounds
    );
    assert!(opens > 10, "{opens}");
}

// ── the differences ──

/// Runs `act` on both; what each has opened, and how often.
fn differ(doors: &str, act: impl FnOnce(&mut Beside<'_>), knockd: &[&str], logknock: &[&str]) {
    let Some(lab) = Lab::new(Ring::Shared, &["knockd"]) else {
        return;
    };
    let mut text = String::new();
    for line in doors.replace("NOTE", &note(&lab, "closed")).lines() {
        text += line;
        text += "\n";
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            text += "tcpflags = syn\ncommand = ";
            text += &note(&lab, name);
            text += "\n";
        }
    }
    let mut beside = Beside::start(&lab, &text, false);
    act(&mut beside);
    let expected = [knockd, logknock];
    let mut opened = beside.opened();
    eventually(&format!("both do as they do: {opened:?}"), PATIENCE, || {
        let same = opened == expected;
        if !same {
            opened = beside.opened();
        }
        same
    });
}

const A: &str = "[A]\nsequence = 7000,8000,9000\nseq_timeout = 10\n";

fn tcp(beside: &mut Beside<'_>, from: Ipv4Addr, ports: &[u16]) {
    for port in ports {
        beside.send(from, *port, TCP);
    }
}

fn opened(door: &str, address: Ipv4Addr) -> String {
    format!("{door} {address}")
}

#[test]
fn a_retransmission_kills_the_attempt_in_knockd_alone() {
    let repeated = |beside: &mut Beside<'_>| {
        for port in [7000, 8000, 9000] {
            let from = SocketAddrV4::new(X, 40_000 + port);
            beside.send_from(from, port, TCP);
            beside.send_from(from, port, TCP);
        }
    };
    differ(A, repeated, &[], &[&opened("A", X)]);
}

#[test]
fn the_knock_that_breaks_an_attempt_is_lost_in_knockd_alone() {
    let broken = |beside: &mut Beside<'_>| tcp(beside, X, &[7000, 8000, 7000, 8000, 9000]);
    differ(A, broken, &[], &[&opened("A", X)]);
}

#[test]
fn the_end_of_the_oldest_attempt_ends_all_others_in_knockd_alone() {
    let two = |beside: &mut Beside<'_>| {
        tcp(beside, X, &[7000]);
        tcp(beside, Y, &[7000]);
        tcp(beside, X, &[9000]);
        tcp(beside, Y, &[8000, 9000]);
    };
    differ(A, two, &[], &[&opened("A", Y)]);
}

#[test]
fn the_order_of_doors_matters_in_knockd_alone() {
    let doors = "[short]\nsequence = 7000,8000\n[long]\nsequence = 7000,8000,9000\n";
    let knock = |beside: &mut Beside<'_>| tcp(beside, X, &[7000, 8000, 9000]);
    let short = opened("short", X);
    differ(doors, knock, &[&short], &[&opened("long", X), &short]);
}

#[test]
fn an_attempt_keeps_an_address_from_other_doors_in_knockd_alone() {
    let doors = "[long]\nsequence = 7000,8000,9000\n[inner]\nsequence = 8000,9000\n";
    let knock = |beside: &mut Beside<'_>| tcp(beside, X, &[7000, 8000, 9000]);
    let long = opened("long", X);
    differ(doors, knock, &[&long], &[&opened("inner", X), &long]);
}

#[test]
fn a_port_of_another_door_kills_the_attempt_in_knockd_alone() {
    let doors = "[A]\nsequence = 7000,8000\n[B]\nsequence = 1111,2222\n";
    let knock = |beside: &mut Beside<'_>| tcp(beside, X, &[7000, 2222, 8000]);
    differ(doors, knock, &[], &[&opened("A", X)]);
}

#[test]
fn seq_timeout_is_shorter_than_it_says_in_knockd_alone() {
    let doors = "[A]\nsequence = 7000,8000\nseq_timeout = 1\n";
    let knock = |beside: &mut Beside<'_>| {
        // The next second begins in between.
        let part = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let part = part.expect("it is after 1970").subsec_millis();
        thread::sleep(Duration::from_millis(u64::from(1_700 - part)));
        tcp(beside, X, &[7000]);
        thread::sleep(Duration::from_millis(550));
        tcp(beside, X, &[8000]);
    };
    differ(doors, knock, &[], &[&opened("A", X)]);
}

#[test]
fn a_knock_at_an_open_door_opens_it_again_in_knockd_alone() {
    let doors = "[A]\nsequence = 7000,8000\nstop_command = :\ncmd_timeout = 60\n";
    let knock = |beside: &mut Beside<'_>| tcp(beside, X, &[7000, 8000, 7000, 8000]);
    let once = opened("A", X);
    differ(doors, knock, &[&once, &once], &[&once]);
}

#[test]
fn a_pending_stop_command_dies_with_knockd_alone() {
    let doors = "[A]\nsequence = 7000,8000\nstop_command = NOTE\ncmd_timeout = 3\n";
    let knock = |beside: &mut Beside<'_>| {
        tcp(beside, X, &[7000, 8000]);
        // Both have run their start command.
        let both = opened("A", X);
        eventually("both open", PATIENCE, || {
            beside.opened() == [[both.clone()], [both.clone()]]
        });
        beside.crash();
        // The time itself is what is tested: both stop commands were due by now.
        thread::sleep(Duration::from_secs(4));
    };
    let (once, closed) = (opened("A", X), opened("closed", X));
    differ(doors, knock, &[&once], &[&once, &closed]);
}

/// The list's last line is used while knockd frees what it still uses.
#[test]
fn the_last_one_time_sequence_is_knockds_end_and_not_logknocks() {
    let Some(lab) = Lab::new(Ring::Shared, &["knockd"]) else {
        return;
    };
    let lists =
        ["theirs.list", "ours.list"].map(|name| lab.write(name, " 7001,8001\n 7002,8002\n"));
    let door = |list: &std::path::Path| {
        let list = list.display();
        format!(
            "[A]\none_time_sequences = {list}\ntcpflags = syn\ncommand = {}\n",
            note(&lab, "A")
        )
    };
    let [theirs, ours] = lists.each_ref().map(|list| door(list));
    let mut beside = Beside::start_each(&lab, [&theirs, &ours], false);
    tcp(&mut beside, X, &[7001, 8001]);
    let once = opened("A", X);
    eventually("both open", PATIENCE, || {
        beside.opened() == [[once.clone()], [once.clone()]]
    });
    tcp(&mut beside, X, &[7001, 8001, 7002, 8002]);
    eventually("knockd aborts", PATIENCE, || beside.knockd_has_ended());
    let twice = vec![opened("A", X), opened("A", X)];
    eventually(
        "logknock opens for each line once and goes on",
        PATIENCE,
        || beside.opened_by_logknock() == twice,
    );
    for list in lists {
        let left = std::fs::read_to_string(&list).expect("the list is there");
        assert!(left.lines().all(|line| line.starts_with('#')), "{left}");
    }
}

/// What a client of somebody's sends more than once, of a step that is already made.
fn repeats(tools: &[&str], doors: &str, client: &str) {
    if need(tools) {
        let run = |beside: &mut Beside<'_>| drop(beside.run(client));
        differ(doors, run, &[], &[&opened("A", NEAR)]);
    }
}

const A_MINUTE: &str = "[A]\nsequence = 7000,8000,9000\nseq_timeout = 60\n";

#[test]
fn nmap_with_its_retries_from_other_ports_opens_logknock_alone() {
    let client = "for port in 7000 8000 9000; do nmap -n -Pn -p $port 192.0.2.1; done";
    repeats(&["nmap"], A_MINUTE, client);
}

#[test]
fn a_pair_of_sockets_a_step_as_browsers_open_it_opens_logknock_alone() {
    let client = "for port in 7000 8000 9000; do for socket in 1 2; do \
                  timeout 0.7 bash -c \": > /dev/tcp/192.0.2.1/$port\" & done; wait; done";
    repeats(&["bash"], A_MINUTE, client);
}

#[test]
fn a_client_that_sends_its_datagram_again_opens_logknock_alone() {
    let client = "knock 192.0.2.1 7000; exec 3> /dev/udp/192.0.2.1/8000; \
                  for time in 1 2 3; do echo x >&3; sleep 0.1; done; knock 192.0.2.1 9000";
    let doors = A_MINUTE.replace("8000", "8000:udp");
    repeats(&["bash", "knock"], &doors, client);
}

/// What knockd makes of it depends on which of them comes last.
#[test]
fn connections_whose_syns_are_sent_again_between_the_next_steps_open() {
    let Some(lab) = Lab::new(Ring::Shared, &["knockd", "curl"]) else {
        return;
    };
    let doors = format!("{A_MINUTE}tcpflags = syn\ncommand = {}\n", note(&lab, "A"));
    let beside = Beside::start(&lab, &doors, false);
    beside.run(
        "for port in 7000 8000 9000; do curl --silent --noproxy '*' --connect-timeout 7 http://192.0.2.1:$port/ & \
         sleep 1.3; done; wait",
    );
    eventually("logknock opens", PATIENCE, || {
        beside.opened_by_logknock() == [opened("A", NEAR)]
    });
}

// ── commands that fail ──

/// Of the notes of commands, those of one word.
fn count(notes: &[String], word: &str) -> usize {
    let is_of = |note: &&String| note.split(' ').next() == Some(word);
    notes.iter().filter(is_of).count()
}

/// knockd looks at no exit status. With its file logknock says it, and tries a close that failed twice more.
#[test]
fn commands_that_fail_open_as_often_as_in_knockd_and_close_three_times() {
    let Some(lab) = Lab::new(Ring::Shared, &["knockd"]) else {
        return;
    };
    let door = |name: &str, port: u16, hold: u8, [open, close]: [u8; 2]| {
        let [begin, end] = ["open", "close"].map(|word| note(&lab, &format!("{name}-{word}")));
        format!(
            "[{name}]\nsequence = {port},{}\nseq_timeout = 10\ntcpflags = syn\nstart_command = {begin}; exit {open}\n\
             cmd_timeout = {hold}\nstop_command = {end}; exit {close}\n",
            port + 1
        )
    };
    let cases = [("A", [0, 0]), ("B", [3, 0]), ("C", [0, 3]), ("D", [3, 3])];
    let ports = (7100..).step_by(10);
    let doors = cases.iter().zip(ports.clone());
    let doors = doors.map(|((name, exits), port)| door(name, port, 1, *exits));
    let doors: String = doors.chain([door("late", 7900, 5, [0, 0])]).collect();
    let mut beside = Beside::start(&lab, &doors, false);
    let are_as_often = |beside: &Beside<'_>, times: usize| {
        let both = beside.noted_by_both();
        both.iter().zip([1, 3]).all(|(notes, tries)| {
            cases.iter().all(|(name, [_, close])| {
                let closes = if *close == 0 { times } else { times * tries };
                count(notes, &format!("{name}-open")) == times
                    && count(notes, &format!("{name}-close")) == closes
            })
        })
    };
    for times in 1..=2 {
        for (port, from) in ports.clone().zip(KNOCKERS).take(cases.len()) {
            tcp(&mut beside, from, &[port, port + 1]);
        }
        eventually("both have opened and closed", PATIENCE, || {
            are_as_often(&beside, times)
        });
    }
    // A fourth try would come before this door closes.
    tcp(&mut beside, X, &[7900, 7901]);
    eventually("the last one closes", PATIENCE, || {
        beside
            .noted_by_both()
            .iter()
            .all(|notes| count(notes, "late-close") == 1)
    });
    assert!(are_as_often(&beside, 2), "{:?}", beside.noted_by_both());
}

/// A firewall that is loaded anew takes the rule along, so the close command fails.
#[test]
fn a_rule_that_was_flushed_comes_back_with_the_next_knock_in_both_and_stays_for_its_time() {
    let Some(lab) = Lab::new(Ring::Shared, &["knockd", "iptables"]) else {
        return;
    };
    let rule = |how: &str| {
        format!("iptables -w -{how} INPUT -s %IP% -p tcp --dport ${{LOGKNOCK_IP:+20}}22 -j ACCEPT")
    };
    let doors = format!(
        "[A]\nsequence = 7000,8000\nseq_timeout = 10\ntcpflags = syn\nstart_command = {} && {}\n\
         cmd_timeout = 3\nstop_command = {}; was=$?; {}; exit $was\n",
        rule("I"),
        note(&lab, "open"),
        rule("D"),
        note(&lab, "close"),
    );
    let iptables = |words: &str| {
        let mut command = lab.server.command("iptables");
        finish(command.arg("-w").args(words.split(' ')))
    };
    let has = || {
        let rules = iptables("-S INPUT");
        ["22", "2022"].map(|port| rules.contains(&format!("--dport {port} ")))
    };
    let mut beside = Beside::start(&lab, &doors, false);
    tcp(&mut beside, X, &[7000, 8000]);
    eventually("both open", PATIENCE, || has() == [true; 2]);
    iptables("-F INPUT");
    eventually("both try to close", PATIENCE, || {
        beside
            .noted_by_both()
            .iter()
            .all(|notes| count(notes, "close") > 0)
    });
    let knocked = Instant::now();
    tcp(&mut beside, X, &[7000, 8000]);
    eventually("both open again", PATIENCE, || has() == [true; 2]);
    let before = count(&beside.opened_by_logknock(), "close");
    eventually("logknock closes", PATIENCE, || {
        let now = count(&beside.opened_by_logknock(), "close");
        let [_, ours] = has();
        assert!(
            !ours || now <= before + 1,
            "a close that was owed came while the door was open"
        );
        !ours
    });
    assert!(knocked.elapsed() + Duration::from_millis(100) >= Duration::from_secs(3));
    // The note comes after the rule has gone.
    eventually("knockd closes and notes it", PATIENCE, || {
        let [theirs, _] = beside.noted_by_both();
        has() == [false; 2] && count(&theirs, "close") >= 2
    });
    let [theirs, ours] = beside.noted_by_both();
    assert_eq!([count(&theirs, "open"), count(&theirs, "close")], [2, 2]);
    assert_eq!(count(&ours, "open"), 2);
    assert!((2..=4).contains(&count(&ours, "close")), "{ours:?}");
}

/// No difference, for a knockd.conf: its doors are not strict.
#[test]
fn a_port_of_no_door_matters_to_neither() {
    let knock = |beside: &mut Beside<'_>| tcp(beside, X, &[7000, 1234, 8000, 4444, 9000]);
    let once = opened("A", X);
    differ(A, knock, &[&once], &[&once]);
}

//! Open Sesamy's own rules, logknock's `counts` doors and `rules --for iptables-recent`, side by side on
//! the same packets: they let in the same knocks.
//!
//! In: random patterns of hits, seeded, from many addresses at once. A pattern ends with a connection to
//! what is secured, right after its last hit. Out: who got in. The differences meant are
//! played on their own, and so not among the random patterns: Open Sesamy looks when somebody connects,
//! logknock when somebody knocks, so theirs is open until a hit leaves its window, ours one window long;
//! it forgets all hits after too many of them (more than S in 4W, more than 2S remembered), logknock
//! those that are too old, and no others. A pattern of which a hit fell beside a window's
//! edge (30 ms: a tick of the kernel and the sender's sleep) is counted as close and not compared.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::socket_error;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::daemon::Daemon;
use crate::host::{Reach, begun};
use crate::kernel_only::Form;
use crate::lab::{Family, Lab, PATIENCE};
use crate::need::long;
use crate::process::{eventually, finish};
use crate::random::Random;
use crate::turn::Ring;

/// Counts, the knock port, what the script secures, and what the printed rules open.
const DOORS: [(&str, [u8; 4], u16, u16, u16); 3] = [
    ("a", [1, 2, 1, 2], 443, 22, 2022),
    ("b", [2, 1, 1, 1], 444, 23, 2023),
    ("c", [1, 1, 3, 1], 445, 24, 2024),
];

/// The window; the kernel's lists know whole seconds.
const WINDOW: f64 = 1.0;

/// A list has room for 100 addresses.
const CROWD: u8 = 90;

/// From one group to the next, and how long one is, in windows.
const STRIDE: f64 = 1.22;
const BURST: f64 = 0.15;

/// How near to a window's edge nobody can say which side a hit is on.
const EDGE: f64 = 0.03;

const SEED: u64 = 0x0_9e5a_3e11;

/// Hits and then a connection, in windows from the start of a round.
#[derive(Clone, Debug)]
struct Pattern {
    hits: Vec<f64>,
    enter: f64,
    /// Whether it is the right knock.
    right: bool,
}

/// Who let it in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Verdict {
    script: bool,
    printed: bool,
    daemon: bool,
}

/// A pattern as it was played.
#[derive(Debug)]
struct Played {
    pattern: Pattern,
    verdict: Verdict,
    /// Whether a hit was too near to a window's edge.
    close: bool,
}

#[test]
fn counts_and_open_sesamys_own_rules_let_in_the_same_knocks() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    let rounds = if long() { 40 } else { 4 };
    let mut dice = Random(SEED);
    let (mut same, mut close, mut opened, mut rights, mut late) = (0, 0, 0, 0, 0);
    for round in 0..rounds {
        let patterns = DOORS.map(|(_, counts, ..)| {
            let one = |_| pattern(counts, &mut dice);
            (0..CROWD).map(one).collect()
        });
        for played in scene.play(patterns) {
            if played.close {
                close += 1;
                continue;
            }
            let Verdict {
                script,
                printed,
                daemon,
            } = played.verdict;
            assert!(
                script == daemon && printed == daemon,
                "seed {SEED:#x}, round {round}: {played:?}"
            );
            same += 1;
            opened += u32::from(daemon);
            rights += u32::from(played.pattern.right);
            late += u32::from(played.pattern.right && !daemon);
        }
    }
    eprintln!(
        "{same} patterns agree, {opened} of them open ({rights} are the right knock, {late} of these came late); \
         {close} too close to a window's edge"
    );
    assert!(opened * 5 > same && opened * 2 < same, "{opened} of {same}");
    assert!(close * 3 < same, "{close} too close");
    // On a busy machine a packet may be delivered late, to all three.
    assert!(late * 50 <= rights, "{late} of {rights}");
}

#[test]
fn where_counts_are_meant_to_differ_from_open_sesamy_they_do() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    let mut dice = Random(SEED);
    let right = |counts: [u8; 4], from: f64, dice: &mut Random| {
        let mut hits = knock(counts, dice);
        for hit in &mut hits {
            *hit += from;
        }
        hits
    };
    let mut patterns: [Vec<Pattern>; 3] = Default::default();
    for (patterns, (_, counts, ..)) in patterns.iter_mut().zip(DOORS) {
        let sum = counts.iter().sum::<u8>();
        // It looks when somebody connects, half a window later.
        let late = Pattern::new(right(counts, 0.0, &mut dice), 0.5);
        // It forgets what was before the hit that was one too many.
        let mut flood: Vec<f64> = (0..=sum).map(|hit| f64::from(hit) * 0.02).collect();
        flood.extend(right(counts, 0.2, &mut dice));
        // It forgets the whole record, the old hits and the first of the knock.
        let old = (0..2 * sum).map(|hit| f64::from(hit) * 4.3 / f64::from(sum));
        let mut much: Vec<f64> = old.collect();
        let last = much.last().copied().unwrap_or_default();
        much.extend(right(counts, last + 4.3, &mut dice));
        *patterns = vec![late, Pattern::new(flood, 0.05), Pattern::new(much, 0.05)];
    }
    let expected = [(false, true), (true, false), (false, true)];
    for (number, played) in scene.play(patterns).into_iter().enumerate() {
        let (script, ours) = expected[number % expected.len()];
        let verdict = Verdict {
            script,
            printed: ours,
            daemon: ours,
        };
        assert_eq!(played.verdict, verdict, "{played:?}");
    }
}

/// The four counts of the first door, as its people type them and as `PortKnocker` keeps them.
#[test]
fn the_client_is_let_in_by_all_of_them_with_counts_and_with_knocksettings() {
    let Some(scene) = Scene::new() else {
        return;
    };
    let lab = &scene.lab;
    let settings = lab.write(
        "knocksettings.txt",
        "192.0.2.1 443 1212 1000 1 00:0E:35:0E:77:B0\n",
    );
    let settings = settings.to_str().expect("a plain path");
    let typed = "192.0.2.1 --counts 1212 --port 443 --window 1s";
    let (_, _, _, secured, printed) = DOORS[0];
    for (client, who, words) in [
        (&lab.near, Ipv4Addr::new(192, 0, 2, 2), typed.to_owned()),
        (
            &lab.far,
            Ipv4Addr::new(192, 0, 2, 18),
            format!("--settings {settings}"),
        ),
    ] {
        let guarded = [secured, printed].map(|port| Family::V4.server(port));
        for server in guarded {
            assert_eq!(client.connect(server), Reach::Closed, "{words}");
        }
        let mut knock = client.command(env!("CARGO_BIN_EXE_logknock"));
        finish(knock.arg("knock").args(words.split_whitespace()));
        for server in guarded {
            assert_eq!(client.connect(server), Reach::Open, "{words}, {server}");
        }
        eventually("logknock opens", PATIENCE, || {
            let events = scene.events();
            events
                .get(&who)
                .is_some_and(|events| events.iter().any(|(_, opens)| *opens))
        });
    }
}

impl Pattern {
    /// With a connection so long after the last hit.
    fn new(hits: Vec<f64>, after: f64) -> Self {
        let last = hits.iter().copied().fold(0.0, f64::max);
        Self {
            hits,
            enter: last + after,
            right: false,
        }
    }
}

/// The right knock, each group at its place.
fn knock(counts: [u8; 4], dice: &mut Random) -> Vec<f64> {
    let mut hits = Vec::new();
    for (count, place) in counts.into_iter().zip(0_u8..) {
        hits.extend((0..count).map(|_| within(f64::from(place) * STRIDE, BURST, dice)));
    }
    hits
}

/// A random moment.
fn within(from: f64, length: f64, dice: &mut Random) -> f64 {
    from + length * f64::from(u16::try_from(dice.below(1000)).unwrap_or(0)) / 1000.0
}

fn pattern(mut counts: [u8; 4], dice: &mut Random) -> Pattern {
    let place = dice.below(4);
    let sum = usize::from(counts.iter().sum::<u8>());
    let kind = dice.below(12);
    let last = counts[3];
    match kind {
        // One hit more or fewer; one in the next window; any counts.
        4 => counts[place] += 1,
        5 => counts[place] -= 1,
        6 => {
            counts[place] -= 1;
            counts[(place + 1) % 4] += 1;
        }
        7 => counts = std::array::from_fn(|_| u8::try_from(dice.below(4)).unwrap_or(0)),
        // Three groups of four.
        8 => counts[3] = 0,
        _ => {}
    }
    let mut hits = knock(counts, dice);
    match kind {
        // Hits so old that they do not matter.
        3 => {
            let old = 1 + dice.below(last.into());
            hits.extend((0..old).map(|_| within(-1.2, 0.6, dice)));
        }
        // One too many, when it is open.
        9 => {
            let end = hits.iter().copied().fold(0.0, f64::max);
            hits.push(within(end + 0.05, 0.1, dice));
        }
        // As many, whenever.
        10 => hits = (0..sum).map(|_| within(0.0, 3.8, dice)).collect(),
        // Many.
        11 => hits = (0..sum + 3).map(|_| within(0.0, 0.5, dice)).collect(),
        _ => {}
    }
    if hits.is_empty() {
        hits.push(0.0);
    }
    let start = within(1.3, 0.5, dice);
    for hit in &mut hits {
        *hit += start;
    }
    let right = kind < 4;
    Pattern {
        right,
        ..Pattern::new(hits, 0.05)
    }
}

/// What a client does next.
#[derive(Clone, Copy, Debug)]
enum Act {
    Hit {
        udp: bool,
        from: u16,
    },
    /// A connection to what the script and to what the printed rules guard.
    Enter,
    /// Whether they are there.
    Look,
}

struct Scene {
    lab: Lab,
    daemon: Daemon,
    rounds: u8,
    dice: Random,
    _listeners: Vec<std::net::TcpListener>,
}

impl Scene {
    fn new() -> Option<Self> {
        let lab = Lab::new(Ring::Alone, &["iptables", "ip6tables", "iptables-restore"])?;
        lab.near.crowd(&lab.server);
        let secured = DOORS.iter().flat_map(|door| [door.3, door.4]);
        let listeners = secured
            .filter(|port| *port != 22)
            .map(|port| lab.server.listen(port))
            .collect();
        for (name, counts, knock, secured, _) in DOORS {
            let rules = script(name, counts, knock, secured);
            let file = lab.write("script", &rules);
            let mut restore = lab.server.command("iptables-restore");
            finish(restore.arg("-n").arg(file));
        }
        Form::Recent.load(&lab, &doors(|door| format!("opens = [{}]", door.4)));
        let log = format!(
            "table inet witness {{ chain before {{ type filter hook prerouting priority -350; \
             tcp flags & (syn | ack) == syn tcp dport {{ 443, 444, 445, 60001 }} log prefix \"{prefix}\"; \
             udp dport {{ 443, 444, 445 }} log prefix \"{prefix}\"; }}; }}",
            prefix = lab.prefix
        );
        finish(lab.server.command("nft").arg(log));
        let commands = "start_command = [\"/bin/true\"]\nstop_command = [\"/bin/true\"]";
        let records = format!("[daemon]\nevent_log = \"{}\"\n", events(&lab).display());
        let doors = doors(|_| commands.to_owned()) + &records;
        let daemon = Daemon::start(&lab, "kmsg", &doors);
        Some(Self {
            lab,
            daemon,
            rounds: 0,
            dice: Random(SEED ^ 1),
            _listeners: listeners,
        })
    }

    /// Plays the patterns of each door, all at once, each from an address of its own.
    fn play(&mut self, patterns: [Vec<Pattern>; 3]) -> Vec<Played> {
        self.rounds += 1;
        let mut plays = Vec::new();
        for (patterns, (door, number)) in patterns.into_iter().zip(DOORS.iter().zip(0_u8..)) {
            for (pattern, who) in patterns.into_iter().zip(1_u8..) {
                // A round of 40 is as many as fit into the network of the crowd.
                let who = Ipv4Addr::new(198, 18, self.rounds * 4 + number, who);
                plays.push((who, *door, pattern));
            }
        }
        let mut acts = Vec::new();
        for (index, (_, _, pattern)) in plays.iter().enumerate() {
            let mut hits = pattern.hits.clone();
            hits.sort_by(f64::total_cmp);
            for (at, from) in hits.iter().zip(20_000_u16..) {
                let udp = self.dice.below(3) == 0;
                acts.push((*at, index, Act::Hit { udp, from }));
            }
            acts.push((pattern.enter, index, Act::Enter));
            // Before a SYN is sent again.
            acts.push((pattern.enter + 0.4 / WINDOW, index, Act::Look));
        }
        acts.sort_by(|one, other| one.0.total_cmp(&other.0));
        let (reached, entered, times) = self.lab.near.inside(|| perform(&plays, &acts));
        self.daemon.settle(&self.lab, &self.lab.near, Family::V4);
        let events = self.events();
        let played = plays.into_iter().enumerate();
        let played = played.map(|(index, (who, _, pattern))| Played {
            verdict: Verdict {
                script: reached[index][0] == Reach::Open,
                printed: reached[index][1] == Reach::Open,
                daemon: events
                    .get(&who)
                    .is_some_and(|events| is_open(events, entered[index])),
            },
            close: is_close(&times[index]),
            pattern,
        });
        played.collect()
    }

    /// For each address when the daemon opened and closed.
    fn events(&self) -> HashMap<Ipv4Addr, Vec<(OffsetDateTime, bool)>> {
        let fences = usize::from(self.rounds);
        let mut text = String::new();
        eventually("the events are written", PATIENCE, || {
            text = fs::read_to_string(events(&self.lab)).unwrap_or_default();
            let opens = text.lines().filter(|line| {
                line.contains("\"door\":\"fence\"") && line.contains("\"event\":\"open\"")
            });
            opens.count() >= fences
        });
        let mut events: HashMap<_, Vec<_>> = HashMap::new();
        for line in text.lines() {
            let event: Value = serde_json::from_str(line).expect("an event is an object");
            let word = |key: &str| event[key].as_str().expect("a text");
            let opens = match word("event") {
                "open" => true,
                "close" => false,
                _ => continue,
            };
            let time = OffsetDateTime::parse(word("time"), &Rfc3339).expect("a time");
            let who: Ipv4Addr = word("src").parse().expect("an address");
            events.entry(who).or_default().push((time, opens));
        }
        events
    }
}

/// Whether it was open then. Events have the time at which they were told, later than the packet on a
/// busy machine; nothing closes by itself until most of a window after that.
fn is_open(events: &[(OffsetDateTime, bool)], then: OffsetDateTime) -> bool {
    let told = then + Duration::from_millis(450);
    let mut before = events.iter().filter(|(time, _)| *time <= told);
    before.next_back().is_some_and(|(_, opens)| *opens)
}

type Play = (Ipv4Addr, (&'static str, [u8; 4], u16, u16, u16), Pattern);

/// When an act began and ended, in seconds.
type Moment = (f64, f64);

type Done = (Vec<[Reach; 2]>, Vec<OffsetDateTime>, Vec<Vec<Moment>>);

/// Does what is to be done, in time. Out: for each play who let it in, the time of day then, and when
/// its hits and its connections were.
fn perform(plays: &[Play], acts: &[(f64, usize, Act)]) -> Done {
    let mut reached = vec![[Reach::Closed; 2]; plays.len()];
    let mut times = vec![Vec::new(); plays.len()];
    let mut entered = vec![OffsetDateTime::UNIX_EPOCH; plays.len()];
    let mut entering: HashMap<usize, [OwnedFd; 2]> = HashMap::new();
    let began = Instant::now();
    for &(at, index, act) in acts {
        let due = Duration::from_secs_f64(at * WINDOW);
        thread::sleep(due.saturating_sub(began.elapsed()));
        let (who, (_, _, knock, secured, printed), _) = &plays[index];
        let before = began.elapsed().as_secs_f64();
        let server = |port: &u16| Family::V4.server(*port);
        match act {
            Act::Hit { udp, from } => {
                let source = SocketAddr::from((*who, from));
                if udp {
                    let socket = UdpSocket::bind(source).expect("the address is its own");
                    socket.send_to(&[0], server(knock)).expect("it leaves");
                } else {
                    drop(begun(Some(source), server(knock)).expect("a SYN leaves"));
                }
            }
            Act::Enter => {
                let to = [secured, printed]
                    .map(|port| begun(Some((*who, 0).into()), server(port)).expect("a SYN leaves"));
                entered[index] = OffsetDateTime::now_utc();
                entering.insert(index, to);
            }
            Act::Look => {
                let there = entering.remove(&index).expect("it has begun");
                reached[index] = there.map(|socket| is_there(&socket));
                continue;
            }
        }
        times[index].push((before, began.elapsed().as_secs_f64()));
    }
    (reached, entered, times)
}

fn is_there(socket: &OwnedFd) -> Reach {
    let mut writable = [PollFd::new(socket, PollFlags::OUT)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    if poll(&mut writable, Some(&now)).expect("a socket can be waited for") == 0 {
        return Reach::Closed;
    }
    let ended = socket_error(socket).expect("a socket tells");
    ended.expect("nobody refuses");
    Reach::Open
}

/// Whether a hit is beside a window's edge, seen from the last hit or from the connection behind it, or
/// goes over it in between.
fn is_close(times: &[Moment]) -> bool {
    let [hits @ .., (_, entered)] = times else {
        return true;
    };
    let Some((last, _)) = hits.last() else {
        return true;
    };
    hits.iter().any(|(began, ended)| {
        let (youngest, oldest) = (last - ended - EDGE, entered - began + EDGE);
        (1..=4).any(|windows| {
            let edge = f64::from(windows) * WINDOW;
            youngest <= edge && edge <= oldest
        })
    })
}

fn events(lab: &Lab) -> std::path::PathBuf {
    lab.record("events.jsonl")
}

/// The doors in the words of the configuration.
fn doors(opens: impl Fn((&str, [u8; 4], u16, u16, u16)) -> String) -> String {
    let mut text = String::new();
    for door in DOORS {
        let (name, counts, knock, ..) = door;
        let _ = writeln!(
            text,
            "[door.{name}]\ncounts = {counts:?}\nport = {knock}\nwindow = {WINDOW}\n{}",
            opens(door)
        );
    }
    text
}

/// The script's rules for a door.
fn script(name: &str, counts: [u8; 4], knock: u16, secured: u16) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/rules/open-sesamy.rules");
    let mut text = fs::read_to_string(path).expect("the rules are there");
    let mut set = |name: &str, value: String| text = text.replace(&format!("{{{name}}}"), &value);
    set("NAME", format!("sesamy-{name}"));
    set("KNOCK", knock.to_string());
    set("SECURED", secured.to_string());
    let mut sum = 0;
    for (count, windows) in counts.iter().rev().zip(1_u8..) {
        sum += count;
        set(
            &format!("W{windows}"),
            (f64::from(windows) * WINDOW).to_string(),
        );
        set(&format!("H{windows}"), sum.to_string());
        set(&format!("M{windows}"), (sum + 1).to_string());
    }
    set("TWICE", (2 * sum + 1).to_string());
    text
}

//! Doors with `counts` guarded three times over, and a crowd that plays patterns of hits at them: by the
//! original rules, by the rules that logknock prints, and by its daemon.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::socket_error;
use serde_json::Value;

use crate::daemon::Daemon;
use crate::host::{Reach, begun};
use crate::kernel_only::Form;
use crate::lab::{Family, Lab, PATIENCE};
use crate::opens::nothing_is_owed;
use crate::process::{eventually, finish};
use crate::random::Random;
use crate::sesamy_patterns::Pattern;
use crate::turn::Ring;

/// A door, under three guards.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Door {
    name: &'static str,
    pub(crate) counts: [u8; 4],
    /// What is knocked at.
    knock: u16,
    /// What Open Sesamy's own rules secure.
    pub(crate) secured: u16,
    /// What the printed rules open.
    pub(crate) printed: u16,
}

/// Counts with three groups of three windows each, for which the right knock takes four seconds.
pub(crate) const DOORS: [Door; 3] = [
    door("a", [1, 2, 1, 2], 443, 22, 2022),
    door("b", [2, 1, 1, 1], 444, 23, 2023),
    door("c", [1, 1, 3, 1], 445, 24, 2024),
];

/// Doors that open the port that is knocked at.
pub(crate) fn own_doors() -> [Door; 3] {
    DOORS.map(|door| Door {
        secured: door.knock,
        ..door
    })
}

impl Door {
    /// Whether the port that is knocked at is the one that opens. The printed rules are left out then: they would take
    /// the connection that the script guards for a hit.
    fn opens_its_own(&self) -> bool {
        self.knock == self.secured
    }
}

const fn door(name: &'static str, counts: [u8; 4], knock: u16, secured: u16, printed: u16) -> Door {
    Door {
        name,
        counts,
        knock,
        secured,
        printed,
    }
}

/// The same with counts by chance.
pub(crate) fn random_doors(dice: &mut Random) -> [Door; 3] {
    DOORS.map(|door| Door {
        counts: door
            .counts
            .map(|_| u8::try_from(dice.below(9) + 1).expect("a digit")),
        ..door
    })
}

/// The window; the kernel's lists know whole seconds.
const WINDOW: f64 = 1.0;

/// How near to a window's edge nobody can say which side a hit is on.
const EDGE: f64 = 0.03;

/// Who let it in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) script: bool,
    pub(crate) printed: bool,
    pub(crate) daemon: bool,
}

/// A pattern as it was played.
#[derive(Debug)]
pub(crate) struct Played {
    /// Which of the doors it was played at.
    pub(crate) door: usize,
    pub(crate) pattern: Pattern,
    pub(crate) verdict: Verdict,
    /// Whether a hit was too near to a window's edge.
    pub(crate) close: bool,
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

/// The lab in which they are.
pub(crate) struct Scene {
    pub(crate) lab: Lab,
    doors: [Door; 3],
    daemon: Daemon,
    rounds: u8,
    dice: Random,
    _listeners: Vec<std::net::TcpListener>,
}

impl Scene {
    /// With all rules loaded, and transports by chance from `seed`; `None` where a tool is missing.
    pub(crate) fn new(seed: u64, guarded: [Door; 3]) -> Option<Self> {
        let lab = Lab::new(Ring::Alone, &["iptables", "ip6tables", "iptables-restore"])?;
        lab.near.crowd(&lab.server);
        let secured = guarded.iter().flat_map(|door| [door.secured, door.printed]);
        let listeners = secured
            .filter(|port| *port != 22)
            .map(|port| lab.server.listen(port))
            .collect();
        for door in guarded {
            let file = lab.write("script", &script(door));
            let mut restore = lab.server.command("iptables-restore");
            finish(restore.arg("-n").arg(file));
        }
        if !guarded.iter().any(Door::opens_its_own) {
            let opens = |door: Door| format!("opens = [{}]", door.printed);
            Form::Recent.load(&lab, &doors(&guarded, opens));
        }
        let tcp = guarded.map(|door| format!("{}, {}, {}", door.knock, door.secured, door.printed));
        let open = ["ipv4", "ipv6"].map(|family| {
            let end = &family[3..];
            format!("set open{end} {{ type {family}_addr . inet_proto . inet_service; flags timeout; }};")
        });
        let log = format!(
            "table inet logknock {{ {open} }}; \
             table inet witness {{ chain before {{ type filter hook prerouting priority -350; \
             tcp flags & (syn | ack) == syn tcp dport {{ {tcp}, 60001 }} log prefix \"{prefix}\"; \
             udp dport {{ 443, 444, 445 }} log prefix \"{prefix}\"; }}; }}",
            open = open.concat(),
            tcp = tcp.join(", "),
            prefix = lab.prefix
        );
        finish(lab.server.command("nft").arg(log));
        let records = format!(
            "[firewall]\nbackend = \"nft\"\n[daemon]\nevent_log = \"{}\"\n",
            events(&lab).display()
        );
        // So that the daemon says which line a connection was.
        let enters = guarded.map(|Door { name, printed, .. }| {
            format!("[door.{ENTER}{name}]\nsequence = [{printed}]\nstrict = false\nstart_command = \"true\"\n")
        });
        let doors = doors(&guarded, |door| format!("opens = [{}]", door.secured))
            + &enters.concat()
            + &records;
        let daemon = Daemon::start(&lab, "kmsg", &doors);
        Some(Self {
            lab,
            doors: guarded,
            daemon,
            rounds: 0,
            dice: Random(seed),
            _listeners: listeners,
        })
    }

    /// Plays the patterns of each door, all at once, each from an address of its own.
    pub(crate) fn play(&mut self, patterns: [Vec<Pattern>; 3]) -> Vec<Played> {
        let row = |pattern| vec![pattern];
        self.play_rows(patterns.map(|patterns| patterns.into_iter().map(row).collect()))
    }

    /// Plays rows of patterns, those of a row from one address. Out: each that ends with a connection.
    pub(crate) fn play_rows(&mut self, rows: [Vec<Vec<Pattern>>; 3]) -> Vec<Played> {
        self.rounds += 1;
        let mut plays = Vec::new();
        let mut doors = Vec::new();
        for (rows, (door, number)) in rows.into_iter().zip(self.doors.iter().zip(0_u8..)) {
            for (row, who) in rows.into_iter().zip(1_u8..) {
                // 60 rounds are as many as fit into the network of the crowd.
                let who = Ipv4Addr::new(198, 18, self.rounds * 4 + number, who);
                for pattern in row {
                    plays.push((who, *door, pattern));
                    doors.push(usize::from(number));
                }
            }
        }
        let mut acts = Vec::new();
        for (index, (_, _, pattern)) in plays.iter().enumerate() {
            let mut hits = pattern.hits.clone();
            hits.sort_by(f64::total_cmp);
            // Ports that no other pattern of the address has.
            let first = 20_000 + 100 * u16::try_from(index % 100).expect("a small one");
            for (at, from) in hits.iter().zip(first..) {
                let udp = self.dice.below(3) == 0;
                acts.push((*at, index, Act::Hit { udp, from }));
            }
            if let Some(enter) = pattern.enter {
                acts.push((enter, index, Act::Enter));
                // Before a SYN is sent again.
                acts.push((enter + 0.4 / WINDOW, index, Act::Look));
            }
        }
        acts.sort_by(|one, other| one.0.total_cmp(&other.0));
        let (reached, times) = self.lab.near.inside(|| perform(&plays, &acts));
        self.daemon.settle(&self.lab, &self.lab.near, Family::V4);
        nothing_is_owed(&self.lab);
        // What is told of this one stands behind all the rest.
        self.daemon.settle(&self.lab, &self.lab.near, Family::V4);
        let events = self.events();
        let mut played = Vec::new();
        let mut seen: HashMap<Ipv4Addr, (Row, usize)> = HashMap::new();
        for (index, (who, guarded, pattern)) in plays.into_iter().enumerate() {
            let (row, connections) = seen.entry(who).or_default();
            let (hits, entered) = times[index].split_at(pattern.hits.len());
            for hit in hits {
                row.hit(*hit, guarded.opens_its_own());
            }
            let [entered] = entered else { continue };
            row.enter(*entered);
            let verdict = Verdict {
                script: reached[index][0] == Reach::Open,
                printed: reached[index][usize::from(!guarded.opens_its_own())] == Reach::Open,
                daemon: events
                    .get(&who)
                    .is_some_and(|events| is_open(events, *connections)),
            };
            *connections += 1;
            played.push(Played {
                door: doors[index],
                pattern,
                verdict,
                close: row.close,
            });
        }
        played
    }

    /// For each address what the daemon did, in its order.
    pub(crate) fn events(&self) -> HashMap<Ipv4Addr, Vec<Event>> {
        let fences = 2 * usize::from(self.rounds);
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
            let is = match (word("event"), word("door").starts_with(ENTER)) {
                ("open", true) => Is::Connection,
                ("open" | "refresh", false) => Is::Open,
                ("close", false) => Is::Close,
                _ => continue,
            };
            let line = event["line"].as_u64();
            let who: Ipv4Addr = word("src").parse().expect("an address");
            events.entry(who).or_default().push(Event { is, line });
        }
        events
    }
}

/// What the names of the doors begin with whose knock is a connection.
const ENTER: &str = "enter-";

/// What the daemon did, and which line of the kernel's log made it do so; none where it was the time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    is: Is,
    line: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Is {
    Open,
    Close,
    Connection,
}

impl Event {
    pub(crate) fn opens(self) -> bool {
        self.is == Is::Open
    }
}

/// Whether it was open for the connection of this number. By the lines, as a busy machine tells of them late and of
/// different doors in any order. What opens or closes by time alone does so at no moment that is near to a connection.
fn is_open(events: &[Event], number: usize) -> bool {
    let all = events.iter().enumerate();
    let connections = all.clone().filter(|(_, event)| event.is == Is::Connection);
    let mut connections: Vec<_> = connections.collect();
    connections.sort_by_key(|(_, event)| event.line);
    let (place, connection) = connections[number];
    let is_before = |(at, event): &(usize, &Event)| match event.line {
        Some(_) => event.line < connection.line,
        None => *at < place,
    };
    let own = all.filter(|(_, event)| event.is != Is::Connection);
    let last = own.rev().find(is_before);
    last.is_some_and(|(_, event)| event.opens())
}

/// Who knocks at which door, and how.
type Play = (Ipv4Addr, Door, Pattern);

/// When an act began and ended, in seconds.
type Moment = (f64, f64);

type Done = (Vec<[Reach; 2]>, Vec<Vec<Moment>>);

/// Does what is to be done, in time. Out: for each play who let it in, and when its hits and its
/// connections were.
fn perform(plays: &[Play], acts: &[(f64, usize, Act)]) -> Done {
    let mut reached = vec![[Reach::Closed; 2]; plays.len()];
    let mut times = vec![Vec::new(); plays.len()];
    let mut entering: HashMap<usize, [OwnedFd; 2]> = HashMap::new();
    let began = Instant::now();
    for &(at, index, act) in acts {
        let due = Duration::from_secs_f64(at * WINDOW);
        thread::sleep(due.saturating_sub(began.elapsed()));
        let (who, door, _) = &plays[index];
        let before = began.elapsed().as_secs_f64();
        let server = |port| Family::V4.server(port);
        match act {
            Act::Hit { udp, from } => {
                let source = SocketAddr::from((*who, from));
                if udp {
                    let socket = UdpSocket::bind(source).expect("the address is its own");
                    socket.send_to(&[0], server(door.knock)).expect("it leaves");
                } else {
                    drop(begun(Some(source), server(door.knock)).expect("a SYN leaves"));
                }
            }
            Act::Enter => {
                // The one that the daemon takes for a connection comes first: the other may be a hit.
                let [printed, secured] = [door.printed, door.secured]
                    .map(|port| begun(Some((*who, 0).into()), server(port)).expect("a SYN leaves"));
                entering.insert(index, [secured, printed]);
            }
            Act::Look => {
                let there = entering.remove(&index).expect("it has begun");
                reached[index] = there.map(|socket| is_there(&socket));
                continue;
            }
        }
        times[index].push((before, began.elapsed().as_secs_f64()));
    }
    (reached, times)
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

/// The hits of an address so far.
#[derive(Debug, Default)]
struct Row {
    hits: Vec<Moment>,
    /// Whether one is so near to a window's edge that nobody can say what followed.
    close: bool,
}

impl Row {
    /// Takes a hit, which may itself be a connection. All is forgotten where too many are within four windows.
    fn hit(&mut self, hit: Moment, connects: bool) {
        self.look(hit.0, hit.1, if connects { 1..=4 } else { 4..=4 });
        self.hits.push(hit);
    }

    /// Takes a connection: what leaves a window since the last hit may open or close.
    fn enter(&mut self, (_, entered): Moment) {
        match self.hits.last() {
            Some(&(last, _)) => self.look(last, entered, 1..=4),
            None => self.close = true,
        }
    }

    fn look(&mut self, from: f64, to: f64, mut windows: RangeInclusive<u8>) {
        self.close |= windows.any(|windows| {
            let edge = f64::from(windows) * WINDOW;
            let is_near =
                |(began, ended): &Moment| from - ended - EDGE <= edge && edge <= to - began + EDGE;
            self.hits.iter().any(is_near)
        });
    }
}

fn events(lab: &Lab) -> std::path::PathBuf {
    lab.record("events.jsonl")
}

/// The doors in the words of the configuration.
fn doors(guarded: &[Door; 3], opens: impl Fn(Door) -> String) -> String {
    let mut text = String::new();
    for &door in guarded {
        let Door {
            name,
            counts,
            knock,
            ..
        } = door;
        let _ = writeln!(
            text,
            "[door.{name}]\ncounts = {counts:?}\nport = {knock}\nwindow = {WINDOW}\n{}",
            opens(door)
        );
    }
    text
}

/// The script's rules for a door.
fn script(door: Door) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/rules/open-sesamy.rules");
    let mut text = fs::read_to_string(path).expect("the rules are there");
    let mut set = |name: &str, value: String| text = text.replace(&format!("{{{name}}}"), &value);
    set("NAME", format!("sesamy-{}", door.name));
    set("KNOCK", door.knock.to_string());
    set("SECURED", door.secured.to_string());
    let mut sum = 0;
    for (count, windows) in door.counts.iter().rev().zip(1_u8..) {
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

//! Three gateways on a real nats-server, as `logknock-fleet init` configures them: a knock at one opens on all, a code
//! opens once in all, and they agree again after a cut and after anything was killed.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use logknock::fleet::message::{Bus as Hello, ToAgent, VERSION, line};
use rustix::process::Signal;

use crate::fleet::{CLIENT, Fleet, Gateway};
use crate::host::Reach;
use crate::lab::PATIENCE;
use crate::need::long;
use crate::process::{Running, eventually, find, finish};

const KNOCKS: [u16; 3] = [7000, 8000, 9000];
const AGENT: &str = env!("CARGO_BIN_EXE_logknock-fleet");
const ADDRESS: &str = "192.0.2.1:4222";
/// How long the gateways may take to agree once nothing keeps them from it.
const AGREEMENT: Duration = Duration::from_secs(60);

/// Gateways with their agents, and the server.
pub(crate) struct Bus {
    pub(crate) fleet: Fleet,
    agents: Vec<Option<Running>>,
    server: Option<Running>,
    /// Who has taken the server over, and where it is told what to do.
    liar: Option<(Running, PathBuf)>,
}

impl Bus {
    /// All of it running and connected; `None` when the test is skipped. `doors` stand beside `ssh`.
    pub(crate) fn new(hold: &str, doors: &str) -> Option<Self> {
        let fleet = Fleet::new(&["nats-server"])?;
        Some(Self::with(fleet, hold, doors, false))
    }

    /// The same with a server that lies, see `lying_server.py`.
    pub(crate) fn lying(hold: &str, doors: &str) -> Option<Self> {
        let fleet = Fleet::new(&["nats-server", "python3"])?;
        Some(Self::with(fleet, hold, doors, true))
    }

    fn with(fleet: Fleet, hold: &str, doors: &str, is_taken_over: bool) -> Self {
        let dir = fleet.dir().join("bus");
        let mut init = Command::new(AGENT);
        init.args(["init", "--server", ADDRESS, "--door", "ssh", "--dir"]);
        init.arg(&dir).arg("--server-dir").arg(&dir);
        finish(init.args(fleet.gateways.iter().map(|gateway| gateway.name)));
        let conf = fs::read_to_string(dir.join("nats.conf")).expect("it is there");
        let store = dir.join("store").display().to_string();
        fs::write(dir.join("nats.conf"), conf.replace("/var/lib/nats", &store))
            .expect("it is ours");
        let mut bus = Self {
            fleet,
            agents: Vec::new(),
            server: None,
            liar: None,
        };
        if is_taken_over {
            bus.take_over();
        }
        bus.start_server();
        bus.make_streams();
        for number in 0..3 {
            let gateway = &mut bus.fleet.gateways[number];
            let own = dir.join(gateway.name);
            let text = fs::read_to_string(own.join("fleet.toml")).expect("it is there");
            let text = text
                .replace("/etc/logknock/fleet", &own.display().to_string())
                .replace(
                    "[fleet]\n",
                    "[fleet]\nuser = \"root\"\nclaim_timeout = \"20s\"\n",
                );
            let config = format!(
                "[log]\nsources = [\"kmsg\"]\nprefix = \"{}\"\n\n[daemon]\nevent_log = \"{}\"\n\n\
                 [firewall]\nbackend = \"nft\"\n\n\
                 [door.ssh]\nsequence = {KNOCKS:?}\nseq_timeout = \"20s\"\nopens = [22]\n\
                 cmd_timeout = \"{hold}\"\nfleet = \"open\"\n\n{doors}\n{text}",
                gateway.prefix,
                gateway.path("events").display(),
            );
            let config = config.replace("DIR", &gateway.path("").display().to_string());
            gateway.write("logknock.toml", &config);
            gateway.write("codes", &codes());
            gateway.load_rules();
            gateway.start();
            bus.agents.push(None);
            bus.start_agent(number);
        }
        bus.until_connected();
        bus
    }

    /// Makes the streams, once the server answers.
    pub(crate) fn make_streams(&self) {
        eventually("the streams are there", PATIENCE, || {
            let mut streams = self.fleet.hub.command(AGENT);
            let streams = streams.args(["streams", "--server", ADDRESS, "--dir"]);
            let done = streams.arg(self.fleet.dir().join("bus")).output();
            done.expect("it runs").status.success()
        });
    }

    /// Has somebody play the daemon of the gateway of this number, with its agent, certificate and key.
    pub(crate) fn play_daemon(&mut self, number: usize) -> UnixStream {
        let gateway = &mut self.fleet.gateways[number];
        gateway.kill();
        let (name, socket) = (gateway.name, gateway.path("played.sock"));
        let listener = UnixListener::bind(&socket).expect("a socket");
        self.start_agent_at(number, &socket);
        let (mut agent, _) = listener.accept().expect("it connects");
        let own = self.fleet.dir().join("bus").join(name);
        let hello = ToAgent::Hello(Box::new(Hello {
            version: VERSION,
            name: name.to_owned(),
            servers: vec![ADDRESS.to_owned()],
            tls: ["ca.pem", "tls.pem", "tls.key"].map(|name| own.join(name)),
            ping: 2000,
            back: 300_000,
        }));
        agent.write_all(&line(&hello)).expect("it listens");
        agent
    }

    /// Puts a server of its own behind one that has the certificate of the real one.
    fn take_over(&mut self) {
        let dir = self.fleet.dir().join("bus");
        let (store, mode) = (dir.join("store"), dir.join("mode"));
        let behind = format!(
            "listen: \"192.0.2.1:4223\"\njetstream {{ store_dir: \"{}\" }}\n",
            store.display()
        );
        fs::write(dir.join("nats.conf"), behind).expect("it is ours");
        fs::write(dir.join("liar.py"), include_str!("lying_server.py")).expect("it is ours");
        fs::write(&mode, "honest").expect("it is ours");
        let log = fs::File::create(dir.join("liar.log")).expect("a file");
        let program = dir.join("liar.py").display().to_string();
        let words = [
            "ip",
            "netns",
            "exec",
            self.fleet.hub.namespace(),
            "python3",
            &program,
        ];
        let [dir, file] = [&dir, &mode].map(|path| path.display().to_string());
        let words = words
            .into_iter()
            .chain(["192.0.2.1", "4222", "4223", &dir, &file]);
        let running = Running::start("lying_server.py", words, |command| {
            command.stderr(log);
        });
        self.liar = Some((running, mode));
    }

    /// Tells the liar what to do.
    pub(crate) fn lies(&self, how: &str) {
        let (_, mode) = self.liar.as_ref().expect("it is taken over");
        let new = mode.with_extension("new");
        fs::write(&new, how).expect("it is ours");
        fs::rename(new, mode).expect("it is ours");
    }

    /// Has the server do nothing more.
    pub(crate) fn stop_server(&self) {
        let server = self.server.as_ref().expect("it runs");
        server.signal(Signal::STOP);
    }

    /// `kill -9` of the server.
    pub(crate) fn kill_server(&mut self) {
        self.server = None;
    }

    /// Has the server, from its next start, keep its streams in another place.
    pub(crate) fn store_in(&self, place: &Path) {
        let file = self.fleet.dir().join("bus/nats.conf");
        let text = fs::read_to_string(&file).expect("it is there");
        let of_place = format!("    store_dir: \"{}\"", place.display());
        let is_it = |line: &str| line.contains("store_dir");
        let lines = text
            .lines()
            .map(|line| if is_it(line) { &*of_place } else { line });
        fs::write(&file, lines.collect::<Vec<_>>().join("\n")).expect("it is ours");
    }

    pub(crate) fn start_server(&mut self) {
        // One that was killed has its port until it is gone.
        self.server = None;
        let conf = self.fleet.dir().join("bus/nats.conf").display().to_string();
        let server = find("nats-server")
            .expect("need() found it")
            .display()
            .to_string();
        let words = [
            "ip",
            "netns",
            "exec",
            self.fleet.hub.namespace(),
            &server,
            "-c",
            &conf,
        ];
        let log = fs::File::create(self.fleet.dir().join("server.log")).expect("a file");
        self.server = Some(Running::start("nats-server", words, |command| {
            command.stderr(log);
        }));
    }

    pub(crate) fn start_agent(&mut self, number: usize) {
        let socket = self.fleet.gateways[number].path("state/fleet.sock");
        self.start_agent_at(number, &socket);
    }

    /// Starts the agent of a gateway for the daemon at this socket.
    pub(crate) fn start_agent_at(&mut self, number: usize, socket: &Path) {
        let gateway = &self.fleet.gateways[number];
        let socket = socket.display().to_string();
        let words = [
            "ip",
            "netns",
            "exec",
            gateway.host.namespace(),
            AGENT,
            "--socket",
            &socket,
        ];
        let log = fs::File::create(gateway.path("agent.log")).expect("a file");
        self.agents[number] = Some(Running::start("logknock-fleet", words, |command| {
            command.stderr(log);
        }));
    }

    pub(crate) fn until_connected(&mut self) {
        for gateway in &mut self.fleet.gateways {
            gateway.until("it is connected", |status| {
                status["fleet"]["connected"] == true
            });
        }
    }

    /// Knocks at `ssh` of the gateway of this number.
    pub(crate) fn knock(&self, at: usize, src: Ipv4Addr) {
        let address = self.fleet.gateways[at].address;
        for port in KNOCKS {
            let source = SocketAddr::from((src, 0));
            self.fleet.client.syn_from(source, (address, port).into());
        }
    }

    /// For whom `door` is open, as each gateway says; nothing while one does not answer.
    pub(crate) fn open(&self, door: &str) -> Option<[BTreeSet<String>; 3]> {
        let of = |gateway: &Gateway| {
            let status = gateway.status()?;
            let grants = status["grants"].as_array()?.iter();
            let grants = grants.filter(|grant| grant["door"] == door && grant["phase"] == "open");
            Some(
                grants
                    .filter_map(|grant| Some(grant["src"].as_str()?.to_owned()))
                    .collect(),
            )
        };
        let [one, two, three] = &self.fleet.gateways;
        Some([of(one)?, of(two)?, of(three)?])
    }

    pub(crate) fn until_all_have(&self, srcs: &BTreeSet<String>) {
        let what = format!("all gateways have these doors open: {srcs:?}");
        eventually(&what, AGREEMENT, || {
            self.open("ssh")
                .is_some_and(|open| open.iter().all(|one| one == srcs))
        });
    }

    pub(crate) fn close_all(&self) {
        for gateway in &self.fleet.gateways {
            gateway.ask(&["close", "--all"]);
        }
        eventually("all doors close", PATIENCE, || {
            self.fleet.gateways.iter().all(|gateway| {
                gateway
                    .status()
                    .is_some_and(|status| status["grants"] == serde_json::json!([]))
            })
        });
    }

    /// When each event of this kind at `ssh` happened at a gateway.
    fn times(&self, at: usize, kind: &str) -> Vec<time::OffsetDateTime> {
        let text = fs::read_to_string(self.fleet.gateways[at].path("events")).unwrap_or_default();
        let events = text
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let events = events.filter(|event| event["event"] == kind && event["door"] == "ssh");
        let parse = |text: &str| {
            let form = &time::format_description::well_known::Rfc3339;
            time::OffsetDateTime::parse(text, form).expect("a time")
        };
        events
            .filter_map(|event| Some(parse(event["time"].as_str()?)))
            .collect()
    }
}

pub(crate) fn names(srcs: &[Ipv4Addr]) -> BTreeSet<String> {
    srcs.iter().map(ToString::to_string).collect()
}

/// Lines of a list of one-time sequences.
fn codes() -> String {
    let line = |number: u16| {
        format!(
            "{},{},{}\n",
            20_000 + number,
            30_000 + 7 * number % 1000,
            40_000 + number
        )
    };
    (0..700).map(line).collect()
}

pub(crate) fn code(number: u16) -> [u16; 3] {
    [20_000 + number, 30_000 + 7 * number % 1000, 40_000 + number]
}

pub(crate) const VPN: &str = "[door.vpn]\none_time_sequences = \"DIR/codes\"\nseq_timeout = \"20s\"\nopens = [80]\n\
                   cmd_timeout = \"60s\"\nfleet = \"once\"\n";

#[test]
fn a_knock_at_one_gateway_opens_on_all_and_a_close_by_hand_lasts() {
    let Some(mut bus) = Bus::new("300s", "") else {
        return;
    };
    for gateway in &bus.fleet.gateways {
        assert_eq!(bus.fleet.reach(gateway), Reach::Closed);
    }
    let rounds = if long() { 200 } else { 20 };
    for round in 0..rounds {
        bus.knock(round % 3, CLIENT);
        bus.until_all_have(&names(&[CLIENT]));
        if round == 0 {
            for gateway in &bus.fleet.gateways {
                assert_eq!(bus.fleet.reach(gateway), Reach::Open, "{}", gateway.name);
            }
            // One gateway is closed by hand and dies; it reads the grant again and leaves the door shut.
            let [_, gw2, _] = &mut bus.fleet.gateways;
            gw2.ask(&["close", "--all"]);
            gw2.kill();
            gw2.start();
            bus.until_connected();
            let seen = |status: &serde_json::Value| {
                let known = &status["fleet"]["peers"][0]["refused"]["known"];
                known.as_u64().is_some_and(|count| count > 0)
            };
            bus.fleet.gateways[1].until("it has read the grant again", seen);
            let open = bus.open("ssh").expect("they answer");
            assert_eq!(open.map(|open| open.len()), [1, 0, 1]);
        }
        bus.close_all();
    }
    let mut lags = Vec::new();
    let opened = [0, 1, 2].map(|at| bus.times(at, "open"));
    for round in 0..rounds {
        let all = opened.each_ref().map(|times| times[round]);
        let first = *all.iter().min().expect("three");
        lags.extend(
            all.iter()
                .filter(|at| **at != first)
                .map(|at| (*at - first).as_seconds_f64() * 1000.0),
        );
    }
    lags.sort_unstable_by(f64::total_cmp);
    println!(
        "open at one → open at the others: p50 {:.1} ms, p99 {:.1} ms",
        lags[lags.len() / 2],
        lags[lags.len() * 99 / 100]
    );
}

#[test]
fn a_code_at_three_gateways_at_once_opens_exactly_one() {
    let Some(bus) = Bus::new("60s", VPN) else {
        return;
    };
    let rounds = if long() { 600 } else { 20 };
    let count = |kind: &str| {
        let of = |gateway: &Gateway| gateway.status()?["events"][kind].as_u64().or(Some(0));
        bus.fleet.gateways.iter().map(of).sum::<Option<u64>>()
    };
    for round in 0..rounds {
        thread::scope(|scope| {
            for gateway in &bus.fleet.gateways {
                scope.spawn(|| {
                    for port in code(round) {
                        bus.fleet.client.syn((gateway.address, port).into());
                    }
                });
            }
        });
        let expected = u64::from(round) + 1;
        eventually("each gateway has decided", AGREEMENT, || {
            count("open")
                .zip(count("refused"))
                .is_some_and(|(open, refused)| open + refused == 3 * expected)
        });
        assert_eq!(count("open"), Some(expected), "round {round}");
        bus.close_all();
    }
    let lost: u64 = bus
        .fleet
        .gateways
        .iter()
        .map(|gateway| {
            let status = gateway.status().expect("it answers");
            assert_eq!(status["fleet"]["claims_without_bus"], 0);
            status["fleet"]["claims_lost"].as_u64().expect("a count")
        })
        .sum();
    assert_eq!(lost, 2 * u64::from(rounds));
    let told = "a code opened nothing: another gateway has claimed it";
    let gateways = bus.fleet.gateways.iter();
    assert!(
        gateways
            .filter(|gateway| gateway.said().contains(told))
            .count()
            >= 2
    );
    let gateway = &bus.fleet.gateways[0];
    let told = gateway.ask(&["explain", &CLIENT.to_string()]);
    assert!(
        told.contains("another gateway has used it") || told.contains("the door opened"),
        "{told}"
    );
}

#[test]
fn gateways_that_were_cut_off_agree_again_and_open_their_own_doors_meanwhile() {
    let Some(mut bus) = Bus::new("300s", "") else {
        return;
    };
    let [far, near] = [Ipv4Addr::new(192, 0, 2, 101), Ipv4Addr::new(192, 0, 2, 102)];
    for src in [far, near] {
        bus.fleet.client.ip(&format!("addr add {src}/24 dev eth0"));
    }
    let cut = "table inet cut { chain out { type filter hook output priority 0; tcp dport 4222 drop; }; \
               chain in { type filter hook input priority -300; tcp sport 4222 drop; }; }";
    finish(bus.fleet.gateways[2].host.command("nft").arg(cut));
    bus.fleet.gateways[2].until("it sees that it is alone", |status| {
        status["fleet"]["connected"] == false
    });
    bus.knock(0, near);
    bus.knock(2, far);
    eventually("each side opens its own", PATIENCE, || {
        bus.open("ssh") == Some([names(&[near]), names(&[near]), names(&[far])])
    });
    let said = bus.fleet.gateways[2].ask(&["status"]);
    assert!(said.contains("works alone"), "{said}");
    finish(
        bus.fleet.gateways[2]
            .host
            .command("nft")
            .args(["delete", "table", "inet", "cut"]),
    );
    bus.until_all_have(&names(&[near, far]));
}

#[test]
fn a_gateway_leaves_the_fleet_and_joins_it_again_by_a_reload() {
    let Some(mut bus) = Bus::new("300s", "") else {
        return;
    };
    let (with, socket) = {
        let gw3 = &bus.fleet.gateways[2];
        let config = fs::read_to_string(gw3.path("logknock.toml"));
        (config.expect("it is there"), gw3.path("state/fleet.sock"))
    };
    let (without, _) = with.split_once("[fleet]").expect("it has the table");
    let without = without.replace("fleet = \"open\"\n", "");
    let gw3 = &mut bus.fleet.gateways[2];
    gw3.write("logknock.toml", &without);
    gw3.ask(&["reload"]);
    gw3.until("it is in no fleet", |status| status["fleet"].is_null());
    assert!(!socket.exists());
    bus.knock(0, CLIENT);
    eventually("the two that are left open", PATIENCE, || {
        let all = names(&[CLIENT]);
        bus.open("ssh") == Some([all.clone(), all, BTreeSet::new()])
    });
    // A wrong key changes nothing; the right one has it read what it has missed.
    let gw3 = &bus.fleet.gateways[2];
    gw3.write("logknock.toml", &with.replace("/signing.key", "/tls.key"));
    let refused = gw3.logknock(&["reload"]).output().expect("it runs");
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no Ed25519 key"));
    assert!(!socket.exists());
    gw3.write("logknock.toml", &with);
    gw3.ask(&["reload"]);
    bus.until_connected();
    bus.until_all_have(&names(&[CLIENT]));
    // Another server: the agent, which is connected, is told.
    let gw3 = &mut bus.fleet.gateways[2];
    gw3.write(
        "logknock.toml",
        &with.replace("192.0.2.1:4222", "192.0.2.1:4223"),
    );
    gw3.ask(&["reload"]);
    gw3.until("no server answers there", |status| {
        status["fleet"]["connected"] == false && status["fleet"]["agent"] == true
    });
}

#[test]
fn whatever_is_killed_under_knocking_the_gateways_agree_and_no_door_outlives_its_hold() {
    let hold = Duration::from_secs(if long() { 60 } else { 40 });
    let Some(mut bus) = Bus::new(&format!("{}s", hold.as_secs()), "") else {
        return;
    };
    let rounds: u8 = if long() { 200 } else { 10 };
    for number in 0..rounds {
        bus.fleet
            .client
            .ip(&format!("addr add 192.0.2.{}/24 dev eth0", 20 + number));
    }
    // Another order in each run would find more, and could not be repeated.
    let mut dice = 0x9e37_79b9_u32;
    let mut last = Instant::now();
    for round in 0..rounds {
        dice ^= dice << 13;
        dice ^= dice >> 17;
        dice ^= dice << 5;
        let (who, what) = ((dice >> 8) as usize % 3, (dice >> 16) % 3);
        let src = Ipv4Addr::new(192, 0, 2, 20 + round);
        thread::scope(|scope| {
            let at = round as usize % 3;
            let (client, address) = (&bus.fleet.client, bus.fleet.gateways[at].address);
            scope.spawn(move || {
                for port in KNOCKS {
                    client.syn_from((src, 0).into(), (address, port).into());
                }
            });
            let victim = match what {
                0 => bus.server.as_ref(),
                1 => bus.agents[who].as_ref(),
                _ => None,
            };
            victim.inspect(|victim| victim.signal(Signal::KILL));
        });
        match what {
            0 => bus.start_server(),
            1 => bus.start_agent(who),
            _ => {
                bus.fleet.gateways[who].kill();
                bus.fleet.gateways[who].start();
            }
        }
        last = Instant::now();
    }
    bus.until_connected();
    eventually("all gateways have the same doors open", AGREEMENT, || {
        bus.open("ssh")
            .is_some_and(|[one, two, three]| one == two && two == three)
    });
    let over = hold + Duration::from_secs(5);
    thread::sleep(over.saturating_sub(last.elapsed()));
    let open = bus.open("ssh").expect("they answer");
    assert!(
        open.iter().all(BTreeSet::is_empty),
        "past their hold: {open:?}"
    );
}

#[test]
fn the_server_lets_a_gateway_publish_and_read_only_what_is_its_own() {
    let Some(bus) = Bus::new("60s", "") else {
        return;
    };
    let dir = bus.fleet.dir().join("bus");
    // gw3 says that it is gw2, with the certificate of gw3.
    let gw3 = &bus.fleet.gateways[2];
    let config = fs::read_to_string(gw3.path("logknock.toml")).expect("it is there");
    assert!(config.contains("[fleet.peer.gw2]"));
    let forged = config
        .replace("[fleet.peer.gw2]", "[fleet.peer.gw9]")
        .replace("name = \"gw3\"", "name = \"gw2\"");
    gw3.write("logknock.toml", &forged);
    let mut bus = bus;
    bus.fleet.gateways[2].kill();
    bus.fleet.gateways[2].start();
    bus.knock(2, CLIENT);
    let log = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    eventually("the server refuses", PATIENCE, || {
        log(&dir.with_file_name("server.log")).contains("Publish Violation")
    });
    let open = bus.open("ssh").expect("they answer");
    assert_eq!(open.map(|open| open.len()), [0, 0, 1]);
}

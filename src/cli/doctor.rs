//! `logknock doctor`: checks each step of a knock from the wire to the open port.
//!
//! In: the configuration, the kernel's rules and switches, the logs, the daemon's own account. Out: a row for each
//! step with what was seen and the fix, and exit status 1 if one is broken. No port of a sequence, prefix or sequence
//! is in any row: steps have numbers.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "looks at files of the system, and waits for a knock"
)]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anstyle::AnsiColor;
use serde::Serialize;

use super::Format;
use super::exit::{Code, Failure, tell};
use super::load::SAVED;
use super::settings::Global;
use super::table::span;
use super::{ask, host, kernel, status};
use crate::calendar::{Calendar, Zone};
use crate::clock::wall_now;
use crate::config::{Config, Prefix, duration};
use crate::engine::line;
use crate::engine::sequence::{Step, Transport};
use crate::engine::time::Time;
use crate::engine::timeline::Wall;
use crate::firewall::live::Fault;
use crate::protocol::{FleetStatus, JumpStatus, PeerStatus, Phase, Reply, Request, Status, Story};
use crate::source_spec::SourceSpec;
use crate::trust::Machine;

/// How much of the end of a log is searched.
const TAIL: u64 = 1 << 20;
/// How far a stamp may be from when its line was written.
const MAX_OFF: Duration = Duration::from_secs(60);
/// Seconds by whose multiples zones differ.
const QUARTER: u64 = 15 * 60;

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Wait for a knock from this address, and name the step at which it is lost
    #[arg(long, value_name = "ADDRESS")]
    live: Option<IpAddr>,
    /// How long to wait for it
    #[arg(long = "for", value_name = "TIME", default_value = "60s", requires = "live", value_parser = duration::from_text)]
    within: Duration,
}

/// What is known of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Well,
    Broken,
    Unknown,
}

/// What there is to say of a step of the way.
#[derive(Debug, Serialize)]
struct Row {
    step: &'static str,
    state: State,
    saw: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

/// A step of the way, by its name.
#[derive(Clone, Copy)]
struct Place(&'static str);

const CONFIGURATION: Place = Place("configuration");
const FIREWALL: Place = Place("firewall");
const INTERFACE: Place = Place("interface");
const LOG: Place = Place("log");
const CLOCK: Place = Place("clock");
const SECRECY: Place = Place("secrecy");
const DAEMON: Place = Place("daemon");
const FLEET: Place = Place("fleet");
const SOURCE: Place = Place("source");
const DISK: Place = Place("disk");
const CLOSE: Place = Place("close");
const SERVICE: Place = Place("service");
const METRICS: Place = Place("metrics");
const KNOCK: Place = Place("knock");

impl Place {
    fn row(self, state: State, saw: impl Into<String>, fix: Option<String>) -> Row {
        Row {
            step: self.0,
            state,
            saw: saw.into(),
            fix,
        }
    }

    fn well(self, saw: impl Into<String>) -> Row {
        self.row(State::Well, saw, None)
    }

    fn unknown(self, saw: impl Into<String>) -> Row {
        self.row(State::Unknown, saw, None)
    }

    fn broken(self, saw: impl Into<String>, fix: impl Into<String>) -> Row {
        self.row(State::Broken, saw, Some(fix.into()))
    }
}

/// Runs `doctor`.
pub(super) fn run(args: &Args, global: &Global, format: Format) -> Result<(), Failure> {
    let mut rows = match global.load_to_run() {
        Err(errors) => {
            let what = errors.to_string();
            let first = what.lines().next().unwrap_or_default().to_owned();
            vec![CONFIGURATION.broken(first, "logknock check")]
        }
        Ok(loaded) => examine(&loaded.config, global),
    };
    if let Some(src) = args.live {
        rows.extend(live(src, args.within, global));
    }
    write(&rows, format)?;
    if rows.iter().any(|row| row.state == State::Broken) {
        return Err(Failure::new(Code::Failed, ""));
    }
    Ok(())
}

fn write(rows: &[Row], format: Format) -> Result<(), Failure> {
    let mut out = anstream::stdout();
    let width = rows.iter().map(|row| row.step.len()).max().unwrap_or(0);
    for row in rows {
        if format == Format::Json {
            writeln!(out, "{}", serde_json::to_string(row)?)?;
            continue;
        }
        let (sign, colour) = match row.state {
            State::Well => ('✓', AnsiColor::Green),
            State::Broken => ('✗', AnsiColor::Red),
            State::Unknown => ('?', AnsiColor::Yellow),
        };
        let style = colour.on_default();
        writeln!(
            out,
            "{style}{sign}{style:#} {:<width$}  {}",
            row.step, row.saw
        )?;
        if let Some(fix) = &row.fix {
            writeln!(out, "  {:<width$}  → {fix}", "")?;
        }
    }
    Ok(())
}

fn examine(config: &Config, global: &Global) -> Vec<Row> {
    let mut rows = vec![CONFIGURATION.well(global.config.display().to_string())];
    rows.extend(rules(config));
    rows.extend(saved());
    rows.extend(interfaces(config));
    let status = ask::Asked::of(global).status(ask::PATIENCE);
    rows.extend(log(config, status.is_ok()));
    rows.extend(readers());
    rows.push(daemon(config, status.as_deref()));
    rows.extend(others());
    if let Ok(status) = status {
        rows.extend(account(&status));
        rows.extend(status.fleet.iter().flat_map(fleet));
    }
    rows.extend(listening(config));
    rows.extend(metrics(config));
    rows
}

fn rules(config: &Config) -> Vec<Row> {
    match kernel::faults(config) {
        Err(why) => vec![FIREWALL.unknown(why)],
        Ok(faults) if faults.is_empty() => {
            let saw = "knocks are logged, strangers dropped, and addresses that knocked get in";
            vec![FIREWALL.well(saw)]
        }
        Ok(faults) => {
            let row = |fault: &Fault| FIREWALL.broken(fault.to_string(), fault.fix());
            faults.iter().map(row).collect()
        }
    }
}

/// Files whose rules cannot be loaded at boot, because a set that they ask is made later.
fn saved() -> impl Iterator<Item = Row> {
    let has_sets = Path::new(SAVED).join("ipsets").exists();
    let files = ["rules.v4", "rules.v6"].map(|name| Path::new(SAVED).join(name));
    files.into_iter().filter_map(move |path| {
        let text = fs::read_to_string(&path).ok()?;
        (!has_sets && text.contains("--match-set logknock")).then_some(())?;
        let path = path.display();
        let saw = format!("{path} holds a rule of ours, whose set does not exist at boot: nothing of it is loaded then");
        Some(FIREWALL.broken(saw, format!("sed -i /LOGKNOCK/d {path}")))
    })
}

fn interfaces(config: &Config) -> Vec<Row> {
    let there = host::interfaces();
    if there.is_empty() {
        return Vec::new();
    }
    let doors = config.doors.iter();
    let named: BTreeSet<_> = doors
        .filter_map(|door| door.scope.interface.as_deref())
        .collect();
    let others = there.iter().filter(|name| *name != "lo");
    let others = others.cloned().collect::<Vec<_>>().join(", ");
    let row = |name: &str| {
        if there.iter().any(|other| other == name) {
            return INTERFACE.well(format!("{name} is there"));
        }
        let saw = format!("no interface {name}; there are {others}");
        let fix = "set 'interface' of the door to one of them, or remove it";
        INTERFACE.broken(saw, fix)
    };
    named.into_iter().map(row).collect()
}

/// Whether the lines of the rules come where they are looked for.
fn log(config: &Config, is_followed: bool) -> Vec<Row> {
    let prefix = config.log.prefix.as_ref().map(Prefix::as_bytes);
    let ring = prefix.and_then(host::ring_has);
    let mut rows = Vec::new();
    for source in &config.log.sources {
        let name = source.to_string();
        match source {
            SourceSpec::File(path) => {
                rows.push(file(path, prefix, ring));
                rows.extend(clock(path));
            }
            SourceSpec::Kmsg if ring.is_none() && prefix.is_some() => {
                let fix = "run it as root, or with CAP_SYSLOG";
                rows.push(LOG.broken("/dev/kmsg cannot be read", fix));
            }
            SourceSpec::Kmsg if ring == Some(false) && is_held_back() => {
                let saw = "the rules match packets, but the kernel logs none: this is not the first network namespace";
                let fix = "on the host: sysctl -w net.netfilter.nf_log_all_netns=1; or use the source nflog";
                rows.push(LOG.broken(saw, fix));
            }
            SourceSpec::Nflog(group) if !is_followed && kernel::groups_read().contains(group) => {
                let saw = format!("another program reads {name}, and a group has only one reader");
                let fix = "stop that program, or name another group in [log] sources and load the rules again";
                rows.push(LOG.broken(saw, fix));
            }
            _ => rows.push(LOG.well(name)),
        }
    }
    rows
}

fn file(path: &Path, prefix: Option<&[u8]>, ring: Option<bool>) -> Row {
    let shown = path.display();
    let opened = match File::open(path) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let fix = "let the syslog write kernel messages to it";
            return LOG.broken(format!("{shown} does not exist"), fix);
        }
        Err(error) => {
            let uid = rustix::process::geteuid().as_raw();
            let rights = path.metadata().map_or_else(
                |_| String::new(),
                |data| format!(" (mode {:04o}, owner {})", data.mode() & 0o7777, data.uid()),
            );
            let saw = format!("uid {uid} cannot open {shown}{rights}: {error}");
            return LOG.broken(saw, "let it read the file, or run it as root");
        }
    };
    let Some(prefix) = prefix else {
        return LOG.well(shown.to_string());
    };
    if has(opened, prefix) {
        return LOG.well(format!("{shown} has lines with the prefix"));
    }
    if ring != Some(true) {
        let saw = format!("{shown} has no line with the prefix yet, and neither has the kernel");
        return LOG.unknown(saw);
    }
    let mut places = path.parent().into_iter().chain([Path::new("/var/log")]);
    let elsewhere = places.find_map(|directory| found_in(directory, prefix));
    let saw = format!("the kernel has lines with the prefix, and {shown} has none");
    let fix = format!("let the syslog write kernel messages to {shown}");
    match elsewhere {
        Some(other) => LOG.broken(
            format!("{saw}; they are in {}", other.display()),
            format!("follow that file, or {fix}"),
        ),
        None => LOG.broken(saw, fix),
    }
}

/// Whether the stamps of a log agree with this host's clock and zone: its last line was written when the file was.
fn clock(path: &Path) -> Option<Row> {
    let shown = path.display();
    let mut file = File::open(path).ok()?;
    let data = file.metadata().ok()?;
    let written = Time::from_secs(data.mtime());
    let ahead = written.since(wall_now());
    if ahead > MAX_OFF {
        let ahead = span(ahead.as_secs());
        let saw = format!("{shown} was last written {ahead} in the future: the clock was set back");
        let fix = "set the clock and keep it right: timedatectl set-ntp true; lines count again when the clock has passed their stamps";
        return Some(CLOCK.broken(saw, fix));
    }
    let tail = tail(&mut file);
    let line = tail.trim_ascii_end().rsplit(|byte| *byte == b'\n').next()?;
    let stamp = line::read(line).stamp?;
    let (Wall::Exact(at) | Wall::Assumed(at)) =
        Calendar::new(Zone::Local, written).resolve(stamp)?;
    let (off, way) = match at.since(written) {
        Duration::ZERO => (written.since(at), "behind"),
        off => (off, "ahead"),
    };
    // Zones differ by whole quarters of an hour; less than that, or much more, is another line's age.
    let quarters = (off + MAX_OFF).as_secs() / QUARTER;
    let rest = off.as_secs().abs_diff(quarters * QUARTER);
    let is_zone = (1..=14 * 4).contains(&quarters) && rest <= MAX_OFF.as_secs();
    is_zone.then(|| {
        let off = span(quarters * QUARTER);
        let saw = format!(
            "the lines of {shown} are {off} {way}: its syslog uses another time zone than this host"
        );
        let fix =
            "restart the syslog (systemctl restart rsyslog), or remove TZ from its environment";
        CLOCK.broken(saw, fix)
    })
}

/// A file of a directory that has the prefix at its end.
fn found_in(directory: &Path, prefix: &[u8]) -> Option<PathBuf> {
    let entries = directory.read_dir().ok()?.flatten();
    let mut files = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_file());
    files.find(|path| File::open(path).is_ok_and(|file| has(file, prefix)))
}

fn has(mut file: File, prefix: &[u8]) -> bool {
    memchr::memmem::find(&tail(&mut file), prefix).is_some()
}

fn tail(file: &mut File) -> Vec<u8> {
    let length = file.metadata().map_or(0, |data| data.len());
    let _ = file.seek(SeekFrom::Start(length.saturating_sub(TAIL)));
    let mut tail = Vec::new();
    let _ = file.take(TAIL).read_to_end(&mut tail);
    tail
}

/// Whether our rules have just seen packets in a network namespace whose packets the kernel may not log.
fn is_held_back() -> bool {
    let listed = |set: &str| {
        super::tool::said("nft", &["list", "set", "inet", "logknock", set])
            .is_some_and(|listed| listed.contains("elements"))
    };
    let recent = |list: &str| {
        fs::read_to_string(Path::new("/proc/net/xt_recent").join(list))
            .is_ok_and(|list| !list.is_empty())
    };
    let is_seen = ["logged4", "logged6"].into_iter().any(listed)
        || ["logknock4", "logknock6"].into_iter().any(recent);
    is_seen && kernel::is_mute()
}

fn readers() -> Option<Row> {
    let saw = "kernel.dmesg_restrict is 0: local users can read the log prefix and what is knocked";
    let is_shown = Machine::look().shows_kernel_log;
    is_shown.then(|| SECRECY.broken(saw, "sysctl -w kernel.dmesg_restrict=1"))
}

fn daemon(config: &Config, status: Result<&Status, &Failure>) -> Row {
    match status {
        Ok(status) => return DAEMON.well(format!("logknock {} runs", status.version)),
        Err(failure) if failure.code != Code::Unavailable => {
            let why = failure.message.lines().next().unwrap_or_default();
            return DAEMON.unknown(why.trim_start_matches("logknock: "));
        }
        Err(_) => {}
    }
    let ports = config.guarded();
    let ports: Vec<_> = ports.iter().map(|port| port.port.to_string()).collect();
    let closed = match ports.as_slice() {
        [] => "no door opens".to_owned(),
        [port] => format!("port {port} is closed to everybody"),
        ports => format!("ports {} are closed to everybody", ports.join(", ")),
    };
    DAEMON.broken(format!("not running: {closed}"), "systemctl start logknock")
}

/// Whether the other gateways are reached, and whose grants do not count because of a clock.
fn fleet(fleet: &FleetStatus) -> Vec<Row> {
    let mut rows = vec![match (fleet.agent, fleet.connected) {
        (false, _) => FLEET.broken(
            "logknock-fleet does not run: this gateway works alone",
            "systemctl start logknock-fleet",
        ),
        (true, false) => FLEET.broken(
            "no server can be reached: this gateway works alone",
            "journalctl -u logknock-fleet",
        ),
        (true, true) => FLEET.well("connected"),
    }];
    let is_off = |peer: &&PeerStatus| peer.refused.contains_key("clock");
    rows.extend(fleet.peers.iter().filter(is_off).map(|peer| {
        let saw = format!("grants of {} have stamps in the future", peer.name);
        FLEET.broken(saw, "chronyc tracking    (here and there)")
    }));
    rows
}

/// Other daemons than the one that is asked: those with a process of ours as their child, in this network namespace.
fn others() -> Option<Row> {
    let numbers = fs::read_dir("/proc").ok()?.flatten();
    let numbers: Vec<u32> = numbers
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    let of = |pid: u32, file: &str| {
        fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default()
    };
    let ours = fs::read_link("/proc/self/ns/net").ok()?;
    let mut daemons: Vec<u32> = numbers
        .iter()
        .filter(|pid| of(**pid, "cmdline").starts_with("logknock-"))
        .filter_map(|pid| {
            let status = of(*pid, "status");
            let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
            parent.trim().parse().ok()
        })
        .filter(|pid| of(*pid, "comm").trim_end() == "logknock")
        .filter(|pid| fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|other| other == ours))
        .collect();
    daemons.sort_unstable();
    daemons.dedup();
    let second = daemons.get(1)?;
    let saw = format!("a second logknock runs, pid {second}: both open and close doors");
    Some(DAEMON.broken(saw, format!("kill {second}")))
}

/// What the daemon says of itself.
fn account(status: &Status) -> Vec<Row> {
    let mut rows = Vec::new();
    for source in &status.sources {
        let name = &source.source;
        rows.push(match (&source.trouble, source.health.as_str()) {
            (Some(trouble), _) => SOURCE.broken(format!("{name}: {trouble}"), "logknock status"),
            (None, "following" | "starting") => SOURCE.well(format!("{name}: {}", source.health)),
            (None, health) => {
                SOURCE.broken(format!("{name}: {health}"), "systemctl restart logknock")
            }
        });
    }
    if let Some(trouble) = &status.disk_trouble {
        let saw = format!("no door opens until the ledger can be written: {trouble}");
        rows.push(DISK.broken(saw, "free disk space for the state directory"));
    }
    if let Some(why) = status
        .firewall
        .as_ref()
        .and_then(|seen| seen.unknown.as_ref())
    {
        let saw = format!("it cannot watch the rules: {why}");
        let fix = "a drop-in gives it the rights that its unit names: systemctl cat logknock";
        rows.push(DAEMON.row(State::Unknown, saw, Some(fix.to_owned())));
    }
    rows.extend(status.jump.map(jumped));
    let grants = status.grants.iter();
    rows.extend(
        grants
            .filter(|grant| grant.phase == Phase::Owed)
            .map(|grant| {
                let (door, src, failed) = (&grant.door, grant.src, grant.failed);
                let saw = format!("the close of {door} for {src} has failed {failed} times");
                CLOSE.broken(saw, "see the output of the command in the daemon's log")
            }),
    );
    rows
}

/// Where the kernel says that the clock is kept right, the jump has put it right.
fn jumped(jump: JumpStatus) -> Row {
    let saw = format!("it {}", status::jumped(jump));
    let shown = ["show", "--property", "NTPSynchronized", "--value"];
    if super::tool::said("timedatectl", &shown).is_some_and(|said| said.trim() == "yes") {
        return CLOCK.well(format!("{saw}, and is synchronized now"));
    }
    CLOCK.broken(
        format!("{saw}: knocks under way may be lost, and one-time codes do not fit while it is wrong"),
        "set it right and keep it so: timedatectl set-ntp true; if it is right now, this is forgotten after an hour",
    )
}

/// Whether somebody listens where the doors open.
fn listening(config: &Config) -> Vec<Row> {
    let ports = host::listeners();
    if ports.is_empty() {
        return Vec::new();
    }
    let sshd: Vec<_> = host::sshd_ports().iter().map(u16::to_string).collect();
    let row = |port: Step| {
        let Step { port, .. } = port;
        if sshd.is_empty() {
            return SERVICE.unknown(format!("no process of this host listens on {port}"));
        }
        let sshd = sshd.join(", ");
        let saw = format!("nothing listens on {port}; sshd listens on {sshd}");
        let fix = "set 'opens' of the door to that port, and load the rules: logknock rules --load";
        SERVICE.broken(saw, fix)
    };
    let tcp = config.guarded().into_iter();
    let tcp = tcp.filter(|port| port.transport == Transport::Tcp);
    tcp.filter(|port| !ports.contains(&port.port))
        .map(row)
        .collect()
}

fn metrics(config: &Config) -> Option<Row> {
    let path = config.daemon.metrics_file.as_ref()?;
    let shown = path.display();
    Some(match path.metadata() {
        Ok(data) if data.mode() & 0o004 == 0 => {
            let mode = data.mode() & 0o7777;
            let saw = format!("{shown} cannot be read by others (mode {mode:04o})");
            METRICS.broken(saw, format!("chmod 0644 {shown}"))
        }
        Ok(_) => METRICS.well(shown.to_string()),
        Err(error) => METRICS.unknown(format!("{shown}: {error}")),
    })
}

/// Waits for one knock, and says how far it got.
fn live(src: IpAddr, within: Duration, global: &Global) -> Vec<Row> {
    let end = Instant::now() + within;
    let known = || match ask::ask(global, &Request::Explain(src)) {
        Ok(Reply::Story(story)) => Some(story),
        _ => None,
    };
    let Some(before) = known() else {
        return vec![KNOCK.broken("no daemon answers", "systemctl start logknock")];
    };
    let seen = |story: &Story| -> u64 { story.happenings.iter().map(|one| one.times).sum() };
    let old = seen(&before);
    let time = span(within.as_secs());
    tell(&format!("waiting for a knock from {src}, at most {time}"));
    let mut story = before;
    while Instant::now() < end && story.grants.is_empty() {
        std::thread::sleep(Duration::from_millis(200));
        story = known().unwrap_or(story);
    }
    if let Some(grant) = story.grants.first() {
        return vec![KNOCK.well(format!("{} is open for {src}", grant.door))];
    }
    let last = story.happenings.last().filter(|_| seen(&story) != old);
    vec![match last {
        None => KNOCK.broken(
            format!("no packet from {src} has reached the daemon in {within:?}"),
            "does it reach this host? tcpdump -ni any host ADDRESS",
        ),
        Some(last) => {
            let door = last.door.as_deref().unwrap_or("a door");
            let stage = match (last.stage, last.of) {
                (Some(stage), Some(of)) => format!("step {stage} of {of}"),
                _ => last.event.clone(),
            };
            let reason = last.reason.as_ref();
            let reason = reason.map_or(String::new(), |reason| format!(" ({reason})"));
            let saw = format!("{door}: the knock ended at {stage}{reason}");
            KNOCK.broken(saw, format!("logknock explain {src}"))
        }
    }]
}

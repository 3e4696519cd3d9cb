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
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anstyle::AnsiColor;
use rustix::fs::OFlags;
use serde::Serialize;

use super::Format;
use super::exit::{Code, Failure, tell};
use super::settings::Global;
use super::table::span;
use super::{ask, kernel};
use crate::calendar::{Calendar, Zone};
use crate::clock::wall_now;
use crate::config::{Config, Firewall, Prefix, duration};
use crate::engine::line;
use crate::engine::sequence::Transport;
use crate::engine::time::Time;
use crate::engine::timeline::Wall;
use crate::protocol::{FleetStatus, PeerStatus, Phase, Reply, Request, Status};
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

/// A step of the way.
#[derive(Debug, Serialize)]
struct Row {
    step: &'static str,
    state: State,
    saw: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

impl Row {
    fn well(step: &'static str, saw: impl Into<String>) -> Self {
        let (state, saw) = (State::Well, saw.into());
        Self {
            step,
            state,
            saw,
            fix: None,
        }
    }

    fn unknown(step: &'static str, saw: impl Into<String>) -> Self {
        let state = State::Unknown;
        Self {
            state,
            ..Self::well(step, saw)
        }
    }

    fn broken(step: &'static str, saw: impl Into<String>, fix: impl Into<String>) -> Self {
        let (state, fix) = (State::Broken, Some(fix.into()));
        Self {
            state,
            fix,
            ..Self::well(step, saw)
        }
    }
}

/// Runs `doctor`.
pub(super) fn run(args: &Args, global: &Global, format: Format) -> Result<(), Failure> {
    let mut rows = match global.load_with(true) {
        Err(errors) => {
            let what = errors.to_string();
            let first = what.lines().next().unwrap_or_default().to_owned();
            vec![Row::broken("configuration", first, "logknock check")]
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
    let mut rows = vec![Row::well(
        "configuration",
        global.config.display().to_string(),
    )];
    rows.extend(rules(config));
    rows.extend(interfaces(config));
    let status = match ask::ask(global, &Request::Status) {
        Ok(Reply::Status(status)) => Some(status),
        _ => None,
    };
    rows.extend(log(config, status.is_some()));
    rows.extend(readers());
    rows.push(daemon(config, status.as_deref()));
    rows.extend(others());
    if let Some(status) = status {
        rows.extend(account(&status));
        rows.extend(status.fleet.iter().flat_map(fleet));
    }
    rows.extend(listening(config));
    rows.extend(metrics(config));
    rows
}

fn guarded(config: &Config) -> Vec<crate::engine::sequence::Step> {
    config
        .firewall
        .as_ref()
        .map(Firewall::guarded)
        .unwrap_or_default()
}

fn rules(config: &Config) -> Vec<Row> {
    match kernel::faults(config) {
        Err(why) => vec![Row::unknown("firewall", why)],
        Ok(faults) if faults.is_empty() => vec![Row::well(
            "firewall",
            "knocks are logged, strangers dropped, and addresses that knocked get in",
        )],
        Ok(faults) => faults
            .iter()
            .map(|fault| Row::broken("firewall", fault.to_string(), fault.fix()))
            .collect(),
    }
}

fn interfaces(config: &Config) -> Vec<Row> {
    let there: Vec<_> = fs::read_dir("/sys/class/net")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    if there.is_empty() {
        return Vec::new();
    }
    let named: BTreeSet<_> = config
        .doors
        .iter()
        .filter_map(|door| door.scope.interface.as_deref())
        .map(str::to_owned)
        .collect();
    let others = || {
        let others = there.iter().filter(|name| *name != "lo");
        others.cloned().collect::<Vec<_>>().join(", ")
    };
    named
        .into_iter()
        .map(|name| {
            if there.contains(&name) {
                return Row::well("interface", format!("{name} is there"));
            }
            Row::broken(
                "interface",
                format!("no interface {name}; there are {}", others()),
                "set 'interface' of the door to one of them, or remove it",
            )
        })
        .collect()
}

/// Whether the lines of the rules come where they are looked for.
fn log(config: &Config, is_followed: bool) -> Vec<Row> {
    let prefix = config.log.prefix.as_ref().map(Prefix::as_bytes);
    let ring = prefix.and_then(ring_has);
    let mut rows = Vec::new();
    for source in &config.log.sources {
        let name = source.to_string();
        match source {
            SourceSpec::File(path) => {
                rows.push(file(path, prefix, ring));
                rows.extend(clock(path));
            }
            SourceSpec::Kmsg if ring.is_none() && prefix.is_some() => rows.push(Row::broken(
                "log",
                "/dev/kmsg cannot be read",
                "run it as root, or with CAP_SYSLOG",
            )),
            SourceSpec::Kmsg if ring == Some(false) && is_held_back() => rows.push(Row::broken(
                "log",
                "the rules match packets, but the kernel logs none: this is not the first network namespace",
                "on the host: sysctl -w net.netfilter.nf_log_all_netns=1; or use the source nflog",
            )),
            SourceSpec::Nflog(group) if !is_followed && kernel::groups_read().contains(group) => {
                rows.push(Row::broken(
                    "log",
                    format!("another program reads {name}, and a group has only one reader"),
                    "stop that program, or name another group in [log] sources and load the rules again",
                ));
            }
            _ => rows.push(Row::well("log", name)),
        }
    }
    rows
}

fn file(path: &Path, prefix: Option<&[u8]>, ring: Option<bool>) -> Row {
    let shown = path.display();
    let opened = match File::open(path) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Row::broken(
                "log",
                format!("{shown} does not exist"),
                "let the syslog write kernel messages to it",
            );
        }
        Err(error) => {
            let uid = rustix::process::geteuid().as_raw();
            let rights = path.metadata().map_or_else(
                |_| String::new(),
                |data| format!(" (mode {:04o}, owner {})", data.mode() & 0o7777, data.uid()),
            );
            return Row::broken(
                "log",
                format!("uid {uid} cannot open {shown}{rights}: {error}"),
                "let it read the file, or run it as root",
            );
        }
    };
    let Some(prefix) = prefix else {
        return Row::well("log", shown.to_string());
    };
    if has(opened, prefix) {
        return Row::well("log", format!("{shown} has lines with the prefix"));
    }
    if ring != Some(true) {
        return Row::unknown(
            "log",
            format!("{shown} has no line with the prefix yet, and neither has the kernel"),
        );
    }
    let elsewhere = path
        .parent()
        .and_then(|directory| found_in(directory, prefix));
    let elsewhere = elsewhere.or_else(|| found_in(Path::new("/var/log"), prefix));
    let (saw, fix) = match elsewhere {
        Some(other) => (
            format!("; they are in {}", other.display()),
            format!("follow that file, or let the syslog write kernel messages to {shown}"),
        ),
        None => (
            String::new(),
            format!("let the syslog write kernel messages to {shown}"),
        ),
    };
    Row::broken(
        "log",
        format!("the kernel has lines with the prefix, and {shown} has none{saw}"),
        fix,
    )
}

/// Whether the stamps of a log agree with this host's clock and zone: its last line was written when the file was.
fn clock(path: &Path) -> Option<Row> {
    let shown = path.display();
    let mut file = File::open(path).ok()?;
    let data = file.metadata().ok()?;
    let written = Time::from_secs(data.mtime());
    let ahead = written.since(wall_now());
    if ahead > MAX_OFF {
        return Some(Row::broken(
            "clock",
            format!(
                "{shown} was last written {} in the future: the clock was set back",
                span(ahead.as_secs())
            ),
            "set the clock and keep it right: timedatectl set-ntp true; lines count again when the clock has passed their stamps",
        ));
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
        Row::broken(
            "clock",
            format!("the lines of {shown} are {} {way}: its syslog uses another time zone than this host", span(quarters * QUARTER)),
            "restart the syslog (systemctl restart rsyslog), or remove TZ from its environment",
        )
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

/// Whether the kernel's ring has a line that begins with the prefix; `None` when it cannot be read.
pub(super) fn ring_has(prefix: &[u8]) -> Option<bool> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let mut ring = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open("/dev/kmsg")
        .ok()?;
    let mut record = [0; 8192];
    loop {
        match ring.read(&mut record) {
            Ok(0) => return Some(false),
            Ok(length) => {
                let record = record.get(..length).unwrap_or_default();
                let text = memchr::memchr(b';', record).and_then(|at| record.get(at + 1..));
                if text.is_some_and(|text| text.starts_with(prefix)) {
                    return Some(true);
                }
            }
            // Others were pushed out while we read.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err(_) => return Some(false),
        }
    }
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
    Machine::look().shows_kernel_log.then(|| {
        Row::broken(
            "secrecy",
            "kernel.dmesg_restrict is 0: local users can read the log prefix and what is knocked",
            "sysctl -w kernel.dmesg_restrict=1",
        )
    })
}

fn daemon(config: &Config, status: Option<&Status>) -> Row {
    if let Some(status) = status {
        return Row::well("daemon", format!("logknock {} runs", status.version));
    }
    let ports: Vec<_> = guarded(config)
        .iter()
        .map(|port| port.port.to_string())
        .collect();
    let closed = match ports.as_slice() {
        [] => "no door opens".to_owned(),
        [port] => format!("port {port} is closed to everybody"),
        ports => format!("ports {} are closed to everybody", ports.join(", ")),
    };
    Row::broken(
        "daemon",
        format!("not running: {closed}"),
        "systemctl start logknock",
    )
}

/// Whether the other gateways are reached, and whose grants do not count because of a clock.
fn fleet(fleet: &FleetStatus) -> Vec<Row> {
    let mut rows = vec![match (fleet.agent, fleet.connected) {
        (false, _) => Row::broken(
            "fleet",
            "logknock-fleet does not run: this gateway works alone",
            "systemctl start logknock-fleet",
        ),
        (true, false) => Row::broken(
            "fleet",
            "no server can be reached: this gateway works alone",
            "journalctl -u logknock-fleet",
        ),
        (true, true) => Row::well("fleet", "connected"),
    }];
    let is_off = |peer: &&PeerStatus| peer.refused.contains_key("clock");
    rows.extend(fleet.peers.iter().filter(is_off).map(|peer| {
        let saw = format!("grants of {} have stamps in the future", peer.name);
        Row::broken("fleet", saw, "chronyc tracking    (here and there)")
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
    Some(Row::broken(
        "daemon",
        format!("a second logknock runs, pid {second}: both open and close doors"),
        format!("kill {second}"),
    ))
}

/// What the daemon says of itself.
fn account(status: &Status) -> Vec<Row> {
    let mut rows = Vec::new();
    for source in &status.sources {
        let name = &source.source;
        rows.push(match (&source.trouble, source.health.as_str()) {
            (Some(trouble), _) => {
                Row::broken("source", format!("{name}: {trouble}"), "logknock status")
            }
            (None, "following" | "starting") => {
                Row::well("source", format!("{name}: {}", source.health))
            }
            (None, health) => Row::broken(
                "source",
                format!("{name}: {health}"),
                "systemctl restart logknock",
            ),
        });
    }
    if let Some(trouble) = &status.disk_trouble {
        rows.push(Row::broken(
            "disk",
            format!("no door opens until the ledger can be written: {trouble}"),
            "free disk space for the state directory",
        ));
    }
    let failed = status
        .grants
        .iter()
        .filter(|grant| grant.phase == Phase::Owed);
    for grant in failed {
        rows.push(Row::broken(
            "close",
            format!(
                "the close of {} for {} has failed {} times",
                grant.door, grant.src, grant.failed
            ),
            "see the output of the command in the daemon's log",
        ));
    }
    rows
}

/// Whether somebody listens where the doors open.
fn listening(config: &Config) -> Vec<Row> {
    let ports = listeners();
    if ports.is_empty() {
        return Vec::new();
    }
    let tcp = guarded(config);
    let missing = tcp
        .iter()
        .filter(|port| port.transport == Transport::Tcp)
        .filter(|port| !ports.contains(&port.port));
    missing
        .map(|port| {
            let sshd = sshd_ports();
            let sshd: Vec<_> = sshd.iter().map(u16::to_string).collect();
            let port = port.port;
            if sshd.is_empty() {
                return Row::unknown(
                    "service",
                    format!("no process of this host listens on {port}"),
                );
            }
            Row::broken(
                "service",
                format!(
                    "nothing listens on {port}; sshd listens on {}",
                    sshd.join(", ")
                ),
                "set 'opens' of the door to that port, and load the rules: logknock rules --load",
            )
        })
        .collect()
}

/// TCP ports where somebody listens.
pub(super) fn listeners() -> BTreeSet<u16> {
    listening_sockets()
        .into_iter()
        .map(|(port, _)| port)
        .collect()
}

/// Ports and inodes of listening sockets.
fn listening_sockets() -> Vec<(u16, String)> {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let all = read("/proc/net/tcp") + &read("/proc/net/tcp6");
    let one = |line: &str| {
        let mut words = line.split_whitespace();
        let local = words.nth(1)?;
        let state = words.nth(1)?;
        let inode = words.nth(5)?;
        let (_, port) = local.rsplit_once(':')?;
        (state == "0A").then_some(())?;
        Some((u16::from_str_radix(port, 16).ok()?, inode.to_owned()))
    };
    all.lines().filter_map(one).collect()
}

/// Where sshd listens: by its sockets, or systemd's for it.
pub(super) fn sshd_ports() -> BTreeSet<u16> {
    let sockets = listening_sockets();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut ports = BTreeSet::new();
    for process in processes {
        let path = process.path();
        let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
        if name.trim_end() != "sshd" {
            continue;
        }
        for descriptor in fs::read_dir(path.join("fd"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let target = fs::read_link(descriptor.path()).unwrap_or_default();
            let target = target.to_string_lossy();
            let inode = target
                .strip_prefix("socket:[")
                .and_then(|rest| rest.strip_suffix(']'));
            let of = sockets
                .iter()
                .filter(|(_, other)| Some(other.as_str()) == inode);
            ports.extend(of.map(|(port, _)| *port));
        }
    }
    ports
}

fn metrics(config: &Config) -> Option<Row> {
    let path = config.daemon.metrics_file.as_ref()?;
    let shown = path.display();
    Some(match path.metadata() {
        Ok(data) if data.mode() & 0o004 == 0 => Row::broken(
            "metrics",
            format!(
                "{shown} cannot be read by others (mode {:04o})",
                data.mode() & 0o7777
            ),
            format!("chmod 0644 {shown}"),
        ),
        Ok(_) => Row::well("metrics", shown.to_string()),
        Err(error) => Row::unknown("metrics", format!("{shown}: {error}")),
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
        return vec![Row::broken(
            "knock",
            "no daemon answers",
            "systemctl start logknock",
        )];
    };
    let old: u64 = before
        .happenings
        .iter()
        .map(|happening| happening.times)
        .sum();
    tell(&format!(
        "waiting for a knock from {src}, at most {}",
        span(within.as_secs())
    ));
    let mut story = before;
    while Instant::now() < end && story.grants.is_empty() {
        std::thread::sleep(Duration::from_millis(200));
        story = known().unwrap_or(story);
    }
    if let Some(grant) = story.grants.first() {
        return vec![Row::well(
            "knock",
            format!("{} is open for {src}", grant.door),
        )];
    }
    let seen: u64 = story
        .happenings
        .iter()
        .map(|happening| happening.times)
        .sum();
    let last = story.happenings.last().filter(|_| seen != old);
    vec![match last {
        None => Row::broken(
            "knock",
            format!("no packet from {src} has reached the daemon in {within:?}"),
            "does it reach this host? tcpdump -ni any host ADDRESS",
        ),
        Some(last) => {
            let door = last.door.as_deref().unwrap_or("a door");
            let stage = match (last.stage, last.of) {
                (Some(stage), Some(of)) => format!("step {stage} of {of}"),
                _ => last.event.clone(),
            };
            let reason = last
                .reason
                .as_deref()
                .map_or(String::new(), |reason| format!(" ({reason})"));
            Row::broken(
                "knock",
                format!("{door}: the knock ended at {stage}{reason}"),
                format!("logknock explain {src}"),
            )
        }
    }]
}

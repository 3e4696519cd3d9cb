//! What `init` and `doctor` find out about this host.
//!
//! In: `/proc`, the firewall's own tools, our environment. Out: which firewall is in use, where sshd listens, whether
//! we sit in an ssh session, and which log proves that the kernel wrote it. Nothing is changed.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "looks at this host"
)]

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

use super::{kernel, tool};
use crate::firewall::Backend;
use crate::firewall::rules::Tool;
use crate::source_spec::SourceSpec;

/// Lower groups are what other programs take by default.
const FIRST_GROUP: u16 = 5;

/// What was found.
#[derive(Clone, Debug)]
pub(super) struct Host {
    /// What loads rules for the firewall that is in use; `Nft` where none is.
    pub(super) firewall: Tool,
    pub(super) has_ipset: bool,
    /// Where sshd listens, or 22 where none is found; and where anybody does.
    pub(super) ssh: BTreeSet<u16>,
    pub(super) has_sshd: bool,
    pub(super) taken: BTreeSet<u16>,
    pub(super) session: Option<Session>,
    pub(super) source: SourceSpec,
    /// All but its own.
    pub(super) interfaces: Vec<String>,
    pub(super) is_systemd: bool,
}

/// The ssh session that we sit in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Session {
    /// The client of this session and the port that it connected to, if known.
    pub(super) way: Option<(IpAddr, u16)>,
}

impl Host {
    pub(super) fn look() -> Self {
        let session = session();
        let mut interfaces = interfaces();
        interfaces.retain(|name| name != "lo");
        let mut ssh = sshd_ports();
        if ssh.is_empty() {
            ssh = said_by_sshd(&tool::said("sshd", &["-T"]).unwrap_or_default());
        }
        ssh.extend(
            session
                .and_then(|session| session.way)
                .map(|(_, port)| port),
        );
        let has_sshd = !ssh.is_empty();
        if !has_sshd {
            ssh.insert(22);
        }
        Self {
            firewall: firewall(),
            has_ipset: tool::has("ipset"),
            ssh,
            has_sshd,
            taken: listeners(),
            session,
            source: source(),
            interfaces,
            is_systemd: Path::new("/run/systemd/system").is_dir(),
        }
    }

    /// What opens the doors: nft, whose entries end by themselves, where its accept is the last word.
    pub(super) fn backend(&self) -> Backend {
        match (self.firewall, self.has_ipset) {
            (Tool::Iptables, true) => Backend::Ipset,
            (Tool::Iptables, false) => Backend::Iptables,
            (Tool::Ufw, true) if !tool::has("nft") => Backend::Ipset,
            (Tool::Ufw, false) if !tool::has("nft") => Backend::Iptables,
            _ => Backend::Nft,
        }
    }
}

fn firewall() -> Tool {
    if tool::has("fw4") {
        return Tool::Openwrt;
    }
    if tool::has("firewall-cmd") && tool::said("firewall-cmd", &["--state"]).is_some() {
        return Tool::Firewalld;
    }
    let ufw = fs::read_to_string("/etc/ufw/ufw.conf").unwrap_or_default();
    if tool::has("ufw") && ufw.lines().any(|line| line.trim() == "ENABLED=yes") {
        return Tool::Ufw;
    }
    let saved = tool::said("iptables-save", &["-t", "filter"]).unwrap_or_default();
    if !tool::has("nft") && tool::has("iptables") || decides(&saved) {
        return Tool::Iptables;
    }
    Tool::Nft
}

/// Whether rules of iptables, printed by `iptables-save`, say what comes in. An `accept` of another table would not bind them.
fn decides(saved: &str) -> bool {
    saved.lines().any(|line| {
        let rule = line.strip_prefix("-A INPUT ");
        line.starts_with(":INPUT DROP") || rule.is_some_and(|rule| !rule.contains("LOGKNOCK"))
    })
}

fn said_by_sshd(settings: &str) -> BTreeSet<u16> {
    let ports = settings
        .lines()
        .filter_map(|line| line.strip_prefix("port "));
    ports.filter_map(|port| port.trim().parse().ok()).collect()
}

/// From the variables that sshd leaves in the environment, or, as sudo removes them, from our ancestors.
fn session() -> Option<Session> {
    if let Some(words) = std::env::var_os("SSH_CONNECTION") {
        return Some(Session {
            way: way(&words.to_string_lossy()),
        });
    }
    let mut pid = std::process::id();
    while pid > 1 {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let word = |name: &str| {
            let mut lines = status.lines();
            lines.find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
        };
        if word("Name:").is_some_and(|name| name.starts_with("sshd")) {
            return Some(Session { way: None });
        }
        pid = word("PPid:")?.parse().ok()?;
    }
    None
}

/// The client and the server's port, from `CLIENT PORT SERVER PORT`.
fn way(words: &str) -> Option<(IpAddr, u16)> {
    let mut words = words.split(' ');
    let client: IpAddr = words.next()?.parse().ok()?;
    Some((client.to_canonical(), words.nth(2)?.parse().ok()?))
}

/// The kernel's log, unless that cannot be read or has no packets of this network namespace.
fn source() -> SourceSpec {
    if !kernel::is_mute() && ring_has(b"").is_some() {
        return SourceSpec::Kmsg;
    }
    let taken = kernel::groups_read();
    let free = (FIRST_GROUP..=u16::MAX).find(|group| !taken.contains(group));
    SourceSpec::Nflog(free.unwrap_or(FIRST_GROUP))
}

/// In order.
pub(super) fn interfaces() -> Vec<String> {
    let entries = fs::read_dir("/sys/class/net").into_iter().flatten();
    let entries = entries.flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    names
}

/// TCP ports where somebody listens.
pub(super) fn listeners() -> BTreeSet<u16> {
    let sockets = listening_sockets();
    sockets
        .lines()
        .filter_map(listener)
        .map(|(_, port, _)| port)
        .collect()
}

fn listening_sockets() -> String {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    read("/proc/net/tcp") + &read("/proc/net/tcp6")
}

/// Address, port and inode of a line of these, if its socket listens.
fn listener(line: &str) -> Option<(&str, u16, &str)> {
    let mut words = line.split_whitespace();
    let local = words.nth(1)?;
    let state = words.nth(1)?;
    let inode = words.nth(5)?;
    let (address, port) = local.rsplit_once(':')?;
    (state == "0A").then_some(())?;
    Some((address, u16::from_str_radix(port, 16).ok()?, inode))
}

/// Whether the kernel prints `address` for `127.0.0.1` or `::1`, as four bytes of this machine each.
fn is_loopback(address: &str) -> bool {
    let v4 = format!("{:08X}", u32::from_ne_bytes([127, 0, 0, 1]));
    let v6 = format!("{:024}{:08X}", 0, u32::from_ne_bytes([0, 0, 0, 1]));
    address == v4 || address == v6
}

/// Where sshd listens: by its sockets, or systemd's for it. What its sessions forward (X11, ports) is on the loopback
/// interface.
pub(super) fn sshd_ports() -> BTreeSet<u16> {
    let sockets = listening_sockets();
    let sockets = sockets.lines().filter_map(listener);
    let sockets: Vec<_> = sockets
        .filter(|(address, ..)| !is_loopback(address))
        .collect();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut ports = BTreeSet::new();
    for process in processes {
        let path = process.path();
        let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
        if name.trim_end() != "sshd" {
            continue;
        }
        let descriptors = fs::read_dir(path.join("fd")).into_iter().flatten();
        for descriptor in descriptors.flatten() {
            let target = fs::read_link(descriptor.path()).unwrap_or_default();
            let target = target.to_string_lossy();
            let inode = target
                .strip_prefix("socket:[")
                .and_then(|rest| rest.strip_suffix(']'));
            let of = sockets.iter().filter(|(_, _, other)| Some(*other) == inode);
            ports.extend(of.map(|(_, port, _)| *port));
        }
    }
    ports
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

#[cfg(test)]
#[path = "host_test.rs"]
mod tests;

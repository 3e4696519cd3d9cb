//! What `init` finds out about this host.
//!
//! In: `/proc`, the firewall's own tools, our environment. Out: which firewall is in use, where sshd listens, whether
//! we sit in an ssh session, and which log proves that the kernel wrote it. Nothing is changed.
#![expect(clippy::disallowed_methods, reason = "looks at this host")]

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use super::{doctor, kernel, tool};
use crate::firewall::Backend;
use crate::source_spec::SourceSpec;

/// Lower groups are what other programs take by default.
const FIRST_GROUP: u16 = 5;

/// What was found.
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) firewall: Firewall,
    pub(super) has_ipset: bool,
    /// Where sshd listens, and where anybody does.
    pub(super) ssh: BTreeSet<u16>,
    pub(super) taken: BTreeSet<u16>,
    pub(super) session: Option<Session>,
    pub(super) source: SourceSpec,
    pub(super) interfaces: Vec<String>,
    pub(super) is_systemd: bool,
}

/// A firewall that is in use; `Nft` where none is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Firewall {
    Nft,
    Iptables,
    Ufw,
    Firewalld,
    Openwrt,
}

/// The ssh session that we sit in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Session {
    /// The client of this session and the port that it connected to, if known.
    pub(super) way: Option<(IpAddr, u16)>,
}

impl Firewall {
    /// What `rules --for` calls it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Nft => "nft",
            Self::Iptables => "iptables",
            Self::Ufw => "ufw",
            Self::Firewalld => "firewalld",
            Self::Openwrt => "openwrt",
        }
    }
}

impl Host {
    pub(super) fn look() -> Self {
        let session = session();
        let mut ssh = doctor::sshd_ports();
        if ssh.is_empty() {
            ssh = said_by_sshd(&tool::said("sshd", &["-T"]).unwrap_or_default());
        }
        ssh.extend(
            session
                .and_then(|session| session.way)
                .map(|(_, port)| port),
        );
        if ssh.is_empty() {
            ssh.insert(22);
        }
        Self {
            firewall: firewall(),
            has_ipset: tool::has("ipset"),
            ssh,
            taken: doctor::listeners(),
            session,
            source: source(),
            interfaces: interfaces(),
            is_systemd: Path::new("/run/systemd/system").is_dir(),
        }
    }

    /// What opens the doors: nft, whose entries end by themselves, where its accept is the last word.
    pub(super) fn backend(&self) -> Backend {
        match (self.firewall, self.has_ipset) {
            (Firewall::Iptables, true) => Backend::Ipset,
            (Firewall::Iptables, false) => Backend::Iptables,
            (Firewall::Ufw, true) if !tool::has("nft") => Backend::Ipset,
            (Firewall::Ufw, false) if !tool::has("nft") => Backend::Iptables,
            _ => Backend::Nft,
        }
    }
}

fn firewall() -> Firewall {
    if tool::has("fw4") {
        return Firewall::Openwrt;
    }
    if tool::has("firewall-cmd") && tool::said("firewall-cmd", &["--state"]).is_some() {
        return Firewall::Firewalld;
    }
    let ufw = fs::read_to_string("/etc/ufw/ufw.conf").unwrap_or_default();
    if tool::has("ufw") && ufw.lines().any(|line| line.trim() == "ENABLED=yes") {
        return Firewall::Ufw;
    }
    let saved = tool::said("iptables-save", &["-t", "filter"]).unwrap_or_default();
    if !tool::has("nft") && tool::has("iptables") || decides(&saved) {
        return Firewall::Iptables;
    }
    Firewall::Nft
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

/// By what sshd has left in the environment, else (sudo takes it away) by whose descendant we are.
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

/// Of `CLIENT PORT SERVER PORT` who has come, and where.
fn way(words: &str) -> Option<(IpAddr, u16)> {
    let mut words = words.split(' ');
    let client: IpAddr = words.next()?.parse().ok()?;
    Some((client.to_canonical(), words.nth(2)?.parse().ok()?))
}

/// The kernel's log, unless that cannot be read or has no packets of this network namespace.
fn source() -> SourceSpec {
    if !kernel::is_mute() && doctor::ring_has(b"").is_some() {
        return SourceSpec::Kmsg;
    }
    let taken = kernel::groups_read();
    let free = (FIRST_GROUP..=u16::MAX).find(|group| !taken.contains(group));
    SourceSpec::Nflog(free.unwrap_or(FIRST_GROUP))
}

/// All but the host's own.
fn interfaces() -> Vec<String> {
    let entries = fs::read_dir("/sys/class/net")
        .into_iter()
        .flatten()
        .flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<_> = names.filter(|name| name != "lo").collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
#[path = "host_test.rs"]
mod tests;

//! The base rules that fit a config: what is logged, what is let in, what is dropped.
//!
//! In: [`Rules`]. Out: text that the firewall's own tool loads, and the counterpart that takes away
//! exactly that; loading twice is loading once, and leaves open what is open. It never locks anybody
//! out by more than it says: no policy is touched, and only ports that a door opens are dropped. The
//! text holds the log prefix, a secret.

pub(super) mod base;
mod beside;
pub(super) mod iptables;
pub(super) mod nft;

use ipnet::IpNet;
use strum::IntoStaticStr;
use thiserror::Error;

use super::Backend;
use crate::engine::sequence::{Step, Transport};

pub use self::iptables::MAX_PREFIX as MAX_IPTABLES_PREFIX;

/// What printed rules say where a knock lets in one connection.
pub(super) const ONE_CONNECTION: &str = "\
# A knock lets in one connection, which 'logknock knock --wait' alone would spend. In ~/.ssh/config:
#     ProxyCommand logknock knock %h SEQUENCE --wait %p --proxy
";

/// Packets of one address that are logged in a second; a knock is a handful.
const RATE: u32 = 10;
/// Packets of one address that are logged at once.
const BURST: u32 = 40;

/// A tool that loads rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Tool {
    /// `nft -f -`.
    Nft,
    /// `sh`, which calls iptables-restore, ip6tables-restore and ipset.
    Iptables,
    /// `sh`, which loads the rules of the backend and tells ufw.
    Ufw,
    /// `sh`, which calls nft and tells firewalld.
    Firewalld,
    /// `sh`, which writes a file for fw4.
    Openwrt,
}

impl Tool {
    /// Its name on the command line.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Where its rules look for what is open; the usual one first.
    const fn backends(self) -> &'static [Backend] {
        match self {
            Self::Nft | Self::Firewalld | Self::Openwrt => &[Backend::Nft],
            Self::Iptables => &[Backend::Iptables, Backend::Ipset],
            Self::Ufw => &[Backend::Nft, Backend::Iptables, Backend::Ipset],
        }
    }
}

impl From<Backend> for Tool {
    fn from(backend: Backend) -> Self {
        match backend {
            Backend::Nft => Self::Nft,
            Backend::Ipset | Backend::Iptables => Self::Iptables,
        }
    }
}

/// Which TCP packets are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tcp {
    /// Those that begin a connection.
    Starts,
    /// All that belong to none: a door has `tcpflags` of its own.
    Every,
}

/// Where a packet is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogTo {
    /// The kernel's log.
    Kernel,
    /// A group of `nfnetlink_log`.
    Group(u16),
}

/// What the rules must fit.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// What opens the doors; `None` when all have commands of their own.
    pub backend: Option<Backend>,
    /// The ports that some door opens, each once: closed to everybody else.
    pub guarded: &'a [Step],
    /// Those of them to which a door lets in one connection, each once: logged before they are let in.
    pub once: &'a [Step],
    /// Networks that never need a knock.
    pub always: &'a [IpNet],
    /// Ports that are open to everybody, each once: not logged.
    pub public: &'a [Step],
    /// The log prefix.
    pub prefix: &'a [u8],
    /// Where packets are logged.
    pub log: &'a [LogTo],
    /// Which TCP packets a door may wait for.
    pub tcp: Tcp,
}

/// Why there are no rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RulesError {
    /// The doors are opened elsewhere than these rules look.
    #[error(
        "these rules would not see what [firewall] backend = \"{}\" opens\n\
         use --for {}, or set backend = \"{}\"",
        .1.as_str(), Tool::from(*.1).as_str(), .0.backends().first().map_or("", |usual| usual.as_str())
    )]
    OtherTool(Tool, Backend),
    /// The prefix has characters that the tool would not take as they are.
    #[error(
        "the log prefix holds a quote, '\\', '$' or a character outside ASCII, which rules \
         cannot be trusted to keep\nuse letters, digits and punctuation, such as 'lk-4f9a1c7e: '"
    )]
    Prefix,
    /// The prefix is longer than the tool takes.
    #[error("the log prefix is longer than the {0} characters that an iptables LOG rule takes")]
    LongPrefix(usize),
}

impl Rules<'_> {
    /// The nft table that they may have of their own.
    pub const TABLE: &'static str = nft::TABLE;
    /// In every text whose open doors are rules, which no timeout ends.
    pub const UNTIMED: &'static str = super::iptables::CLOSED;
    /// The script for `sh` that closes all of these.
    pub const CLOSE: &'static str = include_str!("close_iptables.sh");

    /// The text that loads them.
    pub fn load(&self, tool: Tool) -> Result<String, RulesError> {
        self.check_backend(tool)?;
        let prefix = self.prefix()?;
        match tool {
            Tool::Nft => Ok(nft::load(self, prefix)),
            Tool::Firewalld => Ok(beside::firewalld(self, prefix)),
            Tool::Openwrt => Ok(beside::openwrt(self, prefix)),
            Tool::Ufw if self.backend.is_none_or(|backend| backend == Backend::Nft) => {
                Ok(beside::ufw(self, prefix))
            }
            Tool::Iptables | Tool::Ufw if prefix.len() > iptables::MAX_PREFIX => {
                Err(RulesError::LongPrefix(iptables::MAX_PREFIX))
            }
            // What it lets in passes ufw's rules, which it stands before and which leave it alone.
            Tool::Iptables | Tool::Ufw => Ok(iptables::load(self, prefix)),
        }
    }

    /// The text that takes away whatever [`load`](Self::load) may have loaded.
    pub fn remove(tool: Tool) -> String {
        match tool {
            Tool::Nft => nft::remove(),
            Tool::Iptables => iptables::remove(),
            Tool::Ufw => beside::remove_ufw(),
            Tool::Firewalld => beside::remove_firewalld(),
            Tool::Openwrt => beside::remove_openwrt(),
        }
    }

    fn check_backend(&self, tool: Tool) -> Result<(), RulesError> {
        match self.backend {
            Some(backend) if !tool.backends().contains(&backend) => {
                Err(RulesError::OtherTool(tool, backend))
            }
            _ => Ok(()),
        }
    }

    fn prefix(&self) -> Result<&str, RulesError> {
        let plain = |byte: &u8| matches!(byte, b' '..=b'~') && !b"\"'\\$`".contains(byte);
        std::str::from_utf8(self.prefix)
            .ok()
            .filter(|prefix| prefix.as_bytes().iter().all(plain))
            .ok_or(RulesError::Prefix)
    }
}

/// The ports of one transport.
fn of(transport: Transport, ports: &[Step]) -> impl Iterator<Item = u16> {
    ports
        .iter()
        .filter(move |port| port.transport == transport)
        .map(|port| port.port)
}

#[cfg(test)]
#[path = "rules_test.rs"]
mod tests;

//! Doors that say what they open instead of how: `opens` as commands, and the rules around them.
//!
//! In: a backend and ports. Out: [`Commands`] of the engine's own kind; in [`rules`] the text of the base rules, in
//! [`kernel`] that of rules that need no daemon. Pure: no process, no file, no look at the firewall as it is. The
//! kernel ends entries of nft and ipset by their timeout, so a door closes even if the daemon is dead. A rule of
//! iptables has no timeout.

mod ipset;
mod iptables;
pub mod kernel;
pub mod live;
pub mod netlink;
mod nft;
pub mod rules;

use std::net::IpAddr;

use ipnet::IpNet;
use strum::{IntoStaticStr, VariantArray};

pub use self::ipset::MAX_TIMEOUT as MAX_IPSET_TIMEOUT;
use crate::engine::command::{Template, TemplateError};
use crate::engine::door::PerFamily;
use crate::engine::sequence::Step;

/// The nft tables that are ours: of the daemon's rules, and of those that need none.
pub const OWN_TABLES: [&str; 2] = [nft::TABLE, kernel::NFT_TABLE];

/// The tool that holds a door open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum Backend {
    /// Elements of two sets in the table `inet logknock`.
    Nft,
    /// Entries of the sets `logknock4` and `logknock6`, which a rule of iptables asks.
    Ipset,
    /// Rules in the chain `LOGKNOCK`.
    Iptables,
}

impl Backend {
    /// Its name in the config.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The commands of a door with `opens`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commands {
    /// To open. Twice is as good as once.
    pub open: PerFamily,
    /// To renew the kernel's timeout, and what somebody has flushed meanwhile: to open again.
    pub refresh: PerFamily,
    /// To close. What is closed already is no failure.
    pub close: PerFamily,
}

/// The commands with which `backend` opens `ports` for the address that knocked at `door`.
pub fn commands(backend: Backend, door: &str, ports: &[Step]) -> Result<Commands, TemplateError> {
    let both = |command: fn(Family, &str, &[Step]) -> Result<Template, TemplateError>| {
        Ok(PerFamily {
            v4: Some(command(Family::V4, door, ports)?),
            v6: Some(command(Family::V6, door, ports)?),
        })
    };
    let (open, close) = match backend {
        Backend::Nft => (both(nft::open)?, both(nft::close)?),
        Backend::Ipset => (both(ipset::open)?, both(ipset::close)?),
        Backend::Iptables => (both(iptables::open)?, both(iptables::close)?),
    };
    Ok(Commands {
        refresh: open.clone(),
        open,
        close,
    })
}

/// An address family, where a firewall has one of something for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The one of two that is for it.
    const fn pick<T: Copy>(self, v4: T, v6: T) -> T {
        match self {
            Self::V4 => v4,
            Self::V6 => v6,
        }
    }

    /// What people call it.
    const fn name(self) -> &'static str {
        self.pick("IPv4", "IPv6")
    }

    /// Those of `networks` that are of it, none inside another.
    fn networks(self, networks: &[IpNet]) -> Vec<IpNet> {
        let networks = networks.iter().map(IpNet::trunc);
        let mine: Vec<_> = networks.filter(|net| self.has(net.addr())).collect();
        IpNet::aggregate(&mine)
    }

    fn has(self, address: IpAddr) -> bool {
        address.is_ipv4() == (self == Self::V4)
    }
}

/// What `one` makes of each port, with `between` in between.
fn each(ports: &[Step], between: &str, one: impl Fn(&str, u16) -> String) -> String {
    let all: Vec<_> = ports
        .iter()
        .map(|port| one(port.transport.as_str(), port.port))
        .collect();
    all.join(between)
}

#[cfg(test)]
#[path = "firewall_test.rs"]
mod tests;

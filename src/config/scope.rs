//! Which packets a door looks at: `tcpflags`, `interface`, `target`, `allow`, `deny`.
//!
//! In: these keys as written. Out: the values of the engine's `Scope`. Addresses and networks come
//! out in canonical form, as those of packets do: an IPv4-mapped IPv6 network is its IPv4 network,
//! else it would allow nobody and deny nobody.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

use crate::engine::packet::TcpFlags;

use super::report::warning;
use super::value::{Value, Written, no_choice};

/// Most networks in `allow` or `deny`: a packet is compared with each of them.
const MAX_NETWORKS: usize = 256;

/// Most flags: each once as it is and once with `!`.
const MAX_FLAGS: usize = 2 * TcpFlags::NAMES.len();

/// `tcpflags`: what a TCP packet must have and must not have.
#[derive(Clone, Copy)]
pub(super) struct Flags {
    pub(super) set: TcpFlags,
    pub(super) clear: TcpFlags,
}

impl Value for Flags {
    fn read(written: Written<'_>) -> Option<Self> {
        let mut flags = Self {
            set: TcpFlags::NONE,
            clear: TcpFlags::NONE,
        };
        written.each("flags", MAX_FLAGS, |_, item| add_flag(&mut flags, item))?;
        Some(flags)
    }
}

fn add_flag(flags: &mut Flags, item: Written<'_>) -> Option<()> {
    let text = item.string("a flag in quotes")?;
    let word = text.strip_prefix('!').unwrap_or(text).to_ascii_lowercase();
    let Some((name, flag)) = TcpFlags::NAMES.into_iter().find(|(name, _)| *name == word) else {
        let words = TcpFlags::NAMES.map(|(name, _)| name);
        item.add(no_choice(item.span, &word, &words));
        return None;
    };
    if text.starts_with('!') {
        flags.clear = flags.clear.with(flag);
    } else {
        flags.set = flags.set.with(flag);
    }
    if flags.set.contains(flag) && flags.clear.contains(flag) {
        let message =
            format!("a packet cannot have '{name}' and lack it: the door could never open");
        return item.refuse(message);
    }
    Some(())
}

/// Why a text is no interface.
pub(super) const NO_INTERFACE: &str = "no interface can have this name";

/// `interface`: a name that Linux would take (`dev_valid_name`).
#[derive(Clone)]
pub(super) struct Interface(pub(super) Box<str>);

impl Value for Interface {
    fn read(written: Written<'_>) -> Option<Self> {
        let name = written.string("a string")?;
        Self::named(name).or_else(|| written.refuse(NO_INTERFACE))
    }
}

impl Interface {
    /// The interface called `name`, if one can be.
    pub(super) fn named(name: &str) -> Option<Self> {
        let unfit = |byte: u8| byte == b'/' || byte == b':' || !byte.is_ascii_graphic();
        let fits = (1..=15).contains(&name.len())
            && !matches!(name, "." | "..")
            && !name.bytes().any(unfit);
        fits.then(|| Self(name.into()))
    }
}

/// Why a text is no address.
pub(super) const NO_ADDRESS: &str = "not an address";

/// What one is.
pub(super) const ADDRESS_FORM: &str = "write one IPv4 or IPv6 address";

/// `target`: an address that somebody may be knocking at.
#[derive(Clone, Copy)]
pub(super) struct Target(pub(super) IpAddr);

impl Value for Target {
    fn read(written: Written<'_>) -> Option<Self> {
        let text = written.string("an address in quotes")?;
        let Ok(address) = text.parse::<IpAddr>() else {
            return written.refuse_with(NO_ADDRESS, ADDRESS_FORM);
        };
        let address = address.to_canonical();
        if address.is_unspecified() {
            return written
                .refuse("nobody can send a knock to this address: the door could never open");
        }
        Some(Self(address))
    }
}

/// `allow` or `deny`.
pub(super) type Networks = Vec<IpNet>;

impl Value for Networks {
    fn read(written: Written<'_>) -> Option<Self> {
        written.each("networks", MAX_NETWORKS, |_, item| network(item))
    }
}

fn network(item: Written<'_>) -> Option<IpNet> {
    let text = item.string("a network in quotes")?;
    let parsed = match text.parse::<IpAddr>() {
        Ok(address) => Some(IpNet::from(address)),
        Err(_) => text.parse::<IpNet>().ok(),
    };
    let Some(written) = parsed.map(canonical) else {
        let fix = "write \"192.0.2.0/24\", \"2001:db8::/32\" or an address";
        return item.refuse_with("not a network", fix);
    };
    let network = written.trunc();
    if network != written {
        let message = format!("this is not the network's own address; it is taken as '{network}'");
        let fix = "write it so, or leave out /… for the one address";
        item.add(warning(item.span, message).fix(fix));
    }
    Some(network)
}

fn canonical(network: IpNet) -> IpNet {
    let mapped = match network {
        IpNet::V6(v6) if v6.prefix_len() >= 96 => v6
            .addr()
            .to_ipv4_mapped()
            .and_then(|addr| Ipv4Net::new(addr, v6.prefix_len() - 96).ok()),
        _ => None,
    };
    mapped.map_or(network, IpNet::V4)
}

/// Whether `allow`, `deny` and `target` together leave no address that could knock. An address of
/// the other family than `target` cannot.
pub(super) fn leaves_nobody(allow: &[IpNet], deny: &[IpNet], target: Option<IpAddr>) -> bool {
    let everybody = [
        IpNet::V4(Ipv4Net::default()),
        IpNet::new_assert(Ipv6Addr::UNSPECIFIED.into(), 0),
    ];
    let allowed = if allow.is_empty() { &everybody } else { allow };
    let denied = IpNet::aggregate(&deny.to_vec());
    let reaches = |network: &IpNet| {
        target.is_none_or(|target| target.is_ipv4() == matches!(network, IpNet::V4(_)))
    };
    let is_denied = |network: &IpNet| denied.iter().any(|denied| denied.contains(network));
    allowed
        .iter()
        .all(|network| is_denied(network) || !reaches(network))
}

#[cfg(test)]
#[path = "scope_test.rs"]
mod tests;

//! Which packets a door looks at: `tcpflags`, `interface`, `target`, `allow`, `deny`.
//!
//! In: these keys as written. Out: the values of the engine's `Scope`. Addresses and networks come
//! out in canonical form, as those of packets do: an IPv4-mapped IPv6 network is its IPv4 network,
//! else it would allow nobody and deny nobody.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

use crate::engine::packet::TcpFlags;

use super::nearest::nearest;
use super::problem::Problem;
use super::report::Report;
use super::value::{Value, Written};

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
    fn read(written: Written<'_>, report: &mut Report) -> Option<Self> {
        let mut flags = Self {
            set: TcpFlags::NONE,
            clear: TcpFlags::NONE,
        };
        let mut complete = true;
        for item in written.few("flags", MAX_FLAGS, "an array of flags", report)? {
            complete &= add_flag(&mut flags, item, report).is_some();
        }
        complete.then_some(flags)
    }
}

fn add_flag(flags: &mut Flags, item: Written<'_>, report: &mut Report) -> Option<()> {
    let text = item.string("a flag in quotes", report)?;
    let word = text.strip_prefix('!').unwrap_or(text).to_ascii_lowercase();
    let Some((name, flag)) = TcpFlags::NAMES.into_iter().find(|(name, _)| *name == word) else {
        let words = TcpFlags::NAMES.map(|(name, _)| name);
        let nearest = nearest(&word, words);
        let words = words.to_vec();
        return item.refuse(Problem::Choice { words, nearest }, report);
    };
    if text.starts_with('!') {
        flags.clear = flags.clear.with(flag);
    } else {
        flags.set = flags.set.with(flag);
    }
    if flags.set.contains(flag) && flags.clear.contains(flag) {
        return item.refuse(Problem::Contradiction { flag: name }, report);
    }
    Some(())
}

/// `interface`: a name that Linux would take (`dev_valid_name`).
#[derive(Clone)]
pub(super) struct Interface(pub(super) Box<str>);

impl Value for Interface {
    fn read(written: Written<'_>, report: &mut Report) -> Option<Self> {
        let name = written.string("a string", report)?;
        Self::named(name).or_else(|| written.refuse(Problem::Interface, report))
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

/// `target`: an address that somebody may be knocking at.
#[derive(Clone, Copy)]
pub(super) struct Target(pub(super) IpAddr);

impl Value for Target {
    fn read(written: Written<'_>, report: &mut Report) -> Option<Self> {
        let text = written.string("an address in quotes", report)?;
        let Ok(address) = text.parse::<IpAddr>() else {
            return written.refuse(Problem::Target, report);
        };
        let address = address.to_canonical();
        if address.is_unspecified() {
            return written.refuse(Problem::TargetNever, report);
        }
        Some(Self(address))
    }
}

/// `allow` or `deny`.
pub(super) type Networks = Vec<IpNet>;

impl Value for Networks {
    fn read(written: Written<'_>, report: &mut Report) -> Option<Self> {
        let networks: Vec<Option<IpNet>> = written
            .few("networks", MAX_NETWORKS, "an array of networks", report)?
            .map(|item| network(item, report))
            .collect();
        networks.into_iter().collect()
    }
}

fn network(item: Written<'_>, report: &mut Report) -> Option<IpNet> {
    let text = item.string("a network in quotes", report)?;
    let parsed = match text.parse::<IpAddr>() {
        Ok(address) => Some(IpNet::from(address)),
        Err(_) => text.parse::<IpNet>().ok(),
    };
    let Some(written) = parsed.map(canonical) else {
        return item.refuse(Problem::Network, report);
    };
    let network = written.trunc();
    if network != written {
        let network = network.to_string();
        report.add(item.span, Problem::HostBits { network });
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
mod tests {
    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn nobody(allow: &[&str], deny: &[&str], target: Option<&str>) -> bool {
        let target = target.map(|text| text.parse().unwrap());
        leaves_nobody(&nets(allow), &nets(deny), target)
    }

    #[test]
    fn networks_that_are_all_denied_leave_nobody() {
        assert!(nobody(&["192.0.2.0/25"], &["192.0.2.0/24"], None));
        assert!(nobody(
            &["192.0.2.0/24"],
            &["192.0.2.0/25", "192.0.2.128/25"],
            None
        ));
        assert!(nobody(&[], &["0.0.0.0/0", "::/0"], None));
        assert!(!nobody(&["192.0.2.0/24"], &["192.0.2.0/25"], None));
        assert!(!nobody(&[], &["0.0.0.0/0"], None));
        assert!(!nobody(&[], &[], None));
    }

    #[test]
    fn networks_of_the_other_family_than_the_target_leave_nobody() {
        assert!(nobody(&["2001:db8::/32"], &[], Some("192.0.2.1")));
        assert!(nobody(&[], &["::/0"], Some("2001:db8::1")));
        assert!(!nobody(&["2001:db8::/32"], &[], Some("2001:db8::1")));
    }

    #[test]
    fn a_mapped_network_is_its_ipv4_network() {
        let mapped = "::ffff:192.0.2.0/120".parse().unwrap();
        assert_eq!(canonical(mapped), "192.0.2.0/24".parse().unwrap());
        let wider = "::ffff:0:0/95".parse().unwrap();
        assert_eq!(canonical(wider), wider);
    }
}

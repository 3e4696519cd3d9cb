//! The addresses of a host.
//!
//! In: a name or an address (IPv6 also in brackets, a link-local one with its `%interface`). Out: its
//! addresses in the resolver's order, each once, of the family that was asked for and that the source
//! address can reach.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use thiserror::Error;

/// Which addresses of a host are knocked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// All.
    #[default]
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

/// Why a host has no address to knock at.
#[derive(Debug, Error)]
pub enum ResolveError {
    /// The resolver knows none.
    #[error(transparent)]
    Unknown(io::Error),
    /// It has some, of the other family.
    #[error("no {0} address")]
    Family(&'static str),
}

/// The addresses of `host`, with port 0; at least one.
pub fn resolve(
    host: &str,
    family: Family,
    source: Option<IpAddr>,
) -> Result<Vec<SocketAddr>, ResolveError> {
    let name = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    let found = (name, 0).to_socket_addrs().map_err(ResolveError::Unknown)?;
    suitable(found, family, source)
}

fn suitable(
    found: impl Iterator<Item = SocketAddr>,
    family: Family,
    source: Option<IpAddr>,
) -> Result<Vec<SocketAddr>, ResolveError> {
    let mut addresses = Vec::new();
    for address in found {
        let is_asked_for = match family {
            Family::Any => true,
            Family::V4 => address.is_ipv4(),
            Family::V6 => address.is_ipv6(),
        };
        let is_reachable = source.is_none_or(|source| source.is_ipv4() == address.is_ipv4());
        if is_asked_for && is_reachable && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(ResolveError::Family(match (family, source) {
            (Family::V4, _) | (Family::Any, Some(IpAddr::V4(_))) => "IPv4",
            (Family::V6, _) | (Family::Any, Some(IpAddr::V6(_))) => "IPv6",
            (Family::Any, None) => "IP",
        }));
    }
    Ok(addresses)
}

#[cfg(test)]
#[path = "address_test.rs"]
mod tests;

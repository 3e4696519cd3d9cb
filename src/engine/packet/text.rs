//! The one text form of a packet: what `parse` prints and what fixtures expect.
//!
//! `prefix="KNOCK: " in=eth0 out= 203.0.113.7:40000 -> 198.51.100.9:7000 tcp syn`

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::{Packet, Proto};

impl fmt::Display for Packet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "prefix=\"{}\" in={} out={} ",
            self.prefix.escape_ascii(),
            self.iif.escape_ascii(),
            self.oif.escape_ascii()
        )?;
        endpoint(f, self.src, self.ports.map(|ports| ports.src))?;
        f.write_str(" -> ")?;
        endpoint(f, self.dst, self.ports.map(|ports| ports.dst))?;
        write!(f, " {}", self.proto)?;
        for (place, name) in self.flags.names().enumerate() {
            f.write_str(if place == 0 { " " } else { "," })?;
            f.write_str(name)?;
        }
        Ok(())
    }
}

fn endpoint(f: &mut fmt::Formatter<'_>, address: IpAddr, port: Option<u16>) -> fmt::Result {
    match port {
        Some(port) => write!(f, "{}", SocketAddr::new(address, port)),
        None => write!(f, "{address}"),
    }
}

impl fmt::Display for Proto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
            Self::Icmpv6 => "icmpv6",
            Self::UdpLite => "udplite",
            Self::Sctp => "sctp",
            Self::Esp => "esp",
            Self::Ah => "ah",
            Self::Number(number) => return write!(f, "{number}"),
        })
    }
}

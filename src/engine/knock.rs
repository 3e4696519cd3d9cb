//! Packet → hit: which packets can be a knock at all, whatever the doors are.
//!
//! In: a packet. Out: a [`Hit`], or the [`Reason`] why the packet does not count. What only one door minds (its
//! interface, target, networks, flags, public ports) is asked door by door in [`Scope::admits`]: a packet out of a
//! door's scope neither advances nor resets anything there.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use super::door::Scope;
use super::packet::{Fingerprint, Packet, Ports, TcpFlags};
use super::reason::{DoorReason, Reason};
use super::sequence::{Step, Transport};
use super::time::Time;

/// The stamps in a line: the same for every reader at any time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Logged {
    /// The stamp of the kernel that we run on.
    pub kernel: Option<Time>,
    /// The header's stamp, from the Unix epoch.
    pub header: Option<Time>,
    /// Whether it may have been written while no process read.
    pub late: bool,
    /// Whose clock stamped it: the source's number for that kernel.
    pub clock: u16,
}

/// A TCP or UDP packet to this host that may count for some door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit<'a> {
    /// When it was logged, on the engine's clock.
    pub at: Time,
    /// The kernel's stamp of it, if the line has one.
    pub uptime: Option<Time>,
    /// Its source address.
    pub src: IpAddr,
    /// To which address.
    pub dst: IpAddr,
    /// Both ports.
    pub ports: Ports,
    /// Destination port and transport.
    pub step: Step,
    /// Its TCP flags.
    pub flags: TcpFlags,
    /// The interface it arrived at.
    pub interface: &'a [u8],
    /// What distinguishes it from other packets with the same addresses and ports.
    pub mark: Fingerprint,
    /// The caller's number of the source that showed it.
    pub source: u16,
    /// A number for the firewall rule that logged it.
    pub rule: u16,
    /// What its line says of when it was logged.
    pub logged: Logged,
}

/// A kernel, as seen by one source.
pub type KernelId = (u16, u16);

impl<'a> Hit<'a> {
    /// The kernel that logged it.
    pub const fn kernel(&self) -> KernelId {
        (self.source, self.logged.clock)
    }

    /// `packet` as a hit at `at`, shown by `source`, in a line that was `logged` then.
    pub fn new(
        packet: &Packet<'a>,
        at: Time,
        uptime: Option<Time>,
        source: u16,
        logged: Logged,
    ) -> Result<Self, Reason> {
        if packet.iif.is_empty() || !packet.oif.is_empty() {
            return Err(Reason::Forwarded);
        }
        if is_nobody(packet.headers.src) || packet.headers.src == packet.headers.dst {
            return Err(Reason::Never);
        }
        let transport = Transport::try_from(packet.headers.proto).map_err(|()| Reason::Protocol)?;
        let ports = packet.headers.ports.ok_or(Reason::NoPort)?;
        Ok(Self {
            at,
            uptime,
            src: packet.headers.src,
            dst: packet.headers.dst,
            ports,
            step: Step {
                port: ports.dst,
                transport,
            },
            flags: packet.headers.flags,
            interface: packet.iif,
            mark: packet.headers.mark,
            source,
            rule: rule(packet.prefix),
            logged,
        })
    }
}

/// A number for the rule that logs with `prefix`; several may share one.
fn rule(prefix: &[u8]) -> u16 {
    let number = |number: u16, byte: &u8| number.wrapping_mul(31).wrapping_add((*byte).into());
    prefix.iter().fold(0, number)
}

/// Which addresses are one knocker: each IPv4 address, and IPv6 addresses with the same first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnockerPrefix {
    bits: u8,
    /// At doors with `counts`, where a knocker with many addresses could try every pattern.
    counts: u8,
}

impl KnockerPrefix {
    /// The shortest prefix: the largest block of one site (RFC 6177).
    pub const LEAST: u8 = 48;
    /// The longest: each address is a knocker of its own.
    pub const MOST: u8 = 128;
    /// What one subnet has (RFC 4291).
    const SUBNET: u8 = 64;

    /// IPv6 addresses with the same first `bits` bits; `None` beyond the limits.
    pub fn new(bits: u8) -> Option<Self> {
        let counts = bits;
        (Self::LEAST..=Self::MOST)
            .contains(&bits)
            .then_some(Self { bits, counts })
    }

    /// The same for doors with `counts`.
    #[must_use]
    pub const fn of_counts(self) -> Self {
        Self {
            bits: self.counts,
            ..self
        }
    }

    /// The address that represents the knocker of `address`.
    pub fn of(self, address: IpAddr) -> IpAddr {
        match address {
            IpAddr::V6(v6) if self.bits < Self::MOST => {
                let mask = u128::MAX << (Self::MOST - self.bits);
                Ipv6Addr::from_bits(v6.to_bits() & mask).into()
            }
            _ => address,
        }
    }
}

impl Default for KnockerPrefix {
    /// Each address is a knocker of its own, but at doors with `counts` each subnet.
    fn default() -> Self {
        Self {
            bits: Self::MOST,
            counts: Self::SUBNET,
        }
    }
}

/// Whether no single host can have `address`.
pub fn is_nobody(address: IpAddr) -> bool {
    address.is_unspecified()
        || address.is_multicast()
        || matches!(address, IpAddr::V4(v4) if v4.is_broadcast())
}

impl Scope {
    /// Whether `hit` counts for this door.
    pub fn admits(&self, hit: &Hit<'_>) -> bool {
        self.why_not(hit).is_none()
    }

    /// Why `hit` does not count for this door, if it does not.
    pub fn why_not(&self, hit: &Hit<'_>) -> Option<DoorReason> {
        let flags = hit.step.transport == Transport::Udp
            || (hit.flags.contains(self.flags_set) && hit.flags.lacks(self.flags_clear));
        if !flags {
            return Some(DoorReason::Flags);
        }
        let interface = self.interface.as_deref().map(str::as_bytes);
        if interface.is_some_and(|name| name != hit.interface) {
            return Some(DoorReason::Interface);
        }
        if self.target.is_some_and(|target| target != hit.dst) {
            return Some(DoorReason::Target);
        }
        if self.public.contains(&hit.step) {
            return Some(DoorReason::Public);
        }
        (!self.lets_in(hit.src)).then_some(DoorReason::Address)
    }

    /// Whether `src` may open this door at all.
    pub fn lets_in(&self, src: IpAddr) -> bool {
        let is_in = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&src));
        (self.allow.is_empty() || is_in(&self.allow)) && !is_in(&self.deny)
    }
}

//! The base rules as a list that every tool's text is drawn from.
//!
//! In: [`Rules`]. Out: [`Line`]s, in order. A connection is judged by its first packet alone: of TCP only a SYN
//! without ACK is logged or dropped, whatever conntrack says about it. So an existing session continues, even if
//! conntrack does not know it. A datagram has no first packet: a UDP flow without an entry ends at load.

use ipnet::IpNet;

use super::super::Family;
use super::{Rules, Tcp};
use crate::engine::sequence::{Step, Transport};

/// One rule.
#[derive(Clone, Debug)]
pub(in super::super) struct Line {
    /// Why it is there; empty when the line before says it.
    pub(in super::super) why: &'static str,
    /// All of this must be so.
    pub(in super::super) when: Vec<When>,
    pub(in super::super) then: Then,
}

/// What a packet is asked.
#[derive(Clone, Debug)]
pub(in super::super) enum When {
    /// It comes from this host itself.
    Loopback,
    /// It is for another host, or for several.
    Elsewhere,
    /// Its sender is in one of these networks.
    From(Family, Vec<IpNet>),
    /// It is for one of these ports.
    To(Transport, Vec<u16>),
    /// It is of this protocol.
    Is(Transport),
    /// It begins a TCP connection.
    Begins,
    /// It is of TCP, and begins nothing.
    Continues,
    /// Conntrack knows of its connection.
    Tracked,
    /// A NAT rule has rewritten where it goes.
    Redirected,
    /// It is addressed to this host alone.
    Unicast,
    /// Its sender has knocked at a door that opens its port.
    Open(Family),
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Then {
    /// These rules have no more to say about it.
    Pass,
    /// It is let in, as far as this tool can let in.
    Enter,
    /// It is logged, at a limited rate an address.
    Log,
    /// It is logged without a limit.
    LogAll,
    /// It is dropped.
    Drop,
}

impl Line {
    fn new(when: impl Into<Vec<When>>, then: Then) -> Self {
        Self {
            why: "",
            when: when.into(),
            then,
        }
    }
}

/// Why a session is never cut off.
const GOES_ON: &str = "An existing connection continues, tracked or not.";

/// Says `why` of the first of `lines`.
fn because(why: &'static str, mut lines: Vec<Line>) -> Vec<Line> {
    if let Some(first) = lines.first_mut() {
        first.why = why;
    }
    lines
}

/// What is looked at neither by a door nor by the guard, where packets arrive.
pub(in super::super) fn preamble(always: &[IpNet], public: &[Step], tcp: Tcp) -> Vec<Line> {
    let own = "Traffic from this host to itself, and traffic to other hosts, passes.";
    let none_of_ours = [When::Loopback, When::Elsewhere].map(|when| Line::new([when], Then::Pass));
    let mut lines = because(own, none_of_ours.into());
    lines.extend(always_allowed(always, &[], Then::Pass));
    let open = to_each(public, &[], &[], Then::Pass);
    lines.extend(because("Ports that are open to everybody.", open));
    let goes_on = match tcp {
        Tcp::Starts => vec![When::Continues],
        Tcp::Every => vec![When::Continues, When::Tracked],
    };
    let udp = vec![When::Is(Transport::Udp), When::Tracked];
    let existing = [goes_on, udp].map(|when| Line::new(when, Then::Pass));
    lines.extend(because(GOES_ON, existing.into()));
    lines
}

/// Addresses that have knocked, where packets arrive.
pub(super) fn let_in(rules: &Rules<'_>) -> Vec<Line> {
    if rules.guarded.is_empty() {
        return Vec::new();
    }
    let once = Family::ALL.into_iter().flat_map(|family| {
        let open = [When::Open(family)];
        to_each(rules.once, &[When::Begins], &open, Then::LogAll)
    });
    let why = "One connection closes these again, so each is logged: no limit, as few may connect.";
    let mut lines = because(why, once.collect());
    lines.extend(entering(Then::Pass));
    lines
}

fn entering(then: Then) -> Vec<Line> {
    let each = Family::ALL.map(|family| Line::new([When::Open(family)], then));
    because("An address that has knocked may connect.", each.into())
}

/// Everybody else, where packets arrive.
pub(super) fn others(rules: &Rules<'_>) -> Vec<Line> {
    let tcp = match rules.tcp {
        Tcp::Starts => When::Begins,
        Tcp::Every => When::Is(Transport::Tcp),
    };
    let logged = [tcp, When::Is(Transport::Udp)]
        .map(|packets| Line::new([When::Unicast, packets], Then::Log));
    let why = "Every other port is logged, so that a scan is seen to hit the wrong ones.";
    let mut lines = because(why, logged.into());
    lines.extend(guard(rules.guarded));
    lines
}

/// What closes the ports to all others.
pub(in super::super) fn guard(guarded: &[Step]) -> Vec<Line> {
    let why = "Only ports that a door opens are closed, and only to new connections.";
    because(why, to_each(guarded, &[When::Begins], &[], Then::Drop))
}

/// The same once more by the port that a packet has after NAT, behind what the host's own rules must let in.
pub(super) fn input(rules: &Rules<'_>) -> Vec<Line> {
    if rules.guarded.is_empty() {
        return Vec::new();
    }
    let mut lines = arrived(rules.always, rules.guarded);
    lines.extend(entering(Then::Enter));
    lines.extend(guard(rules.guarded));
    lines
}

/// Guarded ports that are open to an address that has knocked, where packets have arrived.
pub(in super::super) fn arrived(always: &[IpNet], guarded: &[Step]) -> Vec<Line> {
    let own = vec![Line::new([When::Loopback], Then::Pass)];
    let mut lines = because("Traffic from this host to itself passes.", own);
    lines.extend(always_allowed(always, guarded, Then::Enter));
    let each = [
        (Transport::Tcp, When::Continues),
        (Transport::Udp, When::Tracked),
    ];
    let existing = each.into_iter().filter_map(|(transport, goes_on)| {
        let ports = When::To(transport, ports(transport, guarded)?);
        Some(Line::new([ports, goes_on], Then::Enter))
    });
    lines.extend(because(GOES_ON, existing.collect()));
    lines
}

/// For rules that let in where packets arrive, and see there whether somebody has knocked: what they have not seen
/// as traffic to this port of this host is dropped, and the rest let in.
pub(in super::super) fn let_through(guarded: &[Step]) -> Vec<Line> {
    let unseen = [When::Redirected, When::Elsewhere];
    let unseen = unseen.map(|when| to_each(guarded, &[When::Begins], &[when], Then::Drop));
    let why = "A port that is redirected here has no knock of its own, nor has an address of another routing table.";
    let mut lines = because(why, unseen.concat());
    let rest = to_each(guarded, &[], &[], Then::Enter);
    lines.extend(because("The rest has been let in where it arrived.", rest));
    lines
}

fn always_allowed(networks: &[IpNet], to: &[Step], then: Then) -> Vec<Line> {
    let lines = Family::ALL.into_iter().flat_map(|family| {
        let networks = family.networks(networks);
        let from = (!networks.is_empty()).then_some(When::From(family, networks));
        from.into_iter().flat_map(|from| {
            if to.is_empty() {
                vec![Line::new([from], then)]
            } else {
                to_each(to, &[], &[from], then)
            }
        })
    });
    because("Networks that never need a knock.", lines.collect())
}

/// A line for the ports of each protocol; `tcp` is what is asked of TCP only.
fn to_each(to: &[Step], tcp: &[When], and: &[When], then: Then) -> Vec<Line> {
    let line = |transport: Transport| {
        let mut when = vec![When::To(transport, ports(transport, to)?)];
        if transport == Transport::Tcp {
            when.extend_from_slice(tcp);
        }
        when.extend_from_slice(and);
        Some(Line::new(when, then))
    };
    [Transport::Tcp, Transport::Udp]
        .into_iter()
        .filter_map(line)
        .collect()
}

/// The ports of one protocol, if there are any.
fn ports(transport: Transport, all: &[Step]) -> Option<Vec<u16>> {
    let ports: Vec<_> = super::of(transport, all).collect();
    (!ports.is_empty()).then_some(ports)
}

//! The rules as `nft -f` loads them: a table of our own.
//!
//! One transaction. Sets and chains that are there stay, with what is open in them; only the rules
//! are written anew. A table's verdict `accept` does not bind other tables, and its `drop` does.

use std::fmt::Write as _;

use super::super::{Family, nft};
use super::{BURST, RATE, Rules, Tcp, of};
use crate::engine::sequence::{Step, Transport};

pub(super) const TABLE: &str = nft::TABLE;

const HEAD: &str = "\
# Rules for logknock. Load:  logknock rules --for nft | nft -f -
# They hold the log prefix, a secret: keep them from others. Loading again changes nothing that is open.
# To keep them over a reboot put them into a file of mode 0600 that /etc/nftables.conf includes.
# Other tables have their say too: they must let in what this one guards.
";

pub(super) fn load(rules: &Rules<'_>, prefix: &str) -> String {
    format!("{HEAD}\n{}", table(rules, prefix))
}

/// The same without its head, for others to put in.
pub(super) fn table(rules: &Rules<'_>, prefix: &str) -> String {
    let sets = if rules.guarded.is_empty() {
        String::new()
    } else {
        Family::ALL.map(open_set).concat()
    };
    format!(
        "\
add table {TABLE}
{sets}# How much of each address has been logged lately (of IPv6 each /64).
add set {TABLE} logged4 {{ type ipv4_addr; size 65536; flags dynamic, timeout; timeout 1m; }}
add set {TABLE} logged6 {{ type ipv6_addr; size 65536; flags dynamic, timeout; timeout 1m; }}
add chain {TABLE} knocks
add chain {TABLE} input {{ type filter hook input priority filter - 10; policy accept; }}
flush chain {TABLE} knocks
flush chain {TABLE} input
table {TABLE} {{
    chain knocks {{
        # No address fills the log. Where the set is full, packets are logged rather than lost.
        update @logged4 {{ ip saddr limit rate over {RATE}/second burst {BURST} packets }} return
        update @logged6 {{ ip6 saddr & ffff:ffff:ffff:ffff:: limit rate over {RATE}/second burst {BURST} packets }} return
        log prefix \"{prefix}\"
    }}
    chain input {{
{}    }}
}}
",
        input(rules, prefix)
    )
}

pub(super) fn remove() -> String {
    format!(
        "\
# Takes the rules of logknock away.  logknock rules --for nft --remove | nft -f -
# Stop logknock first: what it has to close is gone with the table.
add table {TABLE}
delete table {TABLE}
"
    )
}

fn open_set(family: Family) -> String {
    let (set, kind) = (nft::set(family), nft::set_type(family));
    format!(
        "# What is open: who may connect where, until when. The kernel ends it.\n\
         add set {TABLE} {set} {{ type {kind}; flags timeout; }}\n"
    )
}

fn input(rules: &Rules<'_>, prefix: &str) -> String {
    let mut text = String::new();
    let mut rule = |why: &str, rule: &str| {
        if !why.is_empty() {
            let _ = writeln!(text, "        # {why}");
        }
        let _ = writeln!(text, "        {rule}");
    };
    rule(
        "What is connected stays connected, and this host may talk to itself.",
        "ct state established,related accept",
    );
    rule("", "iif \"lo\" accept");
    if !rules.guarded.is_empty() {
        let mut why =
            "One connection closes these again, so each is logged: no limit, as few may connect.";
        for transport in [Transport::Tcp, Transport::Udp] {
            for (ip, family) in [("ip", Family::V4), ("ip6", Family::V6)] {
                if let Some(ports) = list(transport, rules.once) {
                    let begins = match transport {
                        Transport::Tcp => "tcp flags & (syn | ack) == syn ",
                        Transport::Udp => "",
                    };
                    let (proto, open) = (transport.as_str(), is_open(ip, nft::set(family)));
                    let log = format!("log prefix \"{prefix}\"");
                    rule(
                        why,
                        &format!("{proto} dport {{ {ports} }} {begins}{open} {log}"),
                    );
                    why = "";
                }
            }
        }
        rule(
            "Who has knocked may connect.",
            &accept("ip", nft::set(Family::V4)),
        );
        rule("", &accept("ip6", nft::set(Family::V6)));
    }
    rule(
        "Every port is logged, so that a scan is seen to hit the wrong ones. A busy public one need not be:",
        "# tcp dport { 80, 443 } accept",
    );
    let tcp = match rules.tcp {
        Tcp::Starts => "tcp flags & (syn | ack) == syn",
        Tcp::Every => "meta l4proto tcp",
    };
    rule("", &format!("meta pkttype host {tcp} jump knocks"));
    rule("", "meta pkttype host meta l4proto udp jump knocks");
    let mut why = "Only what a door opens is closed to all others.";
    for transport in [Transport::Tcp, Transport::Udp] {
        if let Some(ports) = list(transport, rules.guarded) {
            let proto = transport.as_str();
            rule(why, &format!("{proto} dport {{ {ports} }} drop"));
            why = "";
        }
    }
    text
}

fn accept(family: &str, set: &str) -> String {
    format!("{} accept", is_open(family, set))
}

fn is_open(family: &str, set: &str) -> String {
    format!("{family} saddr . meta l4proto . th dport @{set}")
}

/// The ports of one transport, if there are any.
fn list(transport: Transport, ports: &[Step]) -> Option<String> {
    let ports: Vec<_> = of(transport, ports).map(|port| port.to_string()).collect();
    (!ports.is_empty()).then(|| ports.join(", "))
}

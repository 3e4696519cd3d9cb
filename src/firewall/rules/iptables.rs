//! The rules for iptables and ip6tables: a script for `sh` around what the two `-restore` tools load.
//!
//! Rules go in by `iptables-restore -n`, at once or not at all, and the log prefix is on no command
//! line that others could see. Why a script: a restore file cannot ask whether the jump from INPUT is
//! there already, so loaded twice it would be there twice. What is open stands in a chain (or a set)
//! that is made once and never flushed.

use std::fmt::Write as _;

use super::super::{Backend, Family, ipset, iptables};
use super::{BURST, RATE, Rules, Tcp, of};
use crate::engine::sequence::Transport;

/// Longest prefix of a LOG rule (the kernel's field is 30 bytes with its NUL).
pub const MAX_PREFIX: usize = 29;

/// The chain of the base rules. That of what is open is [`iptables::CHAIN`].
pub(super) const INPUT: &str = "LOGKNOCK_INPUT";

const HEAD: &str = "\
#!/bin/sh
# Rules for logknock. Load:  logknock rules --for iptables | sh
# They hold the log prefix, a secret: keep them from others. Loading again changes nothing that is open.
# To keep them over a reboot run this at boot, from a file of mode 0700, after other firewalls.
set -e
";

pub(super) fn load(rules: &Rules<'_>, prefix: &str) -> String {
    let mut text = HEAD.to_owned();
    if rules.backend == Some(Backend::Ipset) {
        text += "\n# What is open: who may connect where, until when. The kernel ends it.\n\
                 ipset -exist restore <<'END'\n";
        for family in Family::ALL {
            let (set, inet) = (ipset::set(family), ipset::family(family));
            let _ = writeln!(text, "create {set} hash:ip,port family {inet} timeout 0");
        }
        text += "END\n";
    }
    for family in Family::ALL {
        let (tool, restore) = (iptables::tool(family), iptables::restore(family));
        let _ = writeln!(text, "\n# ---- {} ----", family.name());
        if rules.backend == Some(Backend::Iptables) {
            let chain = iptables::CHAIN;
            let _ = write!(
                text,
                "# What is open. Made once, so that loading again closes nothing.\n\
                 {tool} -n -L {chain} >/dev/null 2>&1 || {tool} -N {chain}\n"
            );
        }
        let _ = write!(
            text,
            "{restore} <<'END'\n*filter\n:{INPUT} - [0:0]\n{}COMMIT\nEND\n\
             # Before all other rules, once.\n\
             {tool} -C INPUT -j {INPUT} 2>/dev/null || {tool} -I INPUT -j {INPUT}\n",
            input(rules, family, prefix)
        );
    }
    text
}

pub(super) fn remove() -> String {
    let mut text = "\
#!/bin/sh
# Takes the rules of logknock away.  logknock rules --for iptables --remove | sh
# Stop logknock first, so that it closes what is open.
"
    .to_owned();
    for family in Family::ALL {
        let (name, tool, open) = (family.name(), iptables::tool(family), iptables::CHAIN);
        let _ = write!(
            text,
            "\n# ---- {name} ----\n\
             {tool} -n -L INPUT >/dev/null || exit 1\n\
             while {tool} -D INPUT -j {INPUT} 2>/dev/null; do :; done\n\
             for chain in {INPUT} {open}; do\n    \
                 {tool} -F $chain 2>/dev/null && {tool} -X $chain\n\
             done\n"
        );
    }
    let [v4, v6] = Family::ALL.map(ipset::set);
    let _ = write!(
        text,
        "\nfor set in {v4} {v6}; do\n    ipset destroy $set 2>/dev/null\ndone\nexit 0\n"
    );
    text
}

const ENTER: &str = "Who has knocked may connect.";

fn enter() -> String {
    format!("-j {}", iptables::CHAIN)
}

/// The rules of the base chain.
pub(super) fn input(rules: &Rules<'_>, family: Family, prefix: &str) -> String {
    let mut text = String::new();
    let mut rule = |why: &str, rule: &str| {
        if !why.is_empty() {
            let _ = writeln!(text, "# {why}");
        }
        let _ = writeln!(text, "-A {INPUT} {rule}");
    };
    rule(
        "What is connected stays connected, and what this host says to itself is no knock.",
        "-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
    );
    rule("", "-i lo -j RETURN");
    match rules.backend {
        Some(Backend::Ipset) => {
            let open = format!("-m set --match-set {} src,dst", ipset::set(family));
            let mut why = "One connection closes these again, so each is logged: no limit, as few may connect.";
            for port in rules.once {
                let begins = match port.transport {
                    Transport::Tcp => "-p tcp --tcp-flags SYN,ACK SYN",
                    Transport::Udp => "-p udp",
                };
                let port = port.port;
                rule(
                    why,
                    &format!("{begins} --dport {port} {open} -j LOG --log-prefix \"{prefix}\""),
                );
                why = "";
            }
            rule(ENTER, &format!("{open} -j ACCEPT"));
        }
        // Only the chain knows who may connect, so all is logged before it where that matters.
        Some(Backend::Iptables) if rules.once.is_empty() => rule(ENTER, &enter()),
        Some(Backend::Iptables | Backend::Nft) | None => {}
    }
    let tcp = match rules.tcp {
        Tcp::Starts => "-p tcp --tcp-flags SYN,ACK SYN",
        Tcp::Every => "-p tcp",
    };
    let mut why = "Every port is logged, so that a scan is seen to hit the wrong ones; no address fills the log.\n\
                   # A busy public port need not be:  -A LOGKNOCK_INPUT -p tcp --dport 443 -j RETURN";
    for packets in [tcp, "-p udp"] {
        rule(
            why,
            &format!(
                "{packets} -m pkttype --pkt-type unicast {} -j LOG --log-prefix \"{prefix}\"",
                hashlimit(family)
            ),
        );
        why = "";
    }
    if rules.backend == Some(Backend::Iptables) && !rules.once.is_empty() {
        rule(
            "Who has knocked may connect, and is logged before: one connection closes the door again.",
            &enter(),
        );
    }
    let mut why = "Only what a door opens is closed to all others.";
    for transport in [Transport::Tcp, Transport::Udp] {
        for port in of(transport, rules.guarded) {
            rule(
                why,
                &format!("-p {} --dport {port} -j DROP", transport.as_str()),
            );
            why = "";
        }
    }
    text
}

/// A rate for each address, of IPv6 each /64. The table is large and soon empty again: where it is
/// full, hashlimit drops.
fn hashlimit(family: Family) -> String {
    let mask = match family {
        Family::V4 => 32,
        Family::V6 => 64,
    };
    format!(
        "-m hashlimit --hashlimit-name logknock --hashlimit-mode srcip --hashlimit-srcmask {mask} \
         --hashlimit-upto {RATE}/second --hashlimit-burst {BURST} --hashlimit-htable-max 262144 \
         --hashlimit-htable-expire 10000"
    )
}

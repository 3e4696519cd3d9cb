//! The rules as `nft -f` loads them: a table of our own.
//!
//! One transaction. Sets and chains that are there stay, with what is open in them; only the rules are replaced. A
//! table's verdict `accept` does not bind other tables, and its `drop` does.

use std::fmt::Write as _;

use super::super::{Family, nft};
use super::base::{self, Line, Then, When};
use super::{BURST, LogTo, ONE_CONNECTION, RATE, Rules};

pub(super) const TABLE: &str = nft::TABLE;

const HEAD: &str = "\
# Rules for logknock. Load:  logknock rules --for nft | nft -f -
# They contain the log prefix, a secret: do not show them to others. Loading again keeps open doors.
# To keep them over a reboot:  logknock rules --for nft --install
# Other tables decide too: they must accept what this one lets in.
";

/// The hook where packets arrive, before any NAT.
pub(in super::super) const PREROUTING: &str =
    "type filter hook prerouting priority mangle; policy accept;";
/// The hook where they have arrived, before the filters of others.
pub(in super::super) const INPUT: &str =
    "type filter hook input priority filter - 10; policy accept;";

pub(super) fn load(rules: &Rules<'_>, prefix: &str) -> String {
    let once = if rules.once.is_empty() {
        ""
    } else {
        ONE_CONNECTION
    };
    format!("{HEAD}{once}\n{}", table(rules, prefix))
}

/// The same without its head, for others to put in.
pub(super) fn table(rules: &Rules<'_>, prefix: &str) -> String {
    let sets = if rules.guarded.is_empty() {
        String::new()
    } else {
        Family::ALL.map(open_set).concat()
    };
    let log: Vec<_> = rules.log.iter().map(|to| log(*to, prefix)).collect();
    let log: Vec<_> = log.iter().map(String::as_str).collect();
    let mut arriving = base::preamble(rules.always, rules.public, rules.tcp);
    arriving.extend(base::let_in(rules));
    arriving.extend(base::others(rules));
    format!(
        include_str!("table.nft"),
        table = TABLE,
        sets = sets,
        at_prerouting = PREROUTING,
        at_input = INPUT,
        rate = RATE,
        burst = BURST,
        log = log.join("\n        "),
        arriving = draw(&arriving, &log),
        input = draw(&base::input(rules), &log),
    )
}

pub(super) fn remove() -> String {
    format!(
        "\
# Removes the rules of logknock.  logknock rules --for nft --remove | nft -f -
# Stop logknock first: what it has to close is gone with the table.
add table {TABLE}
delete table {TABLE}
"
    )
}

fn open_set(family: Family) -> String {
    let (set, kind) = (nft::set(family), nft::set_type(family));
    format!(
        "# Open doors: which address may connect to which port. The kernel ends each entry.\n\
         add set {TABLE} {set} {{ type {kind}; flags timeout; }}\n"
    )
}

fn log(to: LogTo, prefix: &str) -> String {
    match to {
        // The sequence number tells a packet that is sent again from a new one.
        LogTo::Kernel => format!("log prefix \"{prefix}\" flags tcp sequence"),
        LogTo::Group(group) => format!("log prefix \"{prefix}\" group {group}"),
    }
}

/// The rules of a chain. `log` is what logs.
pub(in super::super) fn draw(lines: &[Line], log: &[&str]) -> String {
    let mut text = String::new();
    for line in lines {
        if !line.why.is_empty() {
            let _ = writeln!(text, "        # {}", line.why);
        }
        let when: Vec<_> = line.when.iter().map(asked).collect();
        let when = when.join(" ");
        let thens: &[&str] = match line.then {
            Then::Pass | Then::Enter => &["accept"],
            Then::Drop => &["drop"],
            Then::Log => &["jump knocks"],
            Then::LogAll => log,
        };
        for then in thens {
            let _ = writeln!(text, "        {when} {then}");
        }
    }
    text
}

fn asked(when: &When) -> String {
    match when {
        When::Loopback => "iif \"lo\"".to_owned(),
        When::Elsewhere => "fib daddr type != local".to_owned(),
        When::From(family, networks) => {
            let networks: Vec<_> = networks.iter().map(ToString::to_string).collect();
            format!("{} saddr {{ {} }}", nft::ip(*family), networks.join(", "))
        }
        When::To(transport, ports) => {
            let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
            format!("{} dport {{ {} }}", transport.as_str(), ports.join(", "))
        }
        When::Is(transport) => format!("meta l4proto {}", transport.as_str()),
        When::Begins => nft::SYN.to_owned(),
        When::Continues => "tcp flags & (syn | ack) != syn".to_owned(),
        When::Tracked => "ct state established,related".to_owned(),
        When::Redirected => "ct status dnat".to_owned(),
        When::Unicast => "meta pkttype host".to_owned(),
        When::Open(family) => {
            let (ip, set) = (nft::ip(*family), nft::set(*family));
            format!("{ip} saddr . meta l4proto . th dport @{set}")
        }
    }
}

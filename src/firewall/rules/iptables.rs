//! The rules for iptables and ip6tables: a script for `sh` around what the two `-restore` tools load.
//!
//! Rules go in by `iptables-restore -n`, at once or not at all, and the log prefix is on no command line that others
//! could see. Why a script: a restore file cannot ask whether the jump from a built-in chain is there already, so
//! loaded twice it would be there twice. Open doors are in chains (or a set) that are made once and never flushed.

use std::fmt::Write as _;

use super::super::{Backend, Family, ipset, iptables};
use super::base::{self, Line, Then, When};
use super::{BURST, LogTo, ONE_CONNECTION, RATE, Rules};

/// Longest prefix of a LOG rule (the kernel's field is 30 bytes with its NUL).
pub const MAX_PREFIX: usize = 29;

/// The chain where packets arrive, before any NAT (in `mangle`).
const PREROUTING: &str = "LOGKNOCK_PRE";
/// The chain of the same table that logs at a limited rate.
const LOG: &str = "LOGKNOCK_LOG";
/// The chain where packets have arrived (in `filter`).
const INPUT: &str = "LOGKNOCK_INPUT";

const HEAD: &str = "\
#!/bin/sh
# Rules for logknock. Load:  logknock rules --for iptables | sh
# They contain the log prefix, a secret: do not show them to others. Loading again keeps open doors.
# To keep them over a reboot:  logknock rules --for iptables --install
";

pub(super) fn load(rules: &Rules<'_>, prefix: &str) -> String {
    let mut text = HEAD.to_owned();
    if !rules.once.is_empty() {
        text += ONE_CONNECTION;
    }
    text += "set -e\n";
    if rules.backend == Some(Backend::Ipset) {
        text += "\n# Open doors: which address may connect to which port. The kernel ends each entry.\n\
                 ipset -exist restore <<'END'\n";
        for family in Family::ALL {
            let (set, inet) = (ipset::set(family), ipset::family(family));
            let _ = writeln!(text, "create {set} hash:ip,port family {inet} timeout 0");
        }
        text += "END\n";
    }
    for family in Family::ALL {
        let _ = writeln!(text, "\n# ---- {} ----", family.name());
        if rules.backend == Some(Backend::Iptables) {
            let (open, closed) = (iptables::CHAIN, iptables::CLOSED);
            let (tool, mangle) = (iptables::tool(family), iptables::mangle(family));
            let _ = write!(
                text,
                "# What is open. Made once, so that loading again closes nothing.\n\
                 {tool} -n -L {open} >/dev/null 2>&1 || {tool} -N {open}\n\
                 {mangle} -n -L {open} >/dev/null 2>&1 || {mangle} -N {open}\n\
                 {mangle} -n -L {closed} >/dev/null 2>&1 || {mangle} -N {closed}\n\
                 {mangle} -C {open} -j {closed} 2>/dev/null || {mangle} -A {open} -j {closed}\n"
            );
        }
        let (restore, tables) = (iptables::restore(family), tables(rules, family, prefix));
        let _ = writeln!(text, "{restore} <<'END'\n{tables}END");
        text += &jumps(family, [PREROUTING, INPUT]);
    }
    text
}

/// What lets each packet into a chain, before all other rules and once.
pub(in super::super) fn jumps(family: Family, [arriving, arrived]: [&str; 2]) -> String {
    let (tool, mangle) = (iptables::tool(family), iptables::mangle(family));
    format!(
        "# Before all other rules, once.\n\
         {tool} -C INPUT -j {arrived} 2>/dev/null || {tool} -I INPUT -j {arrived}\n\
         {mangle} -C PREROUTING -j {arriving} 2>/dev/null || {mangle} -I PREROUTING -j {arriving}\n"
    )
}

/// What takes that away, and the chains that are named or that the `found` of the tool's list are.
pub(in super::super) fn take_away(
    family: Family,
    [arriving, arrived]: [&str; 2],
    more: &str,
) -> String {
    let name = family.name();
    let (tool, mangle) = (iptables::tool(family), iptables::mangle(family));
    let mut text = format!("\n# ---- {name} ----\n{tool} -n -L INPUT >/dev/null || exit 1\n");
    for (tool, hook, chain) in [(mangle, "PREROUTING", arriving), (tool, "INPUT", arrived)] {
        // A chain can be deleted only when no other one jumps to it.
        let _ = write!(
            text,
            "while {tool} -D {hook} -j {chain} 2>/dev/null; do :; done\n\
             chains=\"{chain} {more}\"\n\
             for chain in $chains; do {tool} -F $chain 2>/dev/null; done\n\
             for chain in $chains; do {tool} -X $chain 2>/dev/null; done\n"
        );
    }
    text
}

pub(super) fn remove() -> String {
    format!(
        "\
#!/bin/sh
# Removes the rules of logknock.  logknock rules --for iptables --remove | sh
# Stop logknock first, so that it closes what is open.
{}exit 0
",
        remove_body()
    )
}

/// The same without its head.
pub(super) fn remove_body() -> String {
    let more = format!("{} {} {LOG}", iptables::CHAIN, iptables::CLOSED);
    let each = Family::ALL.map(|family| take_away(family, [PREROUTING, INPUT], &more));
    let [v4, v6] = Family::ALL.map(ipset::set);
    format!(
        "{}\nfor set in {v4} {v6}; do\n    ipset destroy $set 2>/dev/null\ndone\n",
        each.concat()
    )
}

/// What the restore tool of a family reads.
fn tables(rules: &Rules<'_>, family: Family, prefix: &str) -> String {
    let log: Vec<_> = rules.log.iter().map(|to| log(*to, prefix)).collect();
    let chain = |name| Chain {
        name,
        family,
        backend: rules.backend,
        log: &log,
    };
    // Only the chain of open doors leads to the rules for all others.
    let others = match rules.backend {
        Some(Backend::Iptables) => iptables::CLOSED,
        _ => PREROUTING,
    };
    let mut text = format!("*mangle\n:{PREROUTING} - [0:0]\n:{LOG} - [0:0]\n");
    if others != PREROUTING {
        let _ = writeln!(text, ":{others} - [0:0]");
    }
    text += "# No address fills the log. The list forgets the oldest when it is full: nothing is dropped.\n";
    text += &limit(family);
    for log in &log {
        let _ = writeln!(text, "-A {LOG} {log}");
    }
    text += &chain(PREROUTING).draw(base::preamble(rules.always, rules.public, rules.tcp));
    text += &chain(PREROUTING).draw(base::let_in(rules));
    text += &chain(others).draw(base::others(rules));
    let _ = write!(text, "COMMIT\n*filter\n:{INPUT} - [0:0]\n");
    text += &chain(INPUT).draw(base::input(rules));
    text += "COMMIT\n";
    text
}

/// A rate for each address, of IPv6 each /64.
fn limit(family: Family) -> String {
    let list = family.pick("logknock4", "logknock6");
    let mask = family.pick("255.255.255.255", "ffff:ffff:ffff:ffff::");
    let list = format!("-m recent --name {list} --mask {mask}");
    format!(
        "-A {LOG} {list} --rcheck --seconds {} --hitcount {BURST} -j RETURN\n-A {LOG} {list} --set\n",
        BURST / RATE
    )
}

fn log(to: LogTo, prefix: &str) -> String {
    match to {
        // The sequence number tells a packet that is sent again from a new one.
        LogTo::Kernel => format!("-j LOG --log-tcp-sequence --log-prefix \"{prefix}\""),
        LogTo::Group(group) => {
            format!("-j NFLOG --nflog-group {group} --nflog-prefix \"{prefix}\"")
        }
    }
}

const BEGINS: &str = "--tcp-flags SYN,ACK SYN";

/// A chain to draw rules of.
pub(in super::super) struct Chain<'a> {
    pub(in super::super) name: &'a str,
    pub(in super::super) family: Family,
    /// The set of addresses that knocked.
    pub(in super::super) backend: Option<Backend>,
    /// What logs.
    pub(in super::super) log: &'a [String],
}

impl Chain<'_> {
    /// The rules, of which the other family's are left out.
    pub(in super::super) fn draw(&self, lines: impl IntoIterator<Item = Line>) -> String {
        let (mut text, mut why) = (String::new(), "");
        for line in lines {
            if !line.why.is_empty() {
                why = line.why;
            }
            for when in self.each(&line.when) {
                if !why.is_empty() {
                    let _ = writeln!(text, "# {why}");
                    why = "";
                }
                for then in self.then(&line) {
                    let _ = writeln!(text, "-A {} {when}{then}", self.name);
                }
            }
        }
        text
    }

    fn then(&self, line: &Line) -> Vec<String> {
        let asks_chain = self.backend == Some(Backend::Iptables)
            && line.when.iter().any(|when| matches!(when, When::Open(_)));
        let target = match line.then {
            // Every connection is logged, so there is a limit.
            Then::LogAll if asks_chain => LOG,
            Then::LogAll => return self.log.to_vec(),
            Then::Pass | Then::Enter if asks_chain => iptables::CHAIN,
            Then::Pass => "RETURN",
            Then::Enter => "ACCEPT",
            Then::Drop => "DROP",
            Then::Log => LOG,
        };
        vec![format!("-j {target}")]
    }

    /// One rule for each port and network.
    fn each(&self, when: &[When]) -> Vec<String> {
        let mut rules = vec![String::new()];
        // `-p` before what needs it.
        let mut sorted: Vec<_> = when.iter().collect();
        sorted.sort_by_key(|when| match when {
            When::To(..) | When::Is(_) => 0,
            When::Begins | When::Continues => 1,
            _ => 2,
        });
        let names_protocol = matches!(sorted.first(), Some(When::To(..) | When::Is(_)));
        for when in sorted {
            let mut words = self.asked(when);
            if !names_protocol && matches!(when, When::Begins | When::Continues) {
                words = words
                    .into_iter()
                    .map(|words| format!("-p tcp {words}"))
                    .collect();
            }
            let join = |rule: &String, word: &String| match word.as_str() {
                "" => rule.clone(),
                word => format!("{rule}{word} "),
            };
            rules = rules
                .iter()
                .flat_map(|rule| words.iter().map(move |word| join(rule, word)))
                .collect();
        }
        rules
    }

    /// One of these must be so.
    fn asked(&self, when: &When) -> Vec<String> {
        let word = match when {
            When::Loopback => "-i lo",
            When::Elsewhere => "-m addrtype ! --dst-type LOCAL",
            When::Begins => BEGINS,
            When::Continues => "! --tcp-flags SYN,ACK SYN",
            When::Tracked => "-m conntrack --ctstate ESTABLISHED,RELATED",
            When::Redirected => "-m conntrack --ctstate DNAT",
            When::Unicast => "-m pkttype --pkt-type unicast",
            When::From(family, _) | When::Open(family) if *family != self.family => {
                return Vec::new();
            }
            When::From(_, networks) => {
                return networks.iter().map(|net| format!("-s {net}")).collect();
            }
            When::To(transport, ports) => {
                let proto = transport.as_str();
                let ports = ports.iter();
                return ports
                    .map(|port| format!("-p {proto} --dport {port}"))
                    .collect();
            }
            When::Is(transport) => return vec![format!("-p {}", transport.as_str())],
            When::Open(_) if self.backend == Some(Backend::Iptables) => return vec![String::new()],
            When::Open(family) => {
                return vec![format!(
                    "-m set --match-set {} src,dst",
                    ipset::set(*family)
                )];
            }
        };
        vec![word.to_owned()]
    }
}

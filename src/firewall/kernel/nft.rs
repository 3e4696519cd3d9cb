//! Knockers of nft sets with timeouts: a table of their own, for both families.
//!
//! For each door and family there is a set of addresses that have begun; its timeout is the window of the whole
//! knock; one for each stage; and a set of addresses that may connect. An address is in one stage at most, and
//! without having begun in none. One transaction: existing sets stay, with their elements.

use std::fmt::{Display, Write as _};
use std::time::Duration;

use ipnet::IpNet;

use super::super::Family;
use super::super::nft::{self, SYN};
use super::super::rules::nft::{INPUT, PREROUTING, draw};
use super::super::rules::{ONE_CONNECTION, base};
use super::{Kept, Knocker, stage};
use crate::engine::door::{Rule, SequenceRule};
use crate::engine::sequence::{Step, Transport};

/// Family and name of the table.
pub(in super::super) const TABLE: &str = "inet logknock_only";

const HEAD: &str = "\
# A whole port knocker in the kernel: no daemon, no log.  Load:  logknock rules --for nft-only | nft -f -
# It contains the knock, a secret: do not show it to others. Loading again keeps open doors and begun knocks.
# To keep it over a reboot:  logknock rules --for nft-only --install
# Other tables decide too: they must accept what this one lets in.
";

pub(super) fn load(knocker: &Knocker<'_>) -> String {
    let doors: Vec<_> = Family::ALL
        .into_iter()
        .flat_map(|family| knocker.doors.iter().map(move |door| (family, door)))
        .filter(|(family, door)| door.is_for(*family))
        .filter_map(|(family, door)| match door.rule {
            Rule::Sequence(rule) => Some(Drawn { door, rule, family }),
            // Refused before: nft does not count, and nothing here opens once.
            Rule::Counts(_) | Rule::OneTime(_) => None,
        })
        .collect();
    let mut text = format!("{HEAD}{ONE_CONNECTION}\nadd table {TABLE}\nflush table {TABLE}\n");
    for door in &doors {
        door.sets(&mut text);
    }
    for door in &doors {
        let _ = writeln!(text, "add chain {TABLE} {}", door.chain());
    }
    let _ = writeln!(
        text,
        "add chain {TABLE} prerouting {{ {PREROUTING} }}\n\
         add chain {TABLE} input {{ {INPUT} }}\n\
         table {TABLE} {{"
    );
    for door in &doors {
        let _ = write!(
            text,
            "    chain {} {{\n{}    }}\n",
            door.chain(),
            door.knocks().0
        );
    }
    let mut arriving = Chain::default();
    for door in &doors {
        door.let_in(&mut arriving);
    }
    for door in &doors {
        door.listen(&mut arriving);
    }
    let (before, arriving) = (draw(&knocker.preamble(), &[]), arriving.0);
    let guard = draw(&base::guard(knocker.guarded), &[]);
    let input = draw(&knocker.input(), &[]);
    let _ = write!(
        text,
        "    chain prerouting {{\n{before}{arriving}{guard}    }}\n    chain input {{\n{input}    }}\n}}\n"
    );
    text
}

pub(super) fn remove() -> String {
    format!(
        "\
# Removes this port knocker.  logknock rules --for nft-only --remove | nft -f -
add table {TABLE}
delete table {TABLE}
"
    )
}

/// The text of a chain's rules.
#[derive(Default)]
struct Chain(String);

impl Chain {
    fn note(&mut self, why: impl Display) {
        let _ = writeln!(self.0, "        # {why}");
    }

    fn rule(&mut self, rule: impl Display) {
        let _ = writeln!(self.0, "        {rule}");
    }
}

/// A door in one family.
struct Drawn<'a> {
    door: &'a Kept<'a>,
    rule: &'a SequenceRule,
    family: Family,
}

impl Drawn<'_> {
    /// `4` or `6`: what its names have.
    fn digit(&self) -> char {
        self.family.pick('4', '6')
    }

    fn chain(&self) -> String {
        format!("door{}_{}", self.digit(), self.door.name)
    }

    fn set(&self, what: &str) -> String {
        format!("{what}{}_{}", self.digit(), self.door.name)
    }

    /// The addresses with this number of right knocks.
    fn stage(&self, number: usize) -> String {
        self.set(&format!("stage{number}_"))
    }

    fn sets(&self, text: &mut String) {
        let address = nft::address_type(self.family);
        let steps = self.rule.sequence.len();
        let mut set = |name: &str, kind: &str| {
            let _ = writeln!(
                text,
                "add set {TABLE} {name} {{ type {kind}; size 65536; flags dynamic, timeout; }}"
            );
        };
        set(&self.set("open"), address);
        set(
            &self.set("seen"),
            &format!("{address} . {address} . inet_service . inet_service"),
        );
        if steps > 1 {
            set(&self.set("began"), address);
        }
        for number in 1..steps {
            set(&self.stage(number), address);
        }
    }

    /// An address that knocked may connect.
    fn let_in(&self, chain: &mut Chain) {
        let (source, open) = (format!("{} saddr", nft::ip(self.family)), self.set("open"));
        let (door, family) = (self.door.name, self.family.name());
        chain.note(format_args!(
            "Door {door}, {family}: an address that knocked may come in, by TCP once."
        ));
        if let Some(ports) = list(self.door.opens(Transport::Tcp)) {
            let once = format!("delete @{open} {{ {source} }}");
            chain.rule(format_args!(
                "{SYN} tcp dport {ports} {source} @{open} {once} accept"
            ));
        }
        if let Some(ports) = list(self.door.opens(Transport::Udp)) {
            chain.rule(format_args!("udp dport {ports} {source} @{open} accept"));
        }
    }

    /// Which packets its chain sees.
    fn listen(&self, chain: &mut Chain) {
        let (scope, ip) = (self.door.scope, nft::ip(self.family));
        let family = self.family.pick("ipv4", "ipv6");
        let mut place = format!("meta nfproto {family} meta pkttype host");
        if let Some(interface) = &scope.interface {
            let _ = write!(place, " iifname \"{interface}\"");
        }
        if let Some(target) = scope.target {
            let _ = write!(place, " {ip} daddr {target}");
        }
        if let Some(allow) = networks(self.family, &scope.allow) {
            let _ = write!(place, " {ip} saddr {allow}");
        }
        let minds = self.door.minds();
        let ports_of = |transport: Transport| {
            let steps = minds.iter().flatten();
            let ports = steps.filter(move |step| step.transport == transport);
            list(ports.map(|step| step.port))
        };
        chain.note(format_args!("Door {}: what it looks at.", self.door.name));
        let to = self.chain();
        if minds.is_none() {
            chain.rule(format_args!("{place} {SYN} jump {to}"));
            chain.rule(format_args!("{place} meta l4proto udp jump {to}"));
        }
        if let Some(ports) = ports_of(Transport::Tcp) {
            chain.rule(format_args!("{place} {SYN} tcp dport {ports} jump {to}"));
        }
        if let Some(ports) = ports_of(Transport::Udp) {
            chain.rule(format_args!("{place} udp dport {ports} jump {to}"));
        }
    }

    /// What it does with them.
    fn knocks(&self) -> Chain {
        let mut chain = Chain::default();
        let (ip, open, began) = (nft::ip(self.family), self.set("open"), self.set("began"));
        let source = format!("{ip} saddr");
        let steps = self.rule.sequence.steps();
        let Some((first, later)) = steps.split_first() else {
            return chain;
        };
        if let Some(deny) = networks(self.family, &self.door.scope.deny) {
            chain.rule(format_args!("{source} {deny} return"));
        }
        let hold = timeout(self.door.hold);
        let opening = format!("update @{open} {{ {source} timeout {hold} }} return");
        chain.note("An address that has not begun, and does not begin now, is ignored here.");
        let nobody_yet = match later {
            [] => String::new(),
            _ => format!("{source} != @{began} "),
        };
        let (proto, port) = (first.transport.as_str(), first.port);
        chain.rule(format_args!(
            "{nobody_yet}meta l4proto . th dport != {{ {proto} . {port} }} return"
        ));
        self.once(&mut chain);
        if later.is_empty() {
            chain.note("The only knock: open.");
            chain.rule(opening);
            return chain;
        }
        let pace = &self.rule.pace;
        let window = timeout(pace.window);
        let gap = pace.knock_timeout.unwrap_or(pace.window);
        let gap = timeout(gap.min(pace.window));
        for (index, step) in later.iter().enumerate().rev() {
            let done = index + 1;
            let (at, step) = (self.stage(done), dport(*step));
            let leave = format!("delete @{at} {{ {source} }}");
            let (words, then) = if done + 1 == steps.len() {
                let forget = format!("{leave} delete @{began} {{ {source} }}");
                ("this is the last: open", format!("{forget} {opening}"))
            } else {
                let next = self.stage(done + 1);
                let enter = format!("add @{next} {{ {source} timeout {gap} }}");
                ("so is this", format!("{leave} {enter} return"))
            };
            let stage = stage(done, steps.len());
            chain.note(format_args!("{stage} were right in time, and {words}."));
            chain.rule(format_args!(
                "{source} @{began} {source} @{at} {step} {then}"
            ));
        }
        chain.note("Anything else starts over, and may be a first knock.");
        let stages = (1..steps.len()).map(|number| self.stage(number));
        let all: Vec<_> = std::iter::once(began.clone())
            .chain(stages)
            .map(|set| format!("delete @{set} {{ {source} }}"))
            .collect();
        chain.rule(all.join(" "));
        let starts = format!("add @{began} {{ {source} timeout {window} }}");
        let enter = format!("add @{} {{ {source} timeout {gap} }}", self.stage(1));
        chain.rule(format_args!("{} {starts} {enter}", dport(*first)));
        chain
    }

    /// The daemon counts a retransmission once; here a set of seen packets does.
    fn once(&self, chain: &mut Chain) {
        let (ip, seen) = (nft::ip(self.family), self.set("seen"));
        let packet = format!("{ip} saddr . {ip} daddr . tcp sport . tcp dport");
        chain.note("A SYN that is sent again counts once, for 10 s.");
        chain.rule(format_args!("{packet} @{seen} return"));
        chain.rule(format_args!("add @{seen} {{ {packet} timeout 10s }}"));
    }
}

/// Ports as a set; `None` when there are none.
fn list(ports: impl Iterator<Item = u16>) -> Option<String> {
    let ports: Vec<_> = ports.map(|port| port.to_string()).collect();
    (!ports.is_empty()).then(|| format!("{{ {} }}", ports.join(", ")))
}

/// The networks of a family as a set; `None` when there are none.
fn networks(family: Family, networks: &[IpNet]) -> Option<String> {
    let networks: Vec<_> = family
        .networks(networks)
        .iter()
        .map(IpNet::to_string)
        .collect();
    (!networks.is_empty()).then(|| format!("{{ {} }}", networks.join(", ")))
}

fn dport(step: Step) -> String {
    format!("{} dport {}", step.transport.as_str(), step.port)
}

/// What is below a millisecond is left out: rather closed too early. nft takes eight digits of milliseconds at most.
fn timeout(time: Duration) -> String {
    format!("{}s{}ms", time.as_secs(), time.subsec_millis())
}

//! Knockers of iptables' `recent` match, for both families: a script for `sh` around what the two
//! `-restore` tools load, for the reason that [`super::super::rules`] has too.
//!
//! For each door there is a list of addresses that have begun, with the time of every right hit, and a list of
//! addresses that may connect. So `--seconds T --hitcount k` at the k-th hit says that the first is not older than T,
//! and `! --hitcount k+1` that there are no more. A match that begins with `--set` or `--remove` does so only where
//! everything before it in the rule has matched.

use std::fmt::{Display, Write as _};

use super::super::rules::ONE_CONNECTION;
use super::super::rules::base::guard;
use super::super::rules::iptables::{self as rules, jumps, take_away};
use super::super::{Family, iptables};
use super::{Kept, Knocker, stage};
use crate::engine::door::{CountsRule, Rule, SequenceRule};
use crate::engine::sequence::{Step, Transport};

/// The chain that PREROUTING jumps to in `mangle`, and INPUT in `filter`; those of the doors are in `mangle`.
const MAIN: &str = "LOGKNOCK_RECENT";

/// The start of a TCP connection.
const SYN: &str = "-p tcp --tcp-flags SYN,ACK SYN";

const HEAD: &str = "\
#!/bin/sh
# A whole port knocker in the kernel: no daemon, no log.  Load:  logknock rules --for iptables-recent | sh
# It contains the knock, a secret: do not show it to others. Loading again keeps open doors and begun knocks.
# To keep it over a reboot:  logknock rules --for iptables-recent --install
# Every local user can read in /proc/net/xt_recent which addresses are in the middle of a knock. A list holds 100 addresses
# (xt_recent.ip_list_tot); one more removes the oldest.
";

pub(super) fn load(knocker: &Knocker<'_>) -> String {
    let mut text = format!("{HEAD}{ONE_CONNECTION}set -e\n");
    for family in Family::ALL {
        let (name, restore) = (family.name(), iptables::restore(family));
        let tables = tables(knocker, family);
        let _ = writeln!(text, "\n# ---- {name} ----\n{restore} <<'END'\n{tables}END");
        text += &jumps(family, [MAIN, MAIN]);
    }
    text
}

pub(super) fn remove() -> String {
    let mut text = "\
#!/bin/sh
# Removes this port knocker.  logknock rules --for iptables-recent --remove | sh
"
    .to_owned();
    for family in Family::ALL {
        let (tool, mangle) = (iptables::tool(family), iptables::mangle(family));
        let doors = format!(
            "$({{ {tool} -S; {mangle} -S; }} | sed -n 's/^-N \\(LOGKNOCK_R[0-9][0-9]*\\)$/\\1/p')"
        );
        text += &take_away(family, [MAIN, MAIN], &doors);
    }
    text + "exit 0\n"
}

/// What the restore tool of a family reads.
fn tables(knocker: &Knocker<'_>, family: Family) -> String {
    let doors: Vec<_> = knocker
        .doors
        .iter()
        .zip(1..)
        .filter(|(door, _)| door.is_for(family))
        .map(|(door, number)| Drawn::new(door, family, number))
        .collect();
    let main = rules::Chain {
        name: MAIN,
        family,
        backend: None,
        log: &[],
    };
    let mut text = format!("*mangle\n:{MAIN} - [0:0]\n");
    for door in &doors {
        let _ = writeln!(text, ":{} - [0:0]", door.chain);
    }
    text += &main.draw(knocker.preamble());
    let mut knocks = Chain::new(MAIN);
    for door in &doors {
        door.let_in(&mut knocks);
    }
    for door in &doors {
        door.listen(&mut knocks);
    }
    text += &knocks.text;
    text += &main.draw(guard(knocker.guarded));
    for door in &doors {
        text += &door.knocks().text;
    }
    let input = main.draw(knocker.input());
    let _ = write!(text, "COMMIT\n*filter\n:{MAIN} - [0:0]\n{input}COMMIT\n");
    text
}

/// Rules of one chain.
struct Chain<'a> {
    name: &'a str,
    text: String,
}

impl<'a> Chain<'a> {
    fn new(name: &'a str) -> Self {
        let text = String::new();
        Self { name, text }
    }

    fn note(&mut self, why: impl Display) {
        let _ = writeln!(self.text, "# {why}");
    }

    fn rule(&mut self, rule: impl Display) {
        let _ = writeln!(self.text, "-A {} {rule}", self.name);
    }
}

/// A door with the names of its lists in one family.
struct Drawn<'a> {
    door: &'a Kept<'a>,
    family: Family,
    number: usize,
    chain: String,
    /// Addresses that have begun, and addresses that may connect.
    way: String,
    open: String,
}

impl<'a> Drawn<'a> {
    fn new(door: &'a Kept<'a>, family: Family, number: usize) -> Self {
        let list = family.pick("logknock4", "logknock6");
        let name = door.name;
        Self {
            door,
            family,
            number,
            chain: format!("LOGKNOCK_R{number}"),
            way: format!("-m recent --name {list}-way-{name}"),
            open: format!("-m recent --name {list}-open-{name}"),
        }
    }

    /// An address that knocked may connect.
    fn let_in(&self, main: &mut Chain<'_>) {
        if let Rule::Counts(rule) = self.door.rule {
            self.let_in_by_counts(rule, main);
            if rule.while_right {
                return;
            }
        }
        let (open, hold) = (&self.open, self.door.hold.as_secs());
        let door = self.door.name;
        main.note(format_args!(
            "Door {door}: an address that knocked within {hold} s may come in, by TCP once."
        ));
        for port in self.door.opens(Transport::Tcp) {
            let port = format!("{SYN} --dport {port} {open} --rcheck --seconds {hold}");
            main.rule(format_args!("{port} {open} --remove -j RETURN"));
        }
        for port in self.door.opens(Transport::Udp) {
            main.rule(format_args!(
                "-p udp --dport {port} {open} --rcheck --seconds {hold} -j RETURN"
            ));
        }
    }

    /// Open Sesamy's rules for a connection: it comes in while the hits are right, and takes the record with it;
    /// with too few hits it may be one itself; else all are forgotten.
    fn let_in_by_counts(&self, rule: &CountsRule, main: &mut Chain<'_>) {
        let way = &self.way;
        let (right, full) = self.right(rule);
        let door = self.door.name;
        main.note(format_args!(
            "Door {door}: an address with the right hits may come in, by TCP once."
        ));
        for port in self.door.opens(Transport::Tcp) {
            let port = format!("{SYN} --dport {port}");
            main.rule(format_args!("{port} {right}{way} --remove -j RETURN"));
            main.rule(format_args!("{port} {full}{way} --remove -j DROP"));
        }
        for port in self.door.opens(Transport::Udp) {
            main.rule(format_args!("-p udp --dport {port} {right}-j RETURN"));
        }
    }

    /// Matches of a record whose windows hold their counts, and of one that holds enough hits at all.
    fn right(&self, rule: &CountsRule) -> (String, String) {
        let (way, window) = (&self.way, rule.window.as_secs());
        let (mut sum, mut right, mut full) = (0, String::new(), String::new());
        let all = rule.groups().len();
        for (&count, windows) in rule.groups().iter().rev().zip(1..) {
            sum += u64::from(count);
            let check = format!("--seconds {} --hitcount", windows * window);
            full = format!("{way} --rcheck {check} {sum} ");
            right += &full;
            // Of the last window more than enough is enough, where there are others.
            if windows < all as u64 || all == 1 {
                let _ = write!(right, "{way} ! --rcheck {check} {} ", sum + 1);
            }
        }
        (right, full)
    }

    /// Which packets its chain sees.
    fn listen(&self, main: &mut Chain<'_>) {
        let scope = self.door.scope;
        let mut place = String::new();
        if let Some(interface) = &scope.interface {
            let _ = write!(place, "-i {interface} ");
        }
        if let Some(target) = scope.target {
            let _ = write!(place, "-d {target} ");
        }
        let mut sources: Vec<_> = self
            .family
            .networks(&scope.allow)
            .iter()
            .map(|net| format!("{place}-s {net} "))
            .collect();
        if sources.is_empty() {
            sources.push(place);
        }
        let packets: Vec<_> = match self.door.minds() {
            None => vec![SYN.to_owned(), "-p udp".to_owned()],
            Some(steps) => steps.iter().map(|step| hit(*step)).collect(),
        };
        main.note(format_args!("Door {}: what it looks at.", self.door.name));
        for source in sources {
            for packet in &packets {
                let unicast = format!("{source}{packet} -m pkttype --pkt-type unicast");
                main.rule(format_args!("{unicast} -j {}", self.chain));
            }
        }
    }

    /// What it does with them.
    fn knocks(&self) -> Chain<'_> {
        let mut chain = Chain::new(&self.chain);
        let name = self.door.name;
        chain.note(format_args!("Door {name}: its knock."));
        for net in self.family.networks(&self.door.scope.deny) {
            chain.rule(format_args!("-s {net} -j RETURN"));
        }
        match self.door.rule {
            Rule::Sequence(rule) => self.sequence(rule, &mut chain),
            Rule::Counts(rule) => self.counts(rule, &mut chain),
            // Refused before.
            Rule::OneTime(_) => {}
        }
        chain
    }

    fn sequence(&self, rule: &SequenceRule, chain: &mut Chain<'_>) {
        let (way, open) = (&self.way, &self.open);
        let steps = rule.sequence.steps();
        let Some((first, later)) = steps.split_first() else {
            return;
        };
        chain.note("An address that has not begun, and does not begin now, is ignored here.");
        let [this, other] = match first.transport {
            Transport::Tcp => ["tcp", "udp"],
            Transport::Udp => ["udp", "tcp"],
        };
        let others = format!("-p {this} ! --dport {}", first.port);
        chain.rule(format_args!("{others} {way} ! --rcheck -j RETURN"));
        chain.rule(format_args!("-p {other} {way} ! --rcheck -j RETURN"));
        self.once(chain);
        let (window, all) = (rule.pace.window.as_secs(), steps.len());
        for (index, step) in later.iter().enumerate().rev() {
            let done = index + 1;
            let (words, then) = if done + 1 == all {
                let then = format!("{way} --remove {open} --set");
                ("this is the last: open", then)
            } else {
                let next = done + 1;
                let then = format!("{way} ! --rcheck --hitcount {next} {way} --set");
                ("so is this", then)
            };
            let stage = stage(done, all);
            chain.note(format_args!(
                "{stage} were right within {window} s, and {words}."
            ));
            let gap = rule.pace.knock_timeout.map_or(String::new(), |gap| {
                format!("{way} --rcheck --seconds {} ", gap.as_secs())
            });
            chain.rule(format_args!(
                "{} {way} --rcheck --seconds {window} --hitcount {done} {gap}{then} -j RETURN",
                dport(*step)
            ));
        }
        if later.is_empty() {
            chain.note("The only knock: open.");
            chain.rule(format_args!("{} {open} --set", dport(*first)));
            return;
        }
        chain.note("Anything else starts over, and may be a first knock.");
        chain.rule(format_args!("{way} --remove"));
        chain.rule(format_args!("{} {way} --set", dport(*first)));
    }

    fn counts(&self, rule: &CountsRule, chain: &mut Chain<'_>) {
        let (way, open) = (&self.way, &self.open);
        let (sum, all) = (rule.total(), rule.span().as_secs());
        self.once(chain);
        chain.note("A hit after one too many, or after twice as many in all, makes all forgotten; any other is remembered.");
        for check in [
            format!("--seconds {all} --hitcount {}", sum + 1),
            format!("--hitcount {}", 2 * sum + 1),
        ] {
            chain.rule(format_args!(
                "{way} --rcheck {check} {way} --remove -j RETURN"
            ));
        }
        chain.rule(format_args!("{way} --set"));
        if !rule.while_right {
            chain.note("Right at this hit: open.");
            chain.rule(format_args!("{}{open} --set", self.right(rule).0));
        }
    }

    /// The daemon counts a retransmission once; here a bucket of one packet that fills in 10 s does. hashlimit drops
    /// what finds no room for a bucket, so the limit before it asks for fewer than there is room for.
    fn once(&self, chain: &mut Chain<'_>) {
        chain.note("A SYN that is sent again counts once, for 10 s.");
        chain.rule(format_args!(
            "-p tcp -m limit --limit 10000/second --limit-burst 10000 -m hashlimit --hashlimit-name logknock-{} \
             --hashlimit-mode srcip,srcport,dstip,dstport --hashlimit-above 6/minute --hashlimit-burst 1 \
             --hashlimit-htable-max 262144 --hashlimit-htable-expire 10000 -j RETURN",
            self.number
        ));
    }
}

/// A packet that is this step.
fn hit(step: Step) -> String {
    match step.transport {
        Transport::Tcp => format!("{SYN} --dport {}", step.port),
        Transport::Udp => dport(step),
    }
}

/// The same among packets of which that is known.
fn dport(step: Step) -> String {
    format!("-p {} --dport {}", step.transport.as_str(), step.port)
}

//! What `iptables-save` prints, as rules of the model.

use super::super::{Backend, Family};
use super::{Chain, Hook, Kernel, Match, Point, Rule, Then};
use crate::engine::sequence::Transport;

/// Options that ask a packet nothing, with a value and without.
const WITH_A_VALUE: &str = "-m --comment --limit-burst --name --mask --seconds --hashlimit-upto \
    --hashlimit-burst --hashlimit-mode --hashlimit-name --hashlimit-srcmask --hashlimit-htable-max \
    --hashlimit-htable-expire --log-level --reject-with --nflog-threshold --to-destination --to-ports";
const ALONE: &str =
    "--set --rsource --log-tcp-sequence --log-tcp-options --log-ip-options --log-uid src,dst";

fn has(words: &str, word: &str) -> bool {
    words.split(' ').any(|other| other == word)
}

pub(super) fn read(kernel: &mut Kernel, family: Family, text: &str) {
    let mut table = String::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('*') {
            let ip = family.pick("ip", "ip6");
            table = format!("{ip} {name}");
        } else if let Some(declared) = line.strip_prefix(':') {
            let mut words = declared.split(' ');
            let (name, policy) = (words.next().unwrap_or_default(), words.next());
            if name == "LOGKNOCK" {
                kernel.open.push(name.to_owned());
            }
            kernel.chains.push(Chain {
                table: table.clone(),
                family: Some(family),
                name: name.to_owned(),
                hook: hook(&table, name, policy == Some("DROP")),
                rules: Vec::new(),
            });
        } else if let Some(rule) = line.strip_prefix("-A ")
            && let Some(words) = shlex::split(rule)
            && let Some((name, words)) = words.split_first()
        {
            let rule = read_rule(words, &mut kernel.open);
            if let Some(chain) = kernel.chain(&table, name) {
                chain.rules.push(rule);
            }
        }
    }
}

fn hook(table: &str, name: &str, drops: bool) -> Option<Hook> {
    let point = match name {
        "PREROUTING" => Point::Prerouting,
        "INPUT" => Point::Input,
        _ => return None,
    };
    let (_, table) = table.split_once(' ')?;
    let priority = match (table, point) {
        ("raw", _) => -300,
        ("mangle", _) => -150,
        ("nat", Point::Prerouting) => -100,
        ("nat", Point::Input) => 100,
        ("security", _) => 50,
        _ => 0,
    };
    Some(Hook {
        point,
        priority,
        drops,
    })
}

fn read_rule(words: &[String], open: &mut Vec<String>) -> Rule {
    let mut rule = Rule::default();
    let mut words = words.iter().map(String::as_str).peekable();
    let mut wanted = true;
    while let Some(word) = words.next() {
        if word == "!" {
            wanted = false;
            continue;
        }
        let mut next = || words.next().unwrap_or_default();
        let asked = match word {
            "-p" => match next() {
                "tcp" => Some(Match::Transport(Transport::Tcp, wanted)),
                "udp" => Some(Match::Transport(Transport::Udp, wanted)),
                _ if wanted => Some(Match::Never),
                _ => None,
            },
            "--dport" | "--dports" => {
                Some(ports(next()).map_or(Match::Unknown, |ports| Match::Ports(ports, wanted)))
            }
            "--syn" => Some(Match::Begins(wanted)),
            "--tcp-flags" => {
                let (_, set) = (next(), next());
                Some(if set == "SYN" {
                    Match::Begins(wanted)
                } else {
                    Match::Unknown
                })
            }
            "--ctstate" | "--state" => Some(states(next(), wanted)),
            "-s" => {
                let _ = next();
                Some(Match::From(wanted))
            }
            "-i" => Some(interface(next(), wanted)),
            "--dst-type" => Some(if next() == "LOCAL" {
                Match::Local(wanted)
            } else {
                Match::Unknown
            }),
            "--pkt-type" => Some(Match::Local((next() == "unicast") == wanted)),
            "--limit" => {
                rule.rate = rate(next());
                None
            }
            "--match-set" => {
                let set = next();
                if set.starts_with("logknock") {
                    open.push(set.to_owned());
                    Some(Match::Open(Backend::Ipset))
                } else {
                    Some(Match::Unknown)
                }
            }
            // Few addresses have sent that number, and a single packet has no history.
            "--rcheck" | "--update" if wanted => Some(Match::Never),
            "--hitcount" | "--hashlimit-above" => {
                let _ = next();
                Some(Match::Never)
            }
            _ if has(WITH_A_VALUE, word) => {
                let _ = next();
                None
            }
            _ if has(ALONE, word) => None,
            "--nflog-group" => {
                rule.group = next().parse().ok();
                None
            }
            "--log-prefix" | "--nflog-prefix" => {
                rule.log = Some(next().to_owned());
                None
            }
            "-j" | "-g" => {
                jump(&mut rule, next(), word == "-g");
                None
            }
            _ => Some(Match::Unknown),
        };
        rule.when.extend(asked);
        wanted = true;
    }
    rule
}

fn jump(rule: &mut Rule, target: &str, goes: bool) {
    rule.then = then(target, goes);
    if matches!(target, "LOG" | "NFLOG") {
        rule.log.get_or_insert_default();
    }
    if target == "NFLOG" {
        rule.group.get_or_insert(0);
    }
}

fn then(target: &str, goes: bool) -> Option<Then> {
    Some(match target {
        "ACCEPT" => Then::Accept,
        "DROP" | "REJECT" => Then::Drop,
        "RETURN" => Then::Return,
        "DNAT" | "REDIRECT" | "TPROXY" => Then::Rewrite,
        "LOG" | "NFLOG" | "MARK" | "CONNMARK" | "CT" | "NOTRACK" | "MASQUERADE" | "SNAT"
        | "TCPMSS" | "SET" | "TRACE" => return None,
        chain if goes => Then::Goto(chain.to_owned()),
        chain => Then::Jump(chain.to_owned()),
    })
}

fn ports(text: &str) -> Option<Vec<std::ops::RangeInclusive<u16>>> {
    let one = |text: &str| {
        let (first, last) = text.split_once(':').unwrap_or((text, text));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    text.split(',').map(one).collect()
}

/// Only what begins is walked, which is new.
fn states(text: &str, wanted: bool) -> Match {
    let has = |state: &str| text.split(',').any(|word| word == state);
    match (has("NEW"), has("DNAT") || has("SNAT")) {
        (true, _) => Match::Tracked(!wanted),
        (false, true) => Match::Unknown,
        (false, false) => Match::Tracked(wanted),
    }
}

fn interface(name: &str, wanted: bool) -> Match {
    match name {
        "lo" => Match::Loopback(wanted),
        // It has come from any of the others.
        _ if wanted => Match::Unknown,
        _ => Match::Local(true),
    }
}

/// `3/min` as packets a second.
fn rate(text: &str) -> Option<f64> {
    let (number, unit) = text.split_once('/')?;
    let seconds = match unit.as_bytes().first()? {
        b's' => 1.0,
        b'm' => 60.0,
        b'h' => 3600.0,
        b'd' => 86_400.0,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? / seconds)
}

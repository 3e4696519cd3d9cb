//! What `nft -j list ruleset` prints, as rules of the model.
#![expect(clippy::indexing_slicing, reason = "of JSON: a missing value is null")]

use std::ops::RangeInclusive;

use serde_json::Value;

use super::super::{Backend, Family};
use super::{Chain, Hook, Kernel, Match, Point, Rule, Then};
use crate::engine::sequence::Transport;

pub(super) fn read(kernel: &mut Kernel, text: &str) {
    let Ok(all) = serde_json::from_str::<Value>(text) else {
        return;
    };
    // Their chains are there already, from a tool that knows all of their matches.
    let known: Vec<_> = kernel
        .chains
        .iter()
        .map(|chain| chain.table.clone())
        .collect();
    for object in all["nftables"].as_array().into_iter().flatten() {
        let Some((kind, object)) = object.as_object().and_then(|object| object.iter().next())
        else {
            continue;
        };
        let word = |key: &str| object[key].as_str().unwrap_or_default();
        let table = format!("{} {}", word("family"), word("table"));
        if known.contains(&table) {
            continue;
        }
        match kind.as_str() {
            "chain" => kernel.chains.extend(chain(table, object)),
            "set" if table == super::super::nft::TABLE => kernel.open.push(word("name").to_owned()),
            "rule" => {
                let rule = rule(&object["expr"]);
                if let Some(chain) = kernel.chain(&table, word("chain")) {
                    chain.rules.push(rule);
                }
            }
            _ => {}
        }
    }
}

fn chain(table: String, object: &Value) -> Option<Chain> {
    let word = |key: &str| object[key].as_str();
    let family = match word("family") {
        Some("ip") => Some(Family::V4),
        Some("ip6") => Some(Family::V6),
        Some("inet") => None,
        _ => return None,
    };
    let point = match word("hook") {
        Some("prerouting") => Some(Point::Prerouting),
        Some("input") => Some(Point::Input),
        _ => None,
    };
    let hook = point.map(|point| Hook {
        point,
        priority: object["prio"].as_i64().unwrap_or(0),
        drops: word("policy") == Some("drop"),
    });
    Some(Chain {
        table,
        family,
        name: word("name")?.to_owned(),
        hook,
        rules: Vec::new(),
    })
}

fn rule(expressions: &Value) -> Rule {
    let mut rule = Rule::default();
    for expression in expressions.as_array().into_iter().flatten() {
        let Some((kind, value)) = expression
            .as_object()
            .and_then(|object| object.iter().next())
        else {
            continue;
        };
        let target = || value["target"].as_str().unwrap_or_default().to_owned();
        match kind.as_str() {
            "match" => rule.when.push(asked(value)),
            "log" => {
                rule.log = Some(value["prefix"].as_str().unwrap_or_default().to_owned());
                rule.group = value["group"]
                    .as_u64()
                    .and_then(|group| group.try_into().ok());
            }
            "limit" => limit(value, &mut rule),
            "set" => {
                // A rate of each address: a single packet is below it.
                for statement in value["stmt"].as_array().into_iter().flatten() {
                    if statement["limit"]["inv"] == true {
                        rule.when.push(Match::Never);
                    }
                }
            }
            "accept" => rule.then = Some(Then::Accept),
            "drop" | "reject" => rule.then = Some(Then::Drop),
            "return" => rule.then = Some(Then::Return),
            "jump" => rule.then = Some(Then::Jump(target())),
            "goto" => rule.then = Some(Then::Goto(target())),
            "dnat" | "redirect" | "tproxy" => rule.then = Some(Then::Rewrite),
            "counter" | "mangle" | "notrack" | "meta" | "ct" | "comment" | "masquerade"
            | "snat" => {}
            // A map of verdicts may let it in.
            "vmap" | "queue" | "xt" => {
                rule.when.push(Match::Unknown);
                rule.then.get_or_insert(Then::Accept);
            }
            _ => rule.when.push(Match::Unknown),
        }
    }
    rule
}

fn limit(value: &Value, rule: &mut Rule) {
    if value["inv"] == true {
        rule.when.push(Match::Never);
        return;
    }
    let seconds = match value["per"].as_str() {
        Some("minute") => 60.0,
        Some("hour") => 3600.0,
        Some("day") => 86_400.0,
        Some("week") => 604_800.0,
        _ => 1.0,
    };
    rule.rate = value["rate"].as_f64().map(|rate| rate / seconds);
}

fn asked(value: &Value) -> Match {
    let wanted = match value["op"].as_str() {
        Some("==" | "in") => true,
        Some("!=") => false,
        _ => return Match::Unknown,
    };
    let (left, right) = (&value["left"], &value["right"]);
    let word = right.as_str();
    let payload = |key: &str| left["payload"][key].as_str();
    let protocols = |text: &str| match text {
        "tcp" => Some(Transport::Tcp),
        "udp" => Some(Transport::Udp),
        _ => None,
    };
    if let Some(key) = left["meta"]["key"].as_str() {
        return match (key, word) {
            ("iif" | "iifname", Some("lo")) => Match::Loopback(wanted),
            ("iif" | "iifname", Some(_)) if !wanted => Match::Local(true),
            ("l4proto", Some(name)) => match protocols(name) {
                Some(transport) => Match::Transport(transport, wanted),
                None if wanted => Match::Never,
                None => Match::Local(true),
            },
            ("nfproto", Some("ipv4")) => Match::Family(Family::V4, wanted),
            ("nfproto", Some("ipv6")) => Match::Family(Family::V6, wanted),
            ("pkttype", Some(name)) => Match::Local((name == "host") == wanted),
            _ => Match::Unknown,
        };
    }
    if left["ct"]["key"] == "state" {
        let states = words(right);
        if states.iter().any(|state| state == "new") {
            return Match::Tracked(!wanted);
        }
        return if states.is_empty() {
            Match::Unknown
        } else {
            Match::Tracked(wanted)
        };
    }
    if left["fib"]["result"] == "type" {
        return Match::Local((word == Some("local")) == wanted);
    }
    if left["concat"].is_array() {
        return match word {
            Some("@open4" | "@open6") => Match::Open(Backend::Nft),
            _ => Match::Unknown,
        };
    }
    if left["&"][0]["payload"]["field"] == "saddr" {
        return Match::From(wanted);
    }
    if left["&"].is_array() && left["&"][0]["payload"]["field"] == "flags" {
        return if words(right) == ["syn"] {
            Match::Begins(wanted)
        } else {
            Match::Unknown
        };
    }
    match (payload("protocol"), payload("field")) {
        (Some("ip" | "ip6"), Some("saddr")) => Match::From(wanted),
        // It implies the protocol, which the port alone does not: as one match, both must be so.
        (Some(protocol), Some("dport")) => {
            let Some(ports) = ports(right) else {
                return Match::Unknown;
            };
            match protocols(protocol) {
                Some(transport) => Match::PortsOf(transport, ports, wanted),
                None => Match::Ports(ports, wanted),
            }
        }
        (Some("ip"), Some("protocol")) => word
            .and_then(protocols)
            .map_or(Match::Unknown, |transport| {
                Match::Transport(transport, wanted)
            }),
        (Some("icmp" | "icmpv6" | "igmp"), _) if wanted => Match::Never,
        (Some("tcp"), Some("flags")) if words(right) == ["syn"] => Match::Begins(wanted),
        _ => Match::Unknown,
    }
}

/// A word, or a list of them.
fn words(value: &Value) -> Vec<String> {
    let list = value["set"].as_array().or(value.as_array());
    match (value.as_str(), list) {
        (Some(word), _) => vec![word.to_owned()],
        (None, Some(list)) => list
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        (None, None) => Vec::new(),
    }
}

fn ports(value: &Value) -> Option<Vec<RangeInclusive<u16>>> {
    let one = |value: &Value| {
        let number = |value: &Value| u16::try_from(value.as_u64()?).ok();
        match value["range"].as_array().map(Vec::as_slice) {
            Some([first, last]) => Some(number(first)?..=number(last)?),
            _ => number(value).map(|port| port..=port),
        }
    };
    match value["set"].as_array() {
        Some(list) => list.iter().map(one).collect(),
        None => Some(vec![one(value)?]),
    }
}

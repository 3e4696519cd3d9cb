//! The rules that the kernel holds, against what the configuration needs, and where its log goes.
#![expect(clippy::disallowed_methods, reason = "looks at files of /proc")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::tool;
use crate::config::{Config, Prefix};
use crate::engine::door::{CountsRule, Rule, SequenceRule};
use crate::engine::sequence::{Step, Transport};
use crate::firewall::Backend;
use crate::firewall::live::{self, Fault, Kernel, Need};
use crate::source_spec::SourceSpec;

/// What is wrong with them; an error where they cannot be read.
pub(super) fn faults(config: &Config) -> Result<Vec<Fault>, String> {
    let prefix = config.log.prefix.as_ref().map(Prefix::as_bytes);
    let prefix = prefix.map(String::from_utf8_lossy);
    let doors: Vec<_> = config
        .doors
        .iter()
        .filter_map(|door| knocks(&door.rule))
        .collect();
    let guarded = config.guarded();
    let group = |source: &SourceSpec| match source {
        SourceSpec::Nflog(group) => Some(*group),
        _ => None,
    };
    let groups: Option<Vec<u16>> = config.log.sources.iter().map(group).collect();
    let backend = config.firewall.as_ref().map(|firewall| firewall.backend);
    let need = Need {
        prefix: prefix.as_deref(),
        groups: groups.as_deref().filter(|groups| !groups.is_empty()),
        doors: &doors,
        guarded: &guarded,
        backend,
    };
    Ok(live::faults(&read(backend)?, &need))
}

/// The NFLOG groups of this network namespace that a program reads; empty where that cannot be known.
pub(super) fn groups_read() -> BTreeSet<u16> {
    let listed = fs::read_to_string("/proc/net/netfilter/nfnetlink_log").unwrap_or_default();
    let first = |line: &str| line.split_whitespace().next()?.parse().ok();
    listed.lines().filter_map(first).collect()
}

/// Whether the kernel prints what is logged here only if the host's administrator has allowed it: in every network
/// namespace but the first one.
pub(super) fn is_mute() -> bool {
    let netfilter = Path::new("/proc/sys/net/netfilter");
    netfilter.exists() && !netfilter.join("nf_log_all_netns").exists()
}

/// The packets of a knock, and the time for them. Derived and listed sequences have none that are known beforehand.
fn knocks(rule: &Rule) -> Option<(Vec<Step>, Duration)> {
    match rule {
        Rule::Sequence(SequenceRule { sequence, pace }) => {
            Some((sequence.steps().to_vec(), pace.window))
        }
        Rule::Counts(CountsRule { port, window, .. }) => {
            let (port, transport) = *port;
            let transport = transport.unwrap_or(Transport::Tcp);
            Some((vec![Step { port, transport }], *window))
        }
        Rule::OneTime(_) => None,
    }
}

/// The rules, as far as the tools print them. An error where those of iptables are needed and cannot be printed: they
/// would look as if they were missing.
pub(super) fn read(backend: Option<Backend>) -> Result<Kernel, String> {
    let nft = tool::said("nft", &["-j", "list", "ruleset"]);
    let saved = |family: &str| -> Result<_, String> {
        // Both kinds of iptables can hold rules at once.
        let [save, legacy] = ["save", "legacy-save"].map(|save| format!("{family}-{save}"));
        let [usual, legacy] = [&save, &legacy].map(|save| tool::said(save, &[]));
        if usual.is_none() && backend != Some(Backend::Nft) && tool::has(&save) {
            tool::run(&save, &[], "")?;
        }
        let legacy = legacy.filter(|legacy| usual.as_ref() != Some(legacy));
        Ok((usual.is_some() || legacy.is_some())
            .then(|| usual.unwrap_or_default() + &legacy.unwrap_or_default()))
    };
    let (v4, v6) = (saved("iptables")?, saved("ip6tables")?);
    if nft.is_none() && v4.is_none() {
        return Err("neither nft nor iptables-save could be asked; run it as root".to_owned());
    }
    let [v4, v6] = [v4, v6].map(Option::unwrap_or_default);
    Ok(Kernel::read(&nft.unwrap_or_default(), [&v4, &v6]))
}

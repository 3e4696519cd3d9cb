//! `logknock rules`: the base rules that fit the config, on stdout for the tool that loads them.

use std::io::Write;

use super::exit::{Code, Failure};
use super::settings::Global;
use crate::config::{Config, Firewall, Prefix};
use crate::engine::door::Scope;
use crate::engine::sequence::Step;
use crate::firewall::rules::{Rules, Tcp, Tool};

/// Arguments of `rules`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Which tool loads them
    #[arg(long = "for", value_name = "FIREWALL")]
    tool: Firewalls,
    /// Print what takes them away again
    #[arg(long)]
    remove: bool,
}

/// Firewalls that rules are written for.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Firewalls {
    /// A table of its own, for `nft -f -`
    Nft,
    /// Chains of their own, for iptables and ip6tables: a script for `sh`
    Iptables,
}

/// Runs `rules`.
pub(super) fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    let tool = match args.tool {
        Firewalls::Nft => Tool::Nft,
        Firewalls::Iptables => Tool::Iptables,
    };
    let text = if args.remove {
        Rules::remove(tool)
    } else {
        let config = global.load()?.config;
        let guarded = config.firewall.as_ref().map(Firewall::guarded);
        let rules = fitting(&config, guarded.as_deref().unwrap_or_default())?;
        rules
            .load(tool)
            .map_err(|error| Failure::new(Code::Config, format!("logknock: {error}")))?
    };
    let mut out = anstream::stdout();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

fn fitting<'a>(config: &'a Config, guarded: &'a [Step]) -> Result<Rules<'a>, Failure> {
    let no_prefix = || {
        let message = "logknock: no log prefix is configured, so no rule could log one\n\
                       add [log] prefix, or let 'logknock init' write a fresh configuration";
        Failure::new(Code::Config, message)
    };
    let prefix = config.log.prefix.as_ref().map(Prefix::as_bytes);
    let default = Scope::default();
    let starts = config.doors.iter().all(|door| {
        (door.scope.flags_set, door.scope.flags_clear) == (default.flags_set, default.flags_clear)
    });
    Ok(Rules {
        // A backend that no door uses binds nobody.
        backend: config
            .firewall
            .as_ref()
            .filter(|_| !guarded.is_empty())
            .map(|firewall| firewall.backend),
        guarded,
        prefix: prefix.ok_or_else(no_prefix)?,
        tcp: if starts { Tcp::Starts } else { Tcp::Every },
    })
}

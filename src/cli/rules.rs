//! `logknock rules`: the base rules that fit the config, on stdout for the tool that loads them, or loaded.

use std::io::Write;
use std::time::Duration;

use super::exit::{self, Code, Failure};
use super::load::{self, Text};
use super::settings::Global;
use crate::config::{self, Config, Firewall, Prefix, duration};
use crate::engine::door::Scope;
use crate::engine::knock::KnockerPrefix;
use crate::engine::sequence::Step;
use crate::firewall::kernel::{Form, Knocker};
use crate::firewall::rules::{LogTo, Rules, Tcp, Tool};
use crate::source_spec::SourceSpec;

/// Arguments of `rules`.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option, and one at a time is given"
)]
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The tool that loads them [default: the one of the backend]
    #[arg(long = "for", value_name = "FIREWALL")]
    tool: Option<Firewalls>,
    /// With --for, print commands that remove them; without, remove all rules of logknock
    #[arg(long, group = "act")]
    remove: bool,
    /// Load them; doors that are open stay open
    #[arg(long, group = "act")]
    load: bool,
    /// Load them, and restore the previous rules after this time, unless they are confirmed
    #[arg(long = "try", value_name = "TIME", group = "act", value_parser = duration::from_text)]
    within: Option<Duration>,
    /// Keep the rules that are on trial
    #[arg(long, group = "act")]
    confirm: bool,
    /// Load them now, at each boot, and whenever the firewall's own service loads its rules again
    #[arg(long, group = "act")]
    install: bool,
    /// Undo a trial after this number of seconds
    #[arg(long, hide = true, value_name = "SECONDS", group = "act")]
    undo_in: Option<u64>,
}

/// Firewalls that rules are written for.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Firewalls {
    /// A table of its own, for `nft -f -`
    Nft,
    /// Chains of their own, for iptables and ip6tables: a script for `sh`
    Iptables,
    /// A table or chains in front of ufw, and what ufw must let in: a script for `sh`
    Ufw,
    /// The nft table, and what firewalld must let in: a script for `sh`
    Firewalld,
    /// The nft table as a file for fw4, and what its zone must let in: a script for `sh`
    Openwrt,
    /// A whole knocker in the kernel, of iptables' `recent` match, without a daemon: a script for `sh`
    IptablesRecent,
    /// The same as an nft table with timed sets, for `nft -f -`
    NftOnly,
}

/// What a firewall's rules are there for.
enum Purpose {
    /// To log for the daemon, and to let in whom it opens to.
    Daemon(Tool),
    /// To do without it.
    Kernel(Form),
}

impl Firewalls {
    fn purpose(self) -> Purpose {
        match self {
            Self::Nft => Purpose::Daemon(Tool::Nft),
            Self::Iptables => Purpose::Daemon(Tool::Iptables),
            Self::Ufw => Purpose::Daemon(Tool::Ufw),
            Self::Firewalld => Purpose::Daemon(Tool::Firewalld),
            Self::Openwrt => Purpose::Daemon(Tool::Openwrt),
            Self::IptablesRecent => Purpose::Kernel(Form::Recent),
            Self::NftOnly => Purpose::Kernel(Form::Nft),
        }
    }

    fn removal(self) -> String {
        match self.purpose() {
            Purpose::Daemon(tool) => Rules::remove(tool),
            Purpose::Kernel(form) => Knocker::remove(form),
        }
    }

    fn text(self, config: &Config) -> Result<Text, Failure> {
        let (name, load) = match self.purpose() {
            Purpose::Daemon(tool) => (tool.as_str(), base(tool, config)?),
            Purpose::Kernel(form) => (form.as_str(), whole(form, config)?),
        };
        let table = match self.purpose() {
            Purpose::Daemon(_) if load.contains(Rules::TABLE) => Some(base(Tool::Nft, config)?),
            _ => None,
        };
        let reader: &[_] = match self {
            Self::Nft | Self::NftOnly => &["nft", "-f", "-"],
            _ => &["sh"],
        };
        Ok(Text {
            name,
            reader,
            load,
            remove: self.removal(),
            table,
        })
    }
}

/// Runs `rules`.
pub(super) fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    match args.tool {
        _ if args.confirm => return load::confirm(global),
        None if args.remove => return load::remove_all(global),
        Some(tool) if args.remove => return print(&tool.removal()),
        _ => {}
    }
    if let Some(seconds) = args.undo_in {
        return load::undo_in(seconds);
    }
    let config = global.load()?.config;
    let usual = || config.firewall.as_ref().map_or(Firewalls::Nft, usual);
    let tool = args.tool.unwrap_or_else(usual);
    let text = tool.text(&config)?;
    match args.within {
        Some(within) => load::on_trial(&text, within, &config, global),
        None if args.install => load::install(&text, &config, global),
        None if args.load => load::load(&text, &config, global),
        None => print(&text.load),
    }
}

/// What loads the rules of a backend.
fn usual(firewall: &Firewall) -> Firewalls {
    match Tool::from(firewall.backend) {
        Tool::Iptables => Firewalls::Iptables,
        _ => Firewalls::Nft,
    }
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

fn base(tool: Tool, config: &Config) -> Result<String, Failure> {
    let guarded = config.firewall.as_ref().map(Firewall::guarded);
    let once = config::entered_once(&config.doors);
    let log = logs(&config.log.sources);
    let rules = Rules {
        log: &log,
        ..fitting(config, guarded.as_deref().unwrap_or_default(), &once)?
    };
    let text = rules.load(tool);
    text.map_err(|error| Failure::new(Code::Config, error))
}

fn whole(form: Form, config: &Config) -> Result<String, Failure> {
    if config.log.knocker_prefix != KnockerPrefix::default() {
        let message = "rules without a daemon count each address on its own\n\
                       remove knocker_prefix_v6 from [log], or use a daemon";
        return Err(Failure::new(Code::Config, message));
    }
    let firewall = config.firewall.as_ref();
    let guarded = firewall.map(Firewall::guarded).unwrap_or_default();
    let opens = firewall.map_or(&[][..], |firewall| &firewall.opens);
    let knocker = Knocker::new(form, &config.doors, opens, &guarded);
    let knocker = knocker.map_err(|flaws| {
        let flaws: Vec<_> = flaws.iter().map(ToString::to_string).collect();
        let message = format!(
            "--for {} has no daemon, and cannot enforce these keys\n{}",
            form.as_str(),
            flaws.join("\n")
        );
        Failure::new(Code::Config, message)
    })?;
    let knocker = match firewall {
        Some(firewall) => knocker.beside(&firewall.always_allow, &firewall.public),
        None => knocker,
    };
    for door in knocker.forgetful() {
        exit::tell(&format!(
            "warning: the sequence of door '{door}' repeats its own beginning; after a wrong or late knock \
             the kernel starts over where the daemon would continue"
        ));
    }
    Ok(knocker.load())
}

/// Where the sources look for packets: in groups of the kernel's, or in its log, wherever a syslog takes it.
fn logs(sources: &[SourceSpec]) -> Vec<LogTo> {
    let group = |source: &SourceSpec| match source {
        SourceSpec::Nflog(group) => LogTo::Group(*group),
        _ => LogTo::Kernel,
    };
    let mut logs: Vec<_> = sources.iter().map(group).collect();
    logs.sort_unstable();
    logs.dedup();
    if logs.is_empty() {
        logs.push(LogTo::Kernel);
    }
    logs
}

fn fitting<'a>(
    config: &'a Config,
    guarded: &'a [Step],
    once: &'a [Step],
) -> Result<Rules<'a>, Failure> {
    let no_prefix = || {
        let message = "no log prefix is configured, so the rules would log none\n\
                       add [log] prefix, or let 'logknock init' write a fresh configuration";
        Failure::new(Code::Config, message)
    };
    let prefix = config.log.prefix.as_ref().map(Prefix::as_bytes);
    let firewall = config.firewall.as_ref();
    let default = Scope::default();
    let starts = config.doors.iter().all(|door| {
        (door.scope.flags_set, door.scope.flags_clear) == (default.flags_set, default.flags_clear)
    });
    Ok(Rules {
        // A backend that no door uses does not matter.
        backend: firewall
            .filter(|_| !guarded.is_empty())
            .map(|firewall| firewall.backend),
        guarded,
        once,
        always: firewall.map_or(&[], |firewall| &firewall.always_allow),
        public: firewall.map_or(&[], |firewall| &firewall.public),
        log: &[LogTo::Kernel],
        prefix: prefix.ok_or_else(no_prefix)?,
        tcp: if starts { Tcp::Starts } else { Tcp::Every },
    })
}

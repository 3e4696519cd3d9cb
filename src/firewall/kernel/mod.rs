//! Whole knockers in the kernel: doors as rules that need no daemon and no log.
//!
//! In: the doors of a config, and what each opens. Out: text that the firewall's own tool loads, and the counterpart
//! that takes it away; or a [`Flaw`] for every key that rules cannot enforce, because no key may be weakened. The
//! text holds the sequences, which are secrets. A knock allows one TCP connection, not all until `cmd_timeout`: the
//! record is removed with it.

mod nft;
mod recent;

pub(super) use self::nft::TABLE as NFT_TABLE;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::Family;
use super::rules::Tcp;
use super::rules::base::{self, Line};
use crate::engine::door::{Door, OnRepeat, OtherPorts, Rule, Scope};
use crate::engine::one_time::Origin;
use crate::engine::sequence::{Step, Transport};

/// What the kernel uses to remember how far each address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Lists of iptables' `recent` match.
    Recent,
    /// Sets of nft with timeouts.
    Nft,
}

impl Form {
    /// Its name on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recent => "iptables-recent",
            Self::Nft => "nft-only",
        }
    }
}

/// A key of a door that rules cannot keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    door: Arc<str>,
    key: &'static str,
    why: &'static str,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "door '{}', {}: {}", self.door, self.key, self.why)
    }
}

/// Doors that rules can keep.
#[derive(Debug)]
pub struct Knocker<'a> {
    form: Form,
    doors: Vec<Kept<'a>>,
    guarded: &'a [Step],
    always: &'a [IpNet],
    public: &'a [Step],
}

/// One of them.
#[derive(Debug)]
struct Kept<'a> {
    name: &'a str,
    scope: &'a Scope,
    rule: &'a Rule,
    hold: Duration,
    opens: &'a [Step],
}

impl<'a> Knocker<'a> {
    /// The doors as rules of `form`. `opens` says what each opens, `guarded` all of that once.
    pub fn new(
        form: Form,
        doors: &'a [Arc<Door>],
        opens: &'a [(Arc<str>, Box<[Step]>)],
        guarded: &'a [Step],
    ) -> Result<Self, Vec<Flaw>> {
        let (mut kept, mut flaws) = (Vec::new(), Vec::new());
        for door in doors {
            let found = opens.iter().find(|(name, _)| *name == door.name);
            flaws.extend(flaws_of(door, form, found.is_some()));
            kept.push(Kept {
                name: &door.name,
                scope: &door.scope,
                rule: &door.rule,
                hold: door.grant.hold,
                opens: found.map_or(&[], |(_, ports)| ports),
            });
        }
        if flaws.is_empty() {
            Ok(Self {
                form,
                doors: kept,
                guarded,
                always: &[],
                public: &[],
            })
        } else {
            Err(flaws)
        }
    }

    /// With networks that never need a knock, and ports that are open to everybody.
    #[must_use]
    pub fn beside(self, always: &'a [IpNet], public: &'a [Step]) -> Self {
        Self {
            always,
            public,
            ..self
        }
    }

    /// The rules where packets arrive, around those of the doors.
    fn preamble(&self) -> Vec<Line> {
        base::preamble(self.always, self.public, Tcp::Starts)
    }

    /// The rules where they have arrived.
    fn input(&self) -> Vec<Line> {
        let mut lines = base::arrived(self.always, self.guarded);
        lines.extend(base::let_through(self.guarded));
        lines
    }

    /// The text that loads it.
    pub fn load(&self) -> String {
        match self.form {
            Form::Recent => recent::load(self),
            Form::Nft => nft::load(self),
        }
    }

    /// The text that takes away whatever [`load`](Self::load) may have loaded.
    pub fn remove(form: Form) -> String {
        match form {
            Form::Recent => recent::remove(),
            Form::Nft => nft::remove(),
        }
    }

    /// Doors whose rules forget more at a wrong knock than the daemon would: never less safe, but such a knock opens
    /// here only from its first step again.
    pub fn forgetful(&self) -> impl Iterator<Item = &str> {
        let forgets = |door: &&Kept<'_>| match door.rule {
            Rule::Sequence(rule) => {
                let mut broken = 2..rule.sequence.len();
                broken.any(|matched| rule.sequence.begins_again_within(matched))
            }
            Rule::Counts(_) | Rule::OneTime(_) => false,
        };
        self.doors.iter().filter(forgets).map(|door| door.name)
    }
}

impl Kept<'_> {
    fn opens(&self, transport: Transport) -> impl Iterator<Item = u16> {
        let ports = self.opens.iter();
        ports
            .filter(move |port| port.transport == transport)
            .map(|port| port.port)
    }

    /// Whether a knock at an address of `family` can be one for this door.
    fn is_for(&self, family: Family) -> bool {
        let target = self.scope.target.is_none_or(|target| family.has(target));
        target && (self.scope.allow.is_empty() || !family.networks(&self.scope.allow).is_empty())
    }

    /// The ports that it minds, each once; `None` when it minds all.
    fn minds(&self) -> Option<Vec<Step>> {
        let both = [Transport::Tcp, Transport::Udp];
        match self.rule {
            Rule::Sequence(rule) if rule.pace.other_ports == OtherPorts::Reset => None,
            Rule::Sequence(rule) => {
                let mut steps = rule.sequence.steps().to_vec();
                steps.sort_unstable_by_key(|step| (step.transport, step.port));
                steps.dedup();
                Some(steps)
            }
            Rule::Counts(rule) => {
                let (port, only) = rule.port;
                let counted = both
                    .into_iter()
                    .filter(|&transport| only.is_none_or(|only| only == transport));
                Some(counted.map(|transport| Step { port, transport }).collect())
            }
            // Refused before: the kernel derives no ports and marks no lists.
            Rule::OneTime(_) => Some(Vec::new()),
        }
    }
}

/// How many steps of how many, and with what in between, for a comment.
fn stage(number: usize, all: usize) -> String {
    format!("{number} of {all} knocks")
}

fn flaws_of(door: &Door, form: Form, opens: bool) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    let mut flaw = |key, why| {
        let door = Arc::clone(&door.name);
        flaws.push(Flaw { door, key, why });
    };
    let (scope, default) = (&door.scope, Scope::default());
    if !opens {
        let why = "rules run no commands; say what it opens with 'opens'";
        flaw("start_command", why);
    }
    if (scope.flags_set, scope.flags_clear) != (default.flags_set, default.flags_clear) {
        let why = "rules without a daemon look at the start of TCP connections only";
        flaw("tcpflags", why);
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte);
    let interface = scope.interface.as_deref().unwrap_or_default();
    if !interface.bytes().all(plain) {
        let why = "the firewall's tools would read this name as something else";
        flaw("interface", why);
    }
    if door.limits.lockout.is_some() {
        flaw("lockout", "rules do not count failures");
    }
    if door.limits.cooldown.is_some() {
        let why = "rules cannot enforce a cooldown";
        flaw("cooldown", why);
    }
    if door.grant.on_repeat != OnRepeat::Extend {
        let why = "a right knock while it is open always extends the time";
        flaw("on_repeat", why);
    }
    let mut entrances = door.grant.once.iter();
    if entrances.any(|port| port.transport == Transport::Udp) {
        let why = "by UDP an address that knocked may come in until cmd_timeout; by TCP it is always once";
        flaw("once", why);
    }
    let fits = |time: Duration| match form {
        Form::Recent => time.subsec_nanos() == 0 && !time.is_zero(),
        Form::Nft => time.as_millis() > 0,
    };
    let unfit = match form {
        Form::Recent => "'recent' measures whole seconds, one at least",
        Form::Nft => "the time is too short for nft",
    };
    let mut times = vec![("cmd_timeout", Some(door.grant.hold))];
    match &door.rule {
        Rule::Sequence(rule) => {
            times.push(("seq_timeout", Some(rule.pace.window)));
            times.push(("knock_timeout", rule.pace.knock_timeout));
            if rule.pace.min_gap.is_some() {
                let why = "rules cannot enforce a shortest time between two knocks";
                flaw("min_gap", why);
            }
        }
        Rule::Counts(rule) if form == Form::Recent => times.push(("window", Some(rule.window))),
        Rule::Counts(_) => {
            let why = "nft does not count hits in a window; --for iptables-recent does";
            flaw("counts", why);
        }
        Rule::OneTime(rule) => {
            let key = match rule.origin {
                Origin::Totp(_) => "totp",
                Origin::List(_) => "one_time_sequences",
            };
            flaw(key, "rules cannot keep sequences that open once");
        }
    }
    for (key, time) in times {
        if time.is_some_and(|time| !fits(time)) {
            flaw(key, unfit);
        }
    }
    flaws
}

#[cfg(test)]
#[path = "kernel_test.rs"]
mod tests;

//! A door: the rules that need more than one of its keys.
//!
//! In: a `[door.NAME]` with the defaults it does not override. Out: the engine's [`Door`], or a finding for every
//! rule that it breaks. A door that could never open is an error, because its owner would learn of it only when
//! locked out. So is a key that has no effect on its kind of door.

use std::time::Duration;

use crate::engine::door::{
    CountsRule, Door, Limits, OneTimeRule, OtherPorts, Pace, Rule, Scope, SequenceRule,
};
use crate::engine::one_time::Origin;
use crate::engine::sequence::{MAX_STEPS, Sequence, Step, Transport};
use crate::engine::totp::Totp;

use super::fleet;
use super::grant;
use super::one_time::{self, LOOK_AHEAD};
use super::report::{Finding, Report, Span, error, warning};
use super::schema::{DoorTable, NamedDoor, Schema, Table as _};
use super::scope::leaves_nobody;
use super::sequence::Counts;
use super::value::{Given, Optional as _, Within};

/// knockd's `Seq_Timeout`.
const SEQ_TIMEOUT: Duration = Duration::from_secs(25);

/// Open Sesamy's window, as its guide has it.
const WINDOW: Duration = Duration::from_secs(4);

/// A door while its rules are looked at.
pub(super) struct Draft<'a> {
    /// As it is written.
    pub(super) own: &'a NamedDoor,
    /// Its keys with the defaults.
    pub(super) table: DoorTable,
    /// What is said of all doors.
    pub(super) schema: &'a Schema,
    pub(super) report: &'a Report,
}

/// The door that `own` describes, with what `schema` says of all; `None` when they describe none, which has been
/// reported.
pub(super) fn resolve(own: &NamedDoor, schema: &Schema, report: &Report) -> Option<Door> {
    let draft = Draft {
        own,
        table: own.table.or(&schema.defaults),
        schema,
        report,
    };
    let scope = draft.scope();
    let rule = draft.rule();
    let grant = grant::resolve(&draft, rule.as_ref());
    let fleet = fleet::sharing(&draft, rule.as_ref());
    draft.refuse_public_ports(&scope.public, rule.as_ref());
    Some(Door {
        name: own.name.clone(),
        scope,
        rule: rule?,
        limits: Limits {
            lockout: draft.table.lockout.value(),
            cooldown: draft.table.cooldown.value(),
        },
        grant: grant?,
        fleet,
    })
}

impl Draft<'_> {
    /// Reports what was found.
    pub(super) fn add(&self, finding: Finding) {
        self.report.add(finding);
    }

    /// An error about the door, which `what` is said of.
    pub(super) fn error(&self, at: Span, what: impl std::fmt::Display) -> Finding {
        error(at, format!("door '{}' {what}", self.own.name))
    }

    /// A warning about the door, which `what` is said of.
    pub(super) fn warning(&self, at: Span, what: impl std::fmt::Display) -> Finding {
        warning(at, format!("door '{}' {what}", self.own.name))
    }

    /// Refuses the keys that are given and have no effect, for a reason.
    pub(super) fn refuse_idle(&self, keys: &[(&str, Option<Span>)], why: &str) {
        for (key, at) in keys {
            let Some(at) = *at else { continue };
            let what = format!("cannot use '{key}': {why}");
            self.add(self.error(at, what).fix("remove the key"));
        }
    }

    fn scope(&self) -> Scope {
        let table = &self.table;
        let default = Scope::default();
        let flags = table.tcpflags.value();
        let scope = Scope {
            flags_set: flags.map_or(default.flags_set, |flags| flags.set),
            flags_clear: flags.map_or(default.flags_clear, |flags| flags.clear),
            interface: table.interface.value().map(|interface| interface.0),
            target: table.target.value().map(|target| target.0),
            allow: table.allow.value().unwrap_or_default(),
            deny: table.deny.value().unwrap_or_default(),
            public: self.schema.firewall.public.value().unwrap_or_default().0,
        };
        if let Some(allow) = &table.allow
            && allow.value.as_ref().is_some_and(Vec::is_empty)
        {
            let message = "an empty 'allow' looks like nobody, but would mean everybody";
            let fix = "remove the key, or write [\"0.0.0.0/0\", \"::/0\"] for everybody";
            self.add(error(allow.span, message).fix(fix));
        }
        if leaves_nobody(&scope.allow, &scope.deny, scope.target) {
            let what =
                "could never open: 'allow', 'deny' and 'target' leave no address that may knock";
            self.add(self.error(self.own.at, what));
        }
        scope
    }

    fn rule(&self) -> Option<Rule> {
        const KINDS: &str = "'sequence', 'counts', 'totp' or 'one_time_sequences'";
        // A default is for the doors that can use it.
        let own = &self.own.table;
        let has_counts = own.counts.is_some() || self.table.counts.is_some() && self.is_bare();
        let is_code = self.is_code();
        let ways = [
            own.sequence.is_some() && !is_code,
            has_counts,
            own.totp.is_some(),
            own.one_time_sequences.is_some(),
        ];
        let ways = ways.into_iter().filter(|given| *given).count();
        if ways == 0 {
            let what = format!("has no knock: it needs {KINDS}");
            let fix = "add sequence = [PORT, \"PORT:udp\", PORT]";
            self.add(self.error(self.own.at, what).fix(fix));
            return None;
        } else if ways > 1 {
            let what = format!("must have only one of {KINDS}");
            self.add(self.error(self.own.at, what).fix("make it two doors"));
            return None;
        }
        self.refuse_keys_of_other_rules(has_counts);
        match (&own.sequence, &self.table.counts) {
            (Some(given), _) if !is_code => self.sequence(given).map(Rule::Sequence),
            (_, Some(given)) if has_counts => self.counts(given).map(Rule::Counts),
            _ => self.one_time().map(Rule::OneTime),
        }
    }

    /// Whether it says nothing of how it is knocked at.
    fn is_bare(&self) -> bool {
        let own = &self.own.table;
        own.sequence.is_none() && own.totp.is_none() && own.one_time_sequences.is_none()
    }

    /// Whether its `totp` is a code, which has a sequence before it; or none at all, which has been reported.
    fn is_code(&self) -> bool {
        let totp = self.own.table.totp.as_ref();
        totp.is_some_and(|given| {
            given
                .value
                .as_ref()
                .is_none_or(|totp| totp.form.code.is_some())
        })
    }

    fn refuse_keys_of_other_rules(&self, has_counts: bool) {
        let own = &self.own.table;
        let ordered = [
            ("seq_timeout", own.seq_timeout.written()),
            ("knock_timeout", own.knock_timeout.written()),
            ("min_gap", own.min_gap.written()),
            ("strict", own.strict.written()),
        ];
        let counted = [
            ("port", own.port.written()),
            ("window", own.window.written()),
        ];
        if has_counts {
            self.refuse_idle(&ordered, "it counts the hits on one port");
        } else {
            self.refuse_idle(&counted, "it has no 'counts'");
        }
        if own.one_time_sequences.is_none() {
            let ahead = [("look_ahead", own.look_ahead.written())];
            self.refuse_idle(&ahead, "it has no 'one_time_sequences'");
        }
        let steps = own.sequence.set();
        let is_udp = |steps: &Sequence| {
            let mut steps = steps.steps().iter();
            steps.all(|step| step.transport == Transport::Udp)
        };
        if self.is_code() && own.strict.value() == Some(false) {
            let strict = [("strict", own.strict.written())];
            let why = "a scan of all ports would knock its code";
            self.refuse_idle(&strict, why);
        }
        if own.totp.is_none() && steps.is_some_and(is_udp) {
            let flags = [("tcpflags", own.tcpflags.written())];
            self.refuse_idle(&flags, "all its knocks are UDP");
        }
    }

    /// Refuses knocks at ports that are open to everybody, and such ports in `opens`.
    fn refuse_public_ports(&self, public: &[Step], rule: Option<&Rule>) {
        let code = self.own.table.totp.as_ref().filter(|_| self.is_code());
        let at = code.map_or(self.own.at, |given| given.key);
        if rule.is_some_and(|rule| public.iter().any(|port| rule.may_have(*port))) {
            let what =
                "is knocked at a port that [firewall] lists as 'public', which is not logged";
            let fix = "remove the port from 'public', or knock at another one";
            self.add(self.error(at, what).fix(fix));
        }
        let at = self.own.at;
        let opened = grant::opened(self.own, &self.schema.defaults);
        if opened.iter().any(|port| public.contains(port)) {
            let what = "opens a port that [firewall] lists as 'public', which is open without it";
            let fix = "remove the port from 'public' or from 'opens'";
            self.add(self.error(at, what).fix(fix));
        }
    }

    fn counts(&self, given: &Given<Counts>) -> Option<CountsRule> {
        let Some(port) = &self.table.port else {
            let what = "has 'counts', but no 'port' to count at";
            self.add(
                self.error(given.key, what)
                    .fix("add port = PORT or \"PORT:udp\""),
            );
            return None;
        };
        let window = self.table.window.value().unwrap_or(WINDOW);
        let mut rule = CountsRule::new(port.value?.0, window, &given.value.as_ref()?.0)?;
        rule.while_right = self.table.cmd_timeout.is_none();
        Some(rule)
    }

    /// What `totp` or `one_time_sequences` says.
    fn one_time(&self) -> Option<OneTimeRule> {
        let origin = self.origin()?;
        let pace = self.pace(origin.knocks());
        Some(OneTimeRule { origin, pace })
    }

    fn origin(&self) -> Option<Origin> {
        let own = &self.own.table;
        if let Some(given) = &own.totp {
            let text = given.value.as_ref()?;
            let beginning = match text.form.code {
                Some(_) => self.beginning(given.key)?.steps(),
                None => &[],
            };
            let totp = one_time::totp(text, beginning, self.report)?;
            self.refuse_overlap(&totp);
            return Some(Origin::Totp(totp));
        }
        let given = own.one_time_sequences.as_ref()?;
        let Within(ahead) = self.table.look_ahead.value().unwrap_or(LOOK_AHEAD);
        let ahead = usize::try_from(ahead).ok()?;
        let list = one_time::list(given.value.as_ref()?, given.span, ahead, self.report)?;
        let mut lines = list.lines.iter();
        if lines.any(|line| is_in_order(line.sequence.steps())) {
            self.warn_of_order(given.key);
        }
        Some(Origin::List(list))
    }

    /// What is knocked before a code: without it, every scan would be a failed code.
    fn beginning(&self, at: Span) -> Option<&Sequence> {
        const MOST: usize = MAX_STEPS - 4;
        let (at, steps) = match &self.own.table.sequence {
            Some(given) => (given.key, Some(given.value.as_ref()?)),
            None => (at, None),
        };
        if !(2..=MOST).contains(&steps.map_or(0, Sequence::len)) {
            let what = format!("needs a sequence of 2 to {MOST} steps before its code");
            let fix = "write sequence = [PORT, \"PORT:udp\"] beside 'totp'";
            self.add(self.error(at, what).fix(fix));
            return None;
        }
        steps
    }

    /// Refuses a code at ports that are knocked before it, or that the door opens.
    fn refuse_overlap(&self, totp: &Totp) {
        let Some(code) = self.own.table.totp.as_ref() else {
            return;
        };
        let beginning = totp.beginning().unwrap_or_default();
        let fix = "move 'base' of the code";
        if let Some(place) = beginning.iter().position(|step| totp.derives(*step)) {
            let what = format!(
                "has step {} of its sequence among the ports of its code",
                place + 1
            );
            self.add(self.error(code.span, what).fix(fix));
        }
        let opened = grant::opened(self.own, &self.schema.defaults);
        if totp.beginning().is_some() && opened.iter().any(|port| totp.derives(*port)) {
            let what = "opens a port among those of its code";
            self.add(self.error(code.span, what).fix(fix));
        }
    }

    fn other_ports(&self) -> OtherPorts {
        match self.table.strict.value() {
            Some(false) if !self.is_code() => OtherPorts::Ignore,
            _ => OtherPorts::Reset,
        }
    }

    fn warn_of_order(&self, at: Span) {
        let what = "has neighbouring ports in order: a scan that goes through them opens it";
        let fix = "use ports in no order, as 'logknock init' does";
        self.add(self.warning(at, what).fix(fix));
    }

    fn sequence(&self, given: &Given<Sequence>) -> Option<SequenceRule> {
        let sequence = given.value.clone()?;
        if sequence.len() == 1 {
            let what = "has one step: every port scan that comes by opens it";
            self.add(self.warning(given.key, what).fix("add more steps"));
        }
        if is_in_order(sequence.steps()) {
            self.warn_of_order(given.key);
        }
        let pace = self.pace(sequence.len());
        Some(SequenceRule { sequence, pace })
    }

    /// How fast the steps must be knocked, and what other ports do.
    fn pace(&self, steps: usize) -> Pace {
        let table = &self.table;
        let pace = Pace {
            window: table.seq_timeout.value().unwrap_or(SEQ_TIMEOUT),
            knock_timeout: table.knock_timeout.value(),
            min_gap: table.min_gap.value(),
            other_ports: self.other_ports(),
        };
        self.check_gap(steps, &pace);
        pace
    }

    /// Whether the steps can be knocked within their times. All limits are inclusive.
    fn check_gap(&self, steps: usize, pace: &Pace) {
        let (Some(gap), Some(given)) = (pace.min_gap, &self.table.min_gap) else {
            return;
        };
        let gaps = u32::try_from(steps.saturating_sub(1)).unwrap_or(u32::MAX);
        let shortest = gap.checked_mul(gaps).unwrap_or(Duration::MAX);
        if gaps > 0 && pace.knock_timeout.is_some_and(|most| gap > most) {
            let what = "could never open: 'min_gap' is longer than 'knock_timeout'";
            let fix = "lower 'min_gap' or raise 'knock_timeout'";
            self.add(self.error(given.span, what).fix(fix));
        } else if shortest > pace.window {
            let what = "could never open: with 'min_gap' between them its steps take longer than \
                        'seq_timeout'";
            let fix = "lower 'min_gap' or raise 'seq_timeout'";
            self.add(self.error(given.span, what).fix(fix));
        }
    }
}

/// Whether each step is the next port of the same transport, up or down: what a scan knocks.
fn is_in_order(steps: &[Step]) -> bool {
    let follows = |by: i32| {
        steps.len() > 1
            && steps.iter().zip(steps.iter().skip(1)).all(|(one, next)| {
                one.transport == next.transport && i32::from(one.port) + by == i32::from(next.port)
            })
    };
    follows(1) || follows(-1)
}

//! A door: the rules that need more than one of its keys.
//!
//! In: a `[door.NAME]` with the defaults it does not override. Out: the engine's [`Door`], or a
//! report of every rule that it breaks. A door that could never open is an error: its owner would
//! learn of it when standing in front of it.

use std::time::Duration;

use crate::engine::door::{
    CountsRule, Door, Limits, OneTimeRule, OtherPorts, Rule, Scope, SequenceRule,
};
use crate::engine::one_time::Origin;
use crate::engine::sequence::Step;

use super::counts::Counts;
use super::draft::Draft;
use super::grant;
use super::one_time::{self, LOOK_AHEAD};
use super::problem::{DoorFlaw, Problem};
use super::report::{Report, Span};
use super::resolve::public;
use super::schema::{NamedDoor, Schema, Table as _};
use super::scope::leaves_nobody;
use super::steps::Steps;
use super::value::{Given, value, written};

/// knockd's `Seq_Timeout`.
const SEQ_TIMEOUT: Duration = Duration::from_secs(25);

/// Open Sesamy's window, as its guide has it.
const WINDOW: Duration = Duration::from_secs(4);

/// The door that `own` describes, with what `schema` says of all; `None` when they describe none, which has been
/// reported.
pub(super) fn resolve(own: &NamedDoor, schema: &Schema, report: &mut Report) -> Option<Door> {
    let defaults = &schema.defaults;
    let door = Draft {
        own,
        table: own.table.or(defaults),
    };
    let scope = Scope {
        public: public(&schema.firewall),
        ..door.scope(report)
    };
    let rule = door.rule(report);
    let backend = value(schema.firewall.backend.as_ref());
    let grant = grant::resolve(&door, rule.as_ref(), defaults, backend, report);
    let is_public = |port: &Step| scope.public.contains(port);
    if let Some(rule) = &rule
        && scope.public.iter().any(|port| rule.may_have(*port))
    {
        report.add(own.at, door.flawed(DoorFlaw::PublicKnock));
    }
    if grant::opened(own, defaults).iter().any(is_public) {
        report.add(own.at, door.flawed(DoorFlaw::PublicOpens));
    }
    Some(Door {
        name: own.name.clone(),
        scope,
        rule: rule?,
        limits: Limits {
            lockout: value(door.table.lockout.as_ref()),
            cooldown: value(door.table.cooldown.as_ref()),
        },
        grant: grant?,
    })
}

impl Draft<'_> {
    fn scope(&self, report: &mut Report) -> Scope {
        let table = &self.table;
        let default = Scope::default();
        let flags = value(table.tcpflags.as_ref());
        let scope = Scope {
            flags_set: flags.map_or(default.flags_set, |flags| flags.set),
            flags_clear: flags.map_or(default.flags_clear, |flags| flags.clear),
            interface: value(table.interface.as_ref()).map(|interface| interface.0),
            target: value(table.target.as_ref()).map(|target| target.0),
            allow: value(table.allow.as_ref()).unwrap_or_default(),
            deny: value(table.deny.as_ref()).unwrap_or_default(),
            public: default.public,
        };
        if let Some(allow) = &table.allow {
            let given_as_empty = allow.value.as_ref().is_some_and(Vec::is_empty);
            if given_as_empty {
                report.add(allow.span, Problem::AllowNobody);
            }
        }
        if leaves_nobody(&scope.allow, &scope.deny, scope.target) {
            report.add(self.own.at, self.flawed(DoorFlaw::NobodyAllowed));
        }
        scope
    }

    fn rule(&self, report: &mut Report) -> Option<Rule> {
        // A default is for the doors that can use it.
        let own = &self.own.table;
        if own.totp.is_some() || own.one_time_sequences.is_some() {
            return self.one_time(report).map(Rule::OneTime);
        }
        let flaw = match (&own.sequence, &self.table.counts) {
            (Some(given), None) => {
                self.warn_of_other_rule(
                    &[
                        ("port", written(own.port.as_ref())),
                        ("window", written(own.window.as_ref())),
                    ],
                    report,
                );
                return self.sequence(given, report).map(Rule::Sequence);
            }
            (None, Some(given)) => return self.counts(given, report).map(Rule::Counts),
            (Some(_), Some(_)) => DoorFlaw::TwoRules,
            (None, None) => DoorFlaw::NoSequence,
        };
        report.add(self.own.at, self.flawed(flaw));
        None
    }

    fn counts(&self, given: &Given<Counts>, report: &mut Report) -> Option<CountsRule> {
        let own = &self.own.table;
        let unused = [
            ("seq_timeout", written(own.seq_timeout.as_ref())),
            ("knock_timeout", written(own.knock_timeout.as_ref())),
            ("min_gap", written(own.min_gap.as_ref())),
            ("strict", written(own.strict.as_ref())),
        ];
        self.warn_of_other_rule(&unused, report);
        let Some(port) = &self.table.port else {
            report.add(given.key, self.flawed(DoorFlaw::NoPort));
            return None;
        };
        let window = value(self.table.window.as_ref()).unwrap_or(WINDOW);
        let mut rule = CountsRule::new(port.value?.0, window, &given.value.as_ref()?.0)?;
        rule.while_right = self.table.cmd_timeout.is_none();
        Some(rule)
    }

    /// What `totp` or `one_time_sequences` says.
    fn one_time(&self, report: &mut Report) -> Option<OneTimeRule> {
        let own = &self.own.table;
        let ways = [
            written(own.sequence.as_ref()),
            written(own.counts.as_ref()),
            own.totp.as_ref().map(|given| given.key),
            own.one_time_sequences.as_ref().map(|given| given.key),
        ];
        if ways.iter().flatten().count() > 1 {
            report.add(self.own.at, self.flawed(DoorFlaw::TwoRules));
            return None;
        }
        let unused = [
            ("port", written(own.port.as_ref())),
            ("window", written(own.window.as_ref())),
        ];
        self.warn_of_other_rule(&unused, report);
        let rule = OneTimeRule {
            origin: self.origin(report)?,
            window: value(self.table.seq_timeout.as_ref()).unwrap_or(SEQ_TIMEOUT),
            knock_timeout: value(self.table.knock_timeout.as_ref()),
            min_gap: value(self.table.min_gap.as_ref()),
            other_ports: self.other_ports(),
        };
        let pace = (rule.window, rule.knock_timeout, rule.min_gap);
        self.check_gap(rule.origin.knocks(), pace, report);
        Some(rule)
    }

    fn origin(&self, report: &mut Report) -> Option<Origin> {
        let own = &self.own.table;
        if let Some(given) = &own.totp {
            return one_time::totp(given.value.as_ref()?, report).map(Origin::Totp);
        }
        let given = own.one_time_sequences.as_ref()?;
        let ahead = self.table.look_ahead.as_ref();
        let ahead = ahead.map_or(Some(LOOK_AHEAD), |given| {
            let (least, most) = (1, 100);
            let ahead = usize::try_from(given.value?).ok();
            ahead.filter(|ahead| (1..=100).contains(ahead)).or_else(|| {
                report.add(given.span, Problem::Range { least, most });
                None
            })
        })?;
        let list = one_time::list(given.value.as_ref()?, given.span, ahead, report)?;
        let mut lines = list.lines.iter();
        if lines.any(|line| is_in_order(line.sequence.steps())) {
            report.add(given.key, self.flawed(DoorFlaw::InOrder));
        }
        Some(Origin::List(list))
    }

    fn other_ports(&self) -> OtherPorts {
        match value(self.table.strict.as_ref()) {
            Some(false) => OtherPorts::Ignore,
            _ => OtherPorts::Reset,
        }
    }

    fn warn_of_other_rule(&self, keys: &[(&'static str, Option<Span>)], report: &mut Report) {
        for (key, at) in keys {
            if let Some(at) = at {
                report.add(*at, self.flawed(DoorFlaw::OtherRule { key }));
            }
        }
    }

    fn sequence(&self, given: &Given<Steps>, report: &mut Report) -> Option<SequenceRule> {
        let table = &self.table;
        let sequence = given.value.clone()?;
        if sequence.len() == 1 {
            report.add(given.key, self.flawed(DoorFlaw::OneStep));
        }
        if is_in_order(sequence.steps()) {
            report.add(given.key, self.flawed(DoorFlaw::InOrder));
        }
        let rule = SequenceRule {
            window: value(table.seq_timeout.as_ref()).unwrap_or(SEQ_TIMEOUT),
            knock_timeout: value(table.knock_timeout.as_ref()),
            min_gap: value(table.min_gap.as_ref()),
            other_ports: self.other_ports(),
            sequence,
        };
        let pace = (rule.window, rule.knock_timeout, rule.min_gap);
        self.check_gap(rule.sequence.len(), pace, report);
        Some(rule)
    }

    /// Whether the steps can be knocked within their times. All limits are inclusive.
    fn check_gap(
        &self,
        steps: usize,
        (window, knock_timeout, min_gap): (Duration, Option<Duration>, Option<Duration>),
        report: &mut Report,
    ) {
        let (Some(gap), Some(given)) = (min_gap, &self.table.min_gap) else {
            return;
        };
        let gaps = gaps(steps);
        let shortest = gap.checked_mul(gaps).unwrap_or(Duration::MAX);
        if gaps > 0 && knock_timeout.is_some_and(|most| gap > most) {
            report.add(given.span, self.flawed(DoorFlaw::GapBeyondKnockTimeout));
        } else if shortest > window {
            report.add(given.span, self.flawed(DoorFlaw::GapBeyondWindow));
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

/// How many times a knocker waits between two steps.
fn gaps(steps: usize) -> u32 {
    u32::try_from(steps.saturating_sub(1)).unwrap_or(u32::MAX)
}

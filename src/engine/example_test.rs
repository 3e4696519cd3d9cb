//! What tests begin with: a plain door, to be changed in what a test is about.
//!
//! In: ports, words. Out: values of the engine. It is a module of the engine's tests and of
//! `tests/integration.rs`, so it names the crate from outside.

use std::time::Duration;

use logknock::engine::command::Template;
use logknock::engine::door::{
    Door, GrantRule, Judging, Limits, OnRepeat, OtherPorts, Pace, PerFamily, Rule, Scope,
    SequenceRule, Sharing,
};
use logknock::engine::one_time::Line;
use logknock::engine::sequence::{Sequence, Step, Transport};

/// A knock over TCP.
pub(crate) const fn tcp(port: u16) -> Step {
    Step {
        port,
        transport: Transport::Tcp,
    }
}

/// Knocks over TCP, 1 to 32.
pub(crate) fn sequence(ports: &[u16]) -> Sequence {
    let steps: Vec<_> = ports.iter().copied().map(tcp).collect();
    Sequence::new(steps).unwrap()
}

/// These ports within 25 s, strictly.
pub(crate) fn rule(ports: &[u16]) -> SequenceRule {
    SequenceRule {
        sequence: sequence(ports),
        pace: PACE,
    }
}

/// Within 25 s, strictly.
pub(crate) const PACE: Pace = Pace {
    window: Duration::from_secs(25),
    knock_timeout: None,
    min_gap: None,
    other_ports: OtherPorts::Reset,
};

/// `ssh`, for everybody who knocks so; it would stay open for a minute, but has no command at all.
pub(crate) fn door(ports: &[u16]) -> Door {
    Door {
        name: "ssh".into(),
        scope: Scope::default(),
        rule: Rule::Sequence(rule(ports)),
        limits: Limits::default(),
        fleet: Sharing::Off,
        grant: GrantRule {
            hold: Duration::from_secs(60),
            on_repeat: OnRepeat::Extend,
            open: PerFamily::default(),
            refresh: PerFamily::default(),
            close: PerFamily::default(),
            opens: Box::default(),
            once: Box::default(),
            judging: Judging::Own,
        },
    }
}

/// The same command for both families.
pub(crate) fn command(words: &[&str]) -> PerFamily {
    let template = Template::from_words(words).unwrap();
    PerFamily {
        v4: Some(template.clone()),
        v6: Some(template),
    }
}

/// A line of a file of sequences.
pub(crate) fn line(number: u32, ports: &[u16]) -> Line {
    Line {
        number,
        text: format!("{ports:?}").into(),
        sequence: sequence(ports),
    }
}

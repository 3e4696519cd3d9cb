//! A door: what must be knocked, by whom, and what opens then. Already validated by `config`.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

use super::command::Template;
use super::one_time::Origin;
use super::packet::TcpFlags;
use super::sequence::{Sequence, Step, Transport};

/// One door of the config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Door {
    /// Its name: 1 to 64 of `A-Z a-z 0-9 . _ -`.
    pub name: Arc<str>,
    /// Which packets are hits for it at all.
    pub scope: Scope,
    /// What must be knocked.
    pub rule: Rule,
    /// When an address is no longer listened to.
    pub limits: Limits,
    /// What happens once it has been.
    pub grant: GrantRule,
    /// What of it the gateways of a fleet share.
    pub fleet: Sharing,
}

impl Door {
    /// Whether it opens the port of `step`.
    pub fn opens(&self, step: Step) -> bool {
        self.grant.opens.contains(&step)
    }

    /// How long it stays open for `src`; `None` if it is not held open.
    pub fn hold(&self, src: IpAddr) -> Option<Duration> {
        self.grant.close.of(src).map(|_| self.grant.hold)
    }

    /// Whether a hit at `step` changes nothing: the port is one that the door opens, where the client that
    /// knocks may be trying already, and none of its knocks.
    pub fn is_neutral(&self, step: Step) -> bool {
        !matches!(self.rule, Rule::Counts(_)) && self.opens(step) && !self.rule.may_have(step)
    }
}

/// Which packets a door looks at; any other neither advances nor resets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Flags that a TCP packet must have.
    pub flags_set: TcpFlags,
    /// Flags that it must not have.
    pub flags_clear: TcpFlags,
    /// Only packets that arrive at this interface.
    pub interface: Option<Box<str>>,
    /// Only packets to this address (knockd's `target`).
    pub target: Option<IpAddr>,
    /// Only packets from these networks; everywhere when empty.
    pub allow: Vec<IpNet>,
    /// None from these, whatever `allow` says.
    pub deny: Vec<IpNet>,
    /// Ports that are open to everybody: a connection there is no knock.
    pub public: Box<[Step]>,
}

impl Default for Scope {
    /// The start of a TCP connection, or UDP, from anywhere.
    fn default() -> Self {
        Self {
            flags_set: TcpFlags::SYN,
            flags_clear: TcpFlags::ACK,
            interface: None,
            target: None,
            allow: Vec::new(),
            deny: Vec::new(),
            public: Box::default(),
        }
    }
}

/// When a door does not listen to an address for a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// After failed attempts.
    pub lockout: Option<Lockout>,
    /// After an open.
    pub cooldown: Option<Duration>,
}

/// How many failed attempts are too many. A fail is an attempt that had advanced and was reset by a
/// wrong port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lockout {
    /// How many failures …
    pub fails: u32,
    /// … within this, from the first, inclusive …
    pub within: Duration,
    /// … and how long nothing counts.
    pub time: Duration,
}

/// How a door is knocked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Ports in order.
    Sequence(SequenceRule),
    /// One port, counted in windows.
    Counts(CountsRule),
    /// Ports in order, an order once each.
    OneTime(OneTimeRule),
}

impl Rule {
    /// How many knocks it takes.
    pub fn knocks(&self) -> usize {
        match self {
            Self::Sequence(rule) => rule.sequence.len(),
            Self::Counts(rule) => rule.total(),
            Self::OneTime(rule) => rule.origin.knocks(),
        }
    }

    /// How long an attempt can last, first knock to last.
    pub fn window(&self) -> Duration {
        match self {
            Self::Sequence(rule) => rule.pace.window,
            Self::Counts(rule) => rule.span(),
            Self::OneTime(rule) => rule.pace.window,
        }
    }

    /// Whether a knock at `step` can be the first one. `false` only if it does nothing to an address that has not
    /// begun.
    pub fn may_begin_with(&self, step: Step) -> bool {
        match self {
            Self::Sequence(rule) => rule.sequence.steps().first() == Some(&step),
            Self::Counts(rule) => rule.counts(step),
            // What else may be knocked now is not known here.
            Self::OneTime(rule) => match rule.origin.beginning() {
                Some(beginning) => beginning.first() == Some(&step),
                None => true,
            },
        }
    }

    /// The average number of random guesses until one is right. A hit may count over both transports.
    pub fn guesses(&self) -> f64 {
        const CHOICES: f64 = 2.0 * 65_535.0;
        let of = |knocks: usize| CHOICES.powi(i32::try_from(knocks).unwrap_or(i32::MAX));
        match self {
            Self::Sequence(rule) => of(rule.sequence.len()),
            // Each hit of a guess enters and leaves every window, and each time another pattern may be right.
            Self::Counts(rule) => {
                let groups = u8::try_from(rule.groups.len()).unwrap_or(u8::MAX);
                let total = u32::try_from(rule.total()).unwrap_or(u32::MAX);
                let patterns = 9_f64.powi(groups.into());
                (patterns / (f64::from(groups) * f64::from(total))).max(1.0)
            }
            Self::OneTime(rule) => match &rule.origin {
                Origin::Totp(totp) => totp.guesses(),
                Origin::List(list) => {
                    of(self.knocks()) / f64::from(u32::try_from(list.ahead).unwrap_or(1).max(1))
                }
            },
        }
    }

    /// Whether a hit at `step` can be one of its knocks.
    pub fn may_have(&self, step: Step) -> bool {
        match self {
            Self::Sequence(rule) => rule.sequence.has(step),
            Self::Counts(rule) => rule.counts(step),
            Self::OneTime(rule) => match &rule.origin {
                Origin::Totp(totp) => totp.may_have(step),
                Origin::List(list) => list.lines.iter().any(|line| line.sequence.has(step)),
            },
        }
    }

    /// The number of its first knock at `port`, from 1, by any transport. The inner value is `None` if knocks have no
    /// fixed ports.
    pub fn step_at(&self, port: u16) -> Option<Option<usize>> {
        let fixed = match self {
            Self::Sequence(rule) => Some(rule.sequence.steps()),
            Self::OneTime(rule) => rule.origin.beginning(),
            Self::Counts(_) => None,
        };
        let mut fixed = fixed.into_iter().flatten();
        if let Some(place) = fixed.position(|step| step.port == port) {
            return Some(Some(place + 1));
        }
        let mut either = [Transport::Tcp, Transport::Udp].into_iter();
        either
            .any(|transport| self.may_have(Step { port, transport }))
            .then_some(None)
    }

    /// How fast it must be knocked, where it is ports in order.
    pub(super) const fn pace(&self) -> Option<&Pace> {
        match self {
            Self::Sequence(rule) => Some(&rule.pace),
            Self::OneTime(rule) => Some(&rule.pace),
            Self::Counts(_) => None,
        }
    }

    /// Where its sequences come from, if each opens once.
    pub const fn origin(&self) -> Option<&Origin> {
        match self {
            Self::OneTime(rule) => Some(&rule.origin),
            Self::Sequence(_) | Self::Counts(_) => None,
        }
    }

    /// The knock that completes it, if it is the same at all times.
    pub fn last_step(&self) -> Option<Step> {
        match self {
            Self::Sequence(rule) => rule.sequence.steps().last().copied(),
            Self::Counts(rule) => Some(Step {
                port: rule.port.0,
                transport: rule.port.1.unwrap_or(Transport::Tcp),
            }),
            Self::OneTime(_) => None,
        }
    }
}

/// Ports in order within a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceRule {
    /// The ports.
    pub sequence: Sequence,
    /// How fast.
    pub pace: Pace,
}

/// Ports in order within a time, as one of the sequences that may be knocked now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneTimeRule {
    /// Where these come from.
    pub origin: Origin,
    /// How fast.
    pub pace: Pace,
}

/// Hits on one port, counted in windows (Open Sesamy).
#[derive(Clone, PartialEq, Eq)]
pub struct CountsRule {
    /// The port, and its transport if only one counts.
    pub port: (u16, Option<Transport>),
    /// How long one window is.
    pub window: Duration,
    /// Whether the door closes when the pattern is no longer right, however long it may stay open.
    pub while_right: bool,
    groups: Box<[u8]>,
}

impl CountsRule {
    /// A rule of `groups`, first to last; `None` unless there are 1 to 9 of 1 to 9 hits each.
    pub fn new(port: (u16, Option<Transport>), window: Duration, groups: &[u8]) -> Option<Self> {
        let valid =
            (1..=9).contains(&groups.len()) && groups.iter().all(|count| (1..=9).contains(count));
        valid.then(|| Self {
            port,
            window,
            while_right: true,
            groups: groups.into(),
        })
    }

    /// Hits in each window, first to last.
    pub fn groups(&self) -> &[u8] {
        &self.groups
    }

    /// Hits in all windows together.
    pub fn total(&self) -> usize {
        self.groups.iter().map(|&count| usize::from(count)).sum()
    }

    /// All windows together.
    pub fn span(&self) -> Duration {
        self.span_of(self.groups.len())
    }

    /// The length of a number of windows.
    pub(super) fn span_of(&self, windows: usize) -> Duration {
        let windows = u32::try_from(windows).unwrap_or(u32::MAX);
        self.window.saturating_mul(windows)
    }

    /// Whether `step` is one that is counted.
    pub fn counts(&self, step: Step) -> bool {
        let (port, transport) = self.port;
        step.port == port && transport.is_none_or(|transport| transport == step.transport)
    }
}

impl fmt::Debug for CountsRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "CountsRule({} windows of {:?})",
            self.groups.len(),
            self.window
        )
    }
}

/// How fast a sequence must be knocked, and the effect of other ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// From the first knock to the last, inclusive.
    pub window: Duration,
    /// Longest time between two knocks, inclusive.
    pub knock_timeout: Option<Duration>,
    /// Shortest time between two knocks, inclusive.
    pub min_gap: Option<Duration>,
    /// What another port does.
    pub other_ports: OtherPorts,
}

/// What a hit on a port outside the sequence does to an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherPorts {
    /// Resets it (`strict = true`): no scan walks through.
    Reset,
    /// Nothing, as in knockd.
    Ignore,
}

/// `fleet`: what of a door the gateways of a fleet share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Sharing {
    /// Nothing.
    #[default]
    Off,
    /// It opens on all of them; a code opens it once in all.
    Open,
    /// Its codes: each opens it once, on the gateway at which it is knocked.
    Once,
}

/// What a completed knock does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantRule {
    /// How long it stays open after the last right knock.
    pub hold: Duration,
    /// What a right knock does while it is open.
    pub on_repeat: OnRepeat,
    /// Run to open.
    pub open: PerFamily,
    /// Run at a right knock while it is open and `on_repeat` extends: renews what would end by itself.
    pub refresh: PerFamily,
    /// Run to close. With none for a family, nothing is held open for it.
    pub close: PerFamily,
    /// The ports that it opens; empty where commands of its own say what.
    pub opens: Box<[Step]>,
    /// Ports of which the first connection closes it; empty when it stays open until its time is up.
    pub once: Box<[Step]>,
    /// How the ends of its commands are judged.
    pub judging: Judging,
}

/// When a door's command counts as failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Judging {
    /// Commands of the operator's own: a failure is reported; a close is owed for a day, and up to eight to one
    /// address.
    #[default]
    Own,
    /// Commands for a firewall's set, which may run twice: a close is owed until it succeeds.
    Firewall,
    /// As knockd does: a status is logged and otherwise ignored, but for a close, which is tried three times.
    Knockd,
}

/// A command for each address family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PerFamily {
    /// For IPv4.
    pub v4: Option<Template>,
    /// For IPv6.
    pub v6: Option<Template>,
}

impl PerFamily {
    /// The command for the family of `address`.
    pub fn of(&self, address: IpAddr) -> Option<&Template> {
        match address {
            IpAddr::V4(_) => self.v4.as_ref(),
            IpAddr::V6(_) => self.v6.as_ref(),
        }
    }
}

/// `on_repeat`: what a right knock does while the door is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum OnRepeat {
    /// Moves the deadline; no command but the door's `refresh`.
    #[default]
    Extend,
    /// Nothing.
    Ignore,
    /// Closes and opens again.
    Reopen,
}

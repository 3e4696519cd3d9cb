//! What the kernel holds against what the configuration needs: a model of its hooks, chains and rules.
//!
//! In: what `nft -j list ruleset`, `iptables-save` and `ip6tables-save` print, and a [`Need`]. Out: [`Fault`]s; none
//! when knocks are logged, strangers are dropped and addresses that have knocked get in. A packet of each kind is
//! walked through the rules. What the model does not understand may or may not match: such a rule proves nothing, so
//! a fault is reported only if the rules that are understood prove it. No fault names a port of a sequence.

mod iptables;
mod nft;

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use thiserror::Error;

use super::{Backend, Family};
use crate::engine::sequence::{Step, Transport};

/// Chains one inside another that are followed.
const MAX_DEPTH: usize = 16;

/// The rules of a kernel.
#[derive(Clone, Debug, Default)]
pub struct Kernel {
    chains: Vec<Chain>,
    /// Sets and chains of ours that hold what is open.
    open: Vec<String>,
}

/// A chain.
#[derive(Clone, Debug)]
struct Chain {
    /// Family and name of its table.
    table: String,
    /// The only family whose packets it sees, if there is one.
    family: Option<Family>,
    name: String,
    hook: Option<Hook>,
    rules: Vec<Rule>,
}

/// Where a chain is called from.
#[derive(Clone, Copy, Debug)]
struct Hook {
    point: Point,
    priority: i64,
    drops: bool,
}

/// Where packets to this host pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Point {
    Prerouting,
    Input,
}

/// A rule.
#[derive(Clone, Debug, Default)]
struct Rule {
    when: Vec<Match>,
    /// The most packets a second, over all addresses.
    rate: Option<f64>,
    log: Option<String>,
    /// The NFLOG group that it logs to, instead of the kernel's log.
    group: Option<u16>,
    then: Option<Then>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Then {
    Accept,
    Drop,
    Return,
    Jump(String),
    Goto(String),
    Rewrite,
}

/// What a packet is asked.
#[derive(Clone, Debug)]
enum Match {
    Transport(Transport, bool),
    Family(Family, bool),
    Ports(Vec<RangeInclusive<u16>>, bool),
    /// The same of one protocol: a packet of the other is neither in nor out.
    PortsOf(Transport, Vec<RangeInclusive<u16>>, bool),
    /// Whether it begins a connection.
    Begins(bool),
    /// Whether it is of a connection that conntrack knows; `new` is the opposite.
    Tracked(bool),
    /// Whether it comes from this host itself.
    Loopback(bool),
    /// Whether it is addressed to this host.
    Local(bool),
    /// Whether its sender is one that the rule names.
    From(bool),
    /// Whether its sender is among those for whom this has opened its port.
    Open(Backend),
    Never,
    Unknown,
}

/// Whether a packet matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sure {
    No,
    Maybe,
    Yes,
}

/// A packet that begins something, from an address that no rule names.
#[derive(Clone, Copy, Debug)]
struct Packet {
    family: Family,
    to: Step,
    /// What has opened its port, if its sender has knocked.
    opened: Option<Backend>,
}

impl Match {
    fn of(&self, packet: Packet) -> Sure {
        let (is, wanted) = match self {
            Self::Transport(transport, wanted) => (packet.to.transport == *transport, *wanted),
            Self::Family(family, wanted) => (packet.family == *family, *wanted),
            Self::Ports(ports, wanted) => (
                ports.iter().any(|ports| ports.contains(&packet.to.port)),
                *wanted,
            ),
            Self::PortsOf(transport, ..) if packet.to.transport != *transport => return Sure::No,
            Self::PortsOf(_, ports, wanted) => (
                ports.iter().any(|ports| ports.contains(&packet.to.port)),
                *wanted,
            ),
            Self::Begins(_) if packet.to.transport != Transport::Tcp => return Sure::No,
            Self::Begins(wanted) | Self::Local(wanted) => (true, *wanted),
            // A stranger is of no network that is named; an address that has knocked may be.
            Self::From(_) if packet.opened.is_some() => return Sure::Maybe,
            Self::From(wanted) | Self::Tracked(wanted) | Self::Loopback(wanted) => (false, *wanted),
            Self::Open(by) => (packet.opened == Some(*by), true),
            Self::Never => (false, true),
            Self::Unknown => return Sure::Maybe,
        };
        if is == wanted { Sure::Yes } else { Sure::No }
    }
}

/// The place of a rule or a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    table: String,
    chain: String,
    priority: i64,
    /// By the chain's policy.
    is_policy: bool,
}

impl Place {
    fn is_ours(&self) -> bool {
        self.table == super::nft::TABLE || self.chain.starts_with(super::iptables::CHAIN)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            table,
            chain,
            priority,
            ..
        } = self;
        let policy = if self.is_policy {
            ", by its policy"
        } else {
            ""
        };
        write!(
            f,
            "table {table}, chain {chain} (priority {priority}{policy})"
        )
    }
}

/// What became of a packet.
#[derive(Debug, Default)]
struct Walk {
    /// Whether our rule has logged it, and how sure that is.
    logged: Option<Sure>,
    /// The rate over all addresses of the rule that did.
    rate: Option<(f64, Place)>,
    /// Other prefixes that it was logged with.
    others: Vec<Place>,
    /// Where it was logged with ours, to a group that no source reads.
    unread: Vec<Place>,
    rewritten: Option<Place>,
    /// Whether it was rewritten or dropped before it was logged.
    dropped: Option<Place>,
    /// A rule that is not understood may have let it through the chain that it is in.
    maybe_let_in: bool,
}

/// How a chain ends.
#[derive(PartialEq, Eq)]
enum End {
    Accepted,
    Dropped,
    Returned,
}

impl Kernel {
    /// Reads the output of the tools; other text gives no rules. Tables that `iptables-save` prints too are taken
    /// from there, as nft does not say what their matches mean.
    pub fn read(nft: &str, iptables: [&str; 2]) -> Self {
        let mut kernel = Self::default();
        for (family, text) in Family::ALL.into_iter().zip(iptables) {
            iptables::read(&mut kernel, family, text);
        }
        nft::read(&mut kernel, nft);
        let order = |chain: &Chain| chain.hook.map(|hook| (hook.point, hook.priority));
        kernel.chains.sort_by_key(order);
        kernel
    }

    fn chain(&mut self, table: &str, name: &str) -> Option<&mut Chain> {
        let is_it = |chain: &&mut Chain| chain.table == table && chain.name == name;
        self.chains.iter_mut().find(is_it)
    }

    fn walk(&self, packet: Packet, need: &Need<'_>) -> Walk {
        let mut walker = Walker {
            kernel: self,
            packet,
            need,
            walk: Walk::default(),
        };
        for chain in &self.chains {
            let Some(hook) = chain.hook else { continue };
            if chain.family.is_some_and(|family| family != packet.family) {
                continue;
            }
            walker.walk.maybe_let_in = false;
            let place = Place {
                table: chain.table.clone(),
                chain: chain.name.clone(),
                priority: hook.priority,
                is_policy: false,
            };
            let end = walker.follow(chain, &place, Sure::Yes, 0);
            let by_policy = end == End::Returned && hook.drops && !walker.walk.maybe_let_in;
            if by_policy {
                walker.walk.dropped = Some(Place {
                    is_policy: true,
                    ..place
                });
            }
            // A rewritten packet continues with another port, which is not known here.
            if walker.walk.dropped.is_some() || walker.walk.rewritten.is_some() {
                break;
            }
        }
        walker.walk
    }
}

/// A packet on its walk.
struct Walker<'a> {
    kernel: &'a Kernel,
    packet: Packet,
    need: &'a Need<'a>,
    walk: Walk,
}

impl Walker<'_> {
    /// Follows `chain`, which is `depth` chains below the one of `hook`.
    fn follow(&mut self, chain: &Chain, hook: &Place, sure: Sure, depth: usize) -> End {
        let (packet, need) = (self.packet, self.need);
        for rule in &chain.rules {
            let matches = rule.when.iter().map(|asked| asked.of(packet)).min();
            let matches = matches.unwrap_or(Sure::Yes).min(sure);
            if matches == Sure::No {
                continue;
            }
            let place = Place {
                chain: chain.name.clone(),
                ..hook.clone()
            };
            match &rule.log {
                Some(log) if log != need.prefix.unwrap_or_default() => {
                    self.walk.others.push(place.clone());
                }
                Some(_) if !need.reads(rule.group) => self.walk.unread.push(place.clone()),
                Some(_) => {
                    self.walk.logged = self.walk.logged.max(Some(matches));
                    if let Some(rate) = rule.rate {
                        self.walk.rate = Some((rate, place.clone()));
                    }
                }
                None => {}
            }
            // A rule with a limit lets a single packet pass, and not the next.
            let matches = if rule.rate.is_some() {
                matches.min(Sure::Maybe)
            } else {
                matches
            };
            let (target, comes_back) = match &rule.then {
                Some(Then::Jump(target)) => (target, true),
                Some(Then::Goto(target)) => (target, false),
                Some(then) => {
                    match (then, matches) {
                        (Then::Accept | Then::Return | Then::Rewrite, Sure::Maybe) => {
                            self.walk.maybe_let_in = true;
                        }
                        (Then::Accept, _) => return End::Accepted,
                        (Then::Return, _) => return End::Returned,
                        (Then::Rewrite, _) => {
                            self.walk.rewritten = Some(place);
                            return End::Accepted;
                        }
                        (Then::Drop, Sure::Yes) if !self.walk.maybe_let_in => {
                            self.walk.dropped = Some(place);
                            return End::Dropped;
                        }
                        (Then::Drop | Then::Jump(_) | Then::Goto(_), _) => {}
                    }
                    continue;
                }
                None => continue,
            };
            // Its elements let addresses in that knocked, past the rest of the chain.
            if packet.opened == Some(Backend::Iptables) && target == super::iptables::CHAIN {
                return End::Accepted;
            }
            let is_target = |other: &&Chain| other.table == chain.table && other.name == *target;
            let target = self.kernel.chains.iter().find(is_target);
            let Some(target) = target.filter(|_| depth < MAX_DEPTH) else {
                self.walk.maybe_let_in = true;
                continue;
            };
            match self.follow(target, hook, matches, depth + 1) {
                End::Returned if comes_back || matches != Sure::Yes => {}
                end if matches == Sure::Yes => return end,
                _ => self.walk.maybe_let_in = true,
            }
        }
        End::Returned
    }
}

impl Kernel {
    /// Whether a rule appended to `INPUT` of iptables comes after one that drops new connections to a port.
    pub fn drops_before_appended(&self, to: Step) -> bool {
        let chains = self.chains.iter();
        let mut chains = chains.filter(|chain| {
            chain.name == "INPUT" && ["ip filter", "ip6 filter"].contains(&&*chain.table)
        });
        chains.any(|chain| {
            let packet = Packet {
                family: chain.family.unwrap_or(Family::V4),
                to,
                opened: Some(Backend::Iptables),
            };
            let drops = |rule: &Rule| rule.then == Some(Then::Drop) && rule.rate.is_none();
            let is_sure = |rule: &Rule| rule.when.iter().all(|asked| asked.of(packet) == Sure::Yes);
            chain.rules.iter().any(|rule| drops(rule) && is_sure(rule))
        })
    }
}

/// What the configuration needs of the kernel.
#[derive(Clone, Copy, Debug)]
pub struct Need<'a> {
    /// The log prefix, where something must be logged.
    pub prefix: Option<&'a str>,
    /// The NFLOG groups that are read, where nothing else is.
    pub groups: Option<&'a [u16]>,
    /// The knocks of each door, and the time for all of them.
    pub doors: &'a [(Vec<Step>, Duration)],
    /// The ports that are closed to addresses that have not knocked.
    pub guarded: &'a [Step],
    /// What opens them.
    pub backend: Option<Backend>,
}

impl Need<'_> {
    /// Whether what is logged to this group, or to the kernel's log, may come.
    fn reads(&self, group: Option<u16>) -> bool {
        self.groups
            .is_none_or(|groups| group.is_some_and(|group| groups.contains(&group)))
    }
}

/// A fault that keeps a door from opening, or from being closed.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum Fault {
    /// A port is not closed to strangers.
    #[error("the rules are not loaded: {} open to everybody", are(.0))]
    Open(Vec<Step>),
    /// The set or chain of open doors is missing.
    #[error("{0} is missing: an open door would let nobody in")]
    NoPlaceForOpen(&'static str),
    /// Nothing logs with the prefix.
    #[error("nothing logs with the configured prefix")]
    NotLogged,
    /// A rule logs with another one.
    #[error("the rule in {0} logs with another prefix than the configured one")]
    OtherPrefix(Place),
    /// A rule logs to what no source reads.
    #[error("the rule in {0} does not log to an NFLOG group that is a source")]
    NotRead(Place),
    /// Fewer packets are logged than a knock has.
    #[error(
        "the rule in {place} logs {per_minute} packets a minute over all addresses; \
         a knock needs {knocks} in {within:?}"
    )]
    Limited {
        /// The rule's.
        place: Place,
        /// The packets a minute that are logged.
        per_minute: u32,
        /// The number of knocks …
        knocks: usize,
        /// … in this time.
        within: Duration,
    },
    /// A knock is dropped before it is logged. Its step is numbered from 1.
    #[error("{0} drops step {1} before it is logged")]
    StepDropped(Place, usize),
    /// A knock gets another port before it is logged.
    #[error("{0} redirects step {1} before it is logged")]
    StepRedirected(Place, usize),
    /// An address that has knocked is still dropped at a port.
    #[error("{0} drops what a door lets in at {port}", port = port(*.1))]
    OpenDropped(Place, Step),
}

impl Fault {
    /// Whether loading the rules fixes it.
    pub const fn is_of_missing_rules(&self) -> bool {
        matches!(
            self,
            Self::Open(_) | Self::NoPlaceForOpen(_) | Self::NotLogged | Self::OtherPrefix(_)
        )
    }

    /// What mends it.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Open(_)
            | Self::NoPlaceForOpen(_)
            | Self::NotLogged
            | Self::OtherPrefix(_)
            | Self::NotRead(_) => "logknock rules --load",
            Self::Limited { .. } => {
                "remove the limit from that rule, or load the printed rules: logknock rules --load"
            }
            Self::StepDropped(..) => {
                "move that rule behind the one that logs, or choose other ports"
            }
            Self::StepRedirected(..) => {
                "log before the nat rule, as the printed rules do, or choose other ports"
            }
            Self::OpenDropped(place, _) if place.is_ours() => {
                "remove what was loaded for another backend: logknock rules --remove && logknock rules --load"
            }
            Self::OpenDropped(..) => "have that chain accept the port",
        }
    }
}

fn port(step: Step) -> String {
    format!("{}/{}", step.port, step.transport.as_str())
}

/// `port 22/tcp is`, `ports 22/tcp, 80/tcp are`.
fn are(steps: &[Step]) -> String {
    let ports: Vec<_> = steps.iter().copied().map(port).collect();
    let (word, verb) = match steps {
        [_] => ("port", "is"),
        _ => ("ports", "are"),
    };
    format!("{word} {} {verb}", ports.join(", "))
}

/// What is wrong.
pub fn faults(kernel: &Kernel, need: &Need<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut add = |fault: Fault| {
        if !faults.contains(&fault) {
            faults.push(fault);
        }
    };
    let walk = |family, to, opened| {
        let packet = Packet { family, to, opened };
        kernel.walk(packet, need)
    };
    let mut open: Vec<Step> = Vec::new();
    for family in Family::ALL {
        let mut is_logged = false;
        let mut is_open = false;
        let mut found = Vec::new();
        for (steps, within) in need.doors {
            for (step, number) in steps.iter().zip(1..) {
                let mut walk = walk(family, *step, None);
                if walk.logged.is_some() {
                    is_logged = true;
                    if let Some((rate, place)) = walk.rate
                        && rate * within.as_secs_f64()
                            < f64::from(u32::try_from(steps.len()).unwrap_or(u32::MAX))
                    {
                        found.push(Fault::Limited {
                            place,
                            per_minute: per_minute(rate),
                            knocks: steps.len(),
                            within: *within,
                        });
                    }
                    continue;
                }
                if let Some(place) = walk.unread.pop() {
                    found.push(Fault::NotRead(place));
                    continue;
                }
                let other = walk.others.pop();
                found.push(match (walk.dropped, walk.rewritten, other) {
                    (_, _, Some(place)) => Fault::OtherPrefix(place),
                    (Some(place), ..) => Fault::StepDropped(place, number),
                    (_, Some(place), _) => Fault::StepRedirected(place, number),
                    (None, None, None) => Fault::NotLogged,
                });
            }
        }
        for port in need.guarded {
            if walk(family, *port, None).dropped.is_none() {
                is_open = true;
                if !open.contains(port) {
                    open.push(*port);
                }
            } else if let Some(place) = walk(family, *port, need.backend).dropped {
                found.push(Fault::OpenDropped(place, *port));
            }
        }
        // Where nothing logs and a port is open, the rules are missing, and what becomes of a knock follows from that.
        let are_missing = is_open && !is_logged;
        let follows = |fault: &Fault| {
            matches!(
                fault,
                Fault::NotLogged | Fault::StepDropped(..) | Fault::StepRedirected(..)
            )
        };
        found.retain(|fault| !(are_missing && follows(fault)));
        found.into_iter().for_each(&mut add);
    }
    if !open.is_empty() {
        faults.insert(0, Fault::Open(open));
    } else if let (Some(backend), false) = (need.backend, need.guarded.is_empty()) {
        let name = match backend {
            Backend::Nft => "set open4 of table inet logknock",
            Backend::Ipset => "set logknock4",
            Backend::Iptables => "chain LOGKNOCK",
        };
        let knows = |word: &str| kernel.open.iter().any(|open| open == word);
        let word = name.split(' ').nth(1).unwrap_or_default();
        if !knows(word) {
            faults.insert(0, Fault::NoPlaceForOpen(name));
        }
    }
    faults
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a number for people; the cast saturates"
)]
fn per_minute(rate: f64) -> u32 {
    (rate * 60.0).round() as u32
}

#[cfg(test)]
#[path = "live_test.rs"]
mod tests;

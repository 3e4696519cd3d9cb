//! Which grants of other gateways count here, which of ours are published, and which gateway may use a code.
//!
//! In: grants that came over the bus, what was opened here, claims and their outcomes, time. Out: what to open and
//! until when, signed grants to publish, claims to make. Pure: no clock, socket or file.
//!
//! The bus can only add. A grant ends at its own end or at the end of this gateway's hold from the moment at which it
//! was opened, whichever comes first; its id is remembered until then, so it is taken once. So an attacker who
//! replays, prolongs or invents grants gains nothing. A peer can open only the doors that are listed for it, up to a
//! rate. Whatever came from the bus is never published again.

pub mod grant;
pub mod message;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::{SigningKey, VerifyingKey};
use strum::{IntoStaticStr, VariantArray};

use self::grant::SignedGrant;
use self::message::{Code, ToAgent};
use crate::engine::door::{Door, Sharing};
use crate::engine::finding::Knocked;
use crate::engine::grant::{Grant, GrantId, may_open};
use crate::engine::one_time::Used;
use crate::engine::time::Time;

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without its key.
        write!(f, "Fleet({}, {} ids)", self.rules.name, self.ids.len())
    }
}

/// How far the clock of a peer may be ahead.
const MAX_AHEAD_MS: i64 = 1000;
/// Ids remembered at a time.
const MAX_IDS: usize = 65_536;
/// Claims that wait at a time.
const MAX_CLAIMS: usize = 64;
/// Refusals that are kept to be explained.
const MAX_TOLD: usize = 256;
const MINUTE_MS: i64 = 60_000;

/// What the configuration says.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The name of this gateway.
    pub name: String,
    /// The gateways that may open doors here.
    pub peers: BTreeMap<String, Peer>,
    /// What a code does when no gateway can be asked whether it was used elsewhere.
    pub without_bus: WithoutBus,
    /// How long a claim may take.
    pub claim_timeout: Duration,
    /// How many grants of one minute are taken from each peer.
    pub most_a_minute: u32,
}

/// A gateway that may open doors here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its public key.
    pub key: VerifyingKey,
    /// The doors that it may open.
    pub doors: Vec<Arc<str>>,
}

/// `without_bus`: what a code does when the bus does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum WithoutBus {
    /// It opens here: each gateway is on its own.
    #[default]
    Alone,
    /// It opens nothing.
    Shut,
}

/// Why a grant of another gateway does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Refused {
    /// It is our own.
    Own,
    /// It was taken before.
    Known,
    /// Its time is over.
    Expired,
    /// Its texts or times cannot be.
    Malformed,
    /// It came from the subject of another gateway.
    #[strum(serialize = "wrong_subject")]
    Subject,
    /// No such peer is configured.
    #[strum(serialize = "unknown_peer")]
    Peer,
    /// The peer may not open this door, or there is none that a fleet opens.
    #[strum(serialize = "door_not_listed")]
    Door,
    /// The door does not let this address in.
    #[strum(serialize = "address_not_allowed")]
    Address,
    /// It was opened in the future: a clock is wrong.
    Clock,
    /// The peer has opened too many in that minute.
    Rate,
    /// There is no room for another id.
    Full,
    /// The peer's key did not sign it.
    Signature,
}

impl Refused {
    /// The word used in JSON and tables.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Whether it happens where all is well: grants are read again after each interruption.
    pub const fn is_usual(self) -> bool {
        matches!(self, Self::Own | Self::Known | Self::Expired)
    }
}

/// The outcome for a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It opens.
    Open,
    /// Another gateway has used it.
    Elsewhere,
    /// No gateway can be asked, and it opens nothing then.
    NoBus,
}

/// A knock with a code, decided.
#[derive(Clone, Debug)]
pub struct Decided {
    /// The door.
    pub door: Arc<Door>,
    /// The knock.
    pub knocked: Knocked,
    /// Whether it opens.
    pub verdict: Verdict,
}

/// What is known of one peer since the start.
#[derive(Clone, Debug, Default)]
pub struct PeerCounts {
    /// Grants that counted.
    pub taken: u64,
    /// When the last one was opened, in milliseconds since the Unix epoch.
    pub last: Option<i64>,
    /// How much later it came than it was opened, in milliseconds.
    pub lag: Option<i64>,
    /// Those that did not count, by reason.
    pub refused: BTreeMap<Refused, u64>,
}

/// How claims ended since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClaimCounts {
    /// Won.
    pub won: u64,
    /// Lost to another gateway.
    pub lost: u64,
    /// Decided without the bus.
    pub without_bus: u64,
}

/// A refusal that can be explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// When, in milliseconds since the Unix epoch.
    pub at: i64,
    /// The gateway that it came from.
    pub from: String,
    /// The door.
    pub door: String,
    /// For whom it was to open.
    pub src: IpAddr,
    /// Why it does not count.
    pub why: Refused,
}

#[derive(Clone, Debug)]
struct Remembered {
    end: i64,
    door: Arc<str>,
    src: IpAddr,
    /// It was closed before its end.
    is_closed: bool,
}

#[derive(Debug)]
struct Claim {
    number: u64,
    door: Arc<Door>,
    knocked: Knocked,
    until: Time,
}

impl Claim {
    fn decided(self, verdict: Verdict) -> Decided {
        Decided {
            door: self.door,
            knocked: self.knocked,
            verdict,
        }
    }
}

/// The state of this gateway in its fleet.
pub struct Fleet {
    rules: Rules,
    key: SigningKey,
    /// By gateway and id, the grants that were taken.
    ids: BTreeMap<String, Remembered>,
    /// Grants taken, by peer and the minute in which they were opened; and when the last of them ends.
    taken: BTreeMap<(String, i64), (u32, i64)>,
    peers: BTreeMap<String, PeerCounts>,
    claims: Vec<Claim>,
    /// How claims ended.
    pub claim_counts: ClaimCounts,
    last_claim: u64,
    /// Until when the grants that the bus has stored are open.
    stored: BTreeMap<GrantId, Time>,
    /// Those that it has not, by their ids.
    unstored: BTreeMap<String, (GrantId, Time)>,
    told: VecDeque<Told>,
    /// Whether the bus can be reached.
    pub is_connected: bool,
}

impl Fleet {
    /// A gateway that follows `rules` and signs with `key`.
    pub fn new(rules: Rules, key: SigningKey) -> Self {
        Self {
            rules,
            key,
            ids: BTreeMap::new(),
            taken: BTreeMap::new(),
            peers: BTreeMap::new(),
            claims: Vec::new(),
            claim_counts: ClaimCounts::default(),
            last_claim: 0,
            stored: BTreeMap::new(),
            unstored: BTreeMap::new(),
            told: VecDeque::new(),
            is_connected: false,
        }
    }

    /// Takes new rules and another key. The memory stays.
    pub fn handle_reload(&mut self, rules: Rules, key: SigningKey) {
        self.rules = rules;
        self.key = key;
    }

    /// Takes over the id of a grant that an earlier run closed before its end.
    pub fn restore_closed(&mut self, id: String, end: i64) {
        let nowhere = IpAddr::from([0; 4]);
        let remembered = Remembered {
            end,
            door: "".into(),
            src: nowhere,
            is_closed: true,
        };
        self.ids.insert(id, remembered);
    }

    /// The ids that must be known to a later run, and until when.
    pub fn closed(&self) -> impl Iterator<Item = (&str, i64)> {
        let closed = self.ids.iter().filter(|(_, seen)| seen.is_closed);
        closed.map(|(id, seen)| (id.as_str(), seen.end))
    }

    /// Takes a grant that came from the subject of `from` at the Unix time `now`, in milliseconds. `door` is the
    /// door of its name. Returns until when it opens that, at the latest.
    pub fn handle_grant(
        &mut self,
        from: &str,
        grant: &SignedGrant,
        door: Option<&Door>,
        now: i64,
    ) -> Result<i64, Refused> {
        self.forget(now);
        let taken = self.check(from, grant, door, now);
        // Names that are not configured are not collected.
        let name = if self.rules.peers.contains_key(from) {
            from
        } else {
            ""
        };
        let counts = self.peers.entry(name.to_owned()).or_default();
        match taken {
            Ok(_) => {
                counts.taken += 1;
                counts.last = Some(grant.opened);
                counts.lag = Some(now - grant.opened);
            }
            Err(why) => {
                *counts.refused.entry(why).or_default() += 1;
                if !why.is_usual() && grant.is_sound() {
                    self.told.push_back(Told {
                        at: now,
                        from: grant.origin.clone(),
                        door: grant.door.clone(),
                        src: grant.src,
                        why,
                    });
                    let surplus = self.told.len().saturating_sub(MAX_TOLD);
                    self.told.drain(..surplus);
                }
            }
        }
        taken
    }

    fn check(
        &mut self,
        from: &str,
        grant: &SignedGrant,
        door: Option<&Door>,
        now: i64,
    ) -> Result<i64, Refused> {
        let refused = |is: bool, why: Refused| if is { Err(why) } else { Ok(()) };
        refused(!grant.is_sound(), Refused::Malformed)?;
        refused(grant.origin != from, Refused::Subject)?;
        refused(grant.origin == self.rules.name, Refused::Own)?;
        // No gateway can take the ids of another one away.
        let id = format!("{}/{}", grant.origin, grant.id);
        refused(self.ids.contains_key(&id), Refused::Known)?;
        let peer = self.rules.peers.get(&grant.origin).ok_or(Refused::Peer)?;
        let door = door.filter(|door| door.fleet == Sharing::Open);
        let door = door.filter(|door| peer.doors.contains(&door.name));
        let door = door.ok_or(Refused::Door)?;
        refused(may_open(door, grant.src).is_err(), Refused::Address)?;
        refused(grant.opened > now + MAX_AHEAD_MS, Refused::Clock)?;
        let end = grant.expires.min(grant.opened + millis(door.grant.hold));
        refused(end <= now, Refused::Expired)?;
        refused(self.ids.len() >= MAX_IDS, Refused::Full)?;
        let minute = (grant.origin.clone(), grant.opened.div_euclid(MINUTE_MS));
        let (count, last) = self.taken.get(&minute).copied().unwrap_or_default();
        refused(count >= self.rules.most_a_minute, Refused::Rate)?;
        // Last, because it costs as much as all of the others a hundred times.
        refused(!grant.is_signed_by(&peer.key), Refused::Signature)?;
        self.taken.insert(minute, (count + 1, end.max(last)));
        let remembered = Remembered {
            end,
            door: Arc::clone(&door.name),
            src: grant.src,
            is_closed: false,
        };
        self.ids.insert(id, remembered);
        Ok(end)
    }

    /// Forgets what is over at the Unix time `now`, in milliseconds.
    fn forget(&mut self, now: i64) {
        self.ids.retain(|_, seen| seen.end > now);
        let minute = now.div_euclid(MINUTE_MS);
        self.taken
            .retain(|(_, opened), (_, end)| *end > now || *opened >= minute);
    }

    /// Records that `door` is closed for `src` at the Unix time `now`. Returns whether a later run must know more
    /// than before.
    pub fn handle_closed(&mut self, door: &str, src: IpAddr, now: i64) -> bool {
        self.ids.retain(|_, seen| seen.end > now);
        let mut is_new = false;
        let theirs = |seen: &&mut Remembered| *seen.door == *door && seen.src == src;
        for seen in self.ids.values_mut().filter(theirs) {
            is_new |= !std::mem::replace(&mut seen.is_closed, true);
        }
        is_new
    }

    /// The grant as it is published, if it is to be: it was opened by a knock here, at a door that the fleet opens.
    /// `clocks` are the boot clock, and the Unix time in milliseconds at that moment; `boot` tells this boot.
    pub fn publish(
        &mut self,
        id: GrantId,
        grant: &Grant,
        door: &Door,
        clocks: (Time, i64),
        boot: &str,
    ) -> Option<ToAgent> {
        let is_stored = self.stored.get(&id) == Some(&grant.deadline);
        if door.fleet != Sharing::Open || grant.origin.is_some() || is_stored {
            return None;
        }
        let (now, unix) = clocks;
        let expires = unix + millis(grant.deadline.since(now));
        let signed = SignedGrant {
            id: format!("{boot}-{:x}-{:x}", id.0, grant.deadline.as_nanos()),
            door: grant.door.to_string(),
            src: grant.src,
            opened: expires - millis(door.grant.hold),
            expires,
            origin: self.rules.name.clone(),
            signature: String::new(),
        };
        if expires <= unix || !signed.is_sound() {
            return None;
        }
        if self.unstored.len() >= MAX_IDS {
            self.unstored.retain(|_, (_, deadline)| *deadline > now);
        }
        let key = signed.id.clone();
        self.unstored.insert(key, (id, grant.deadline));
        Some(ToAgent::Publish(signed.signed(&self.key)))
    }

    /// Records that the bus has stored the grant of this id.
    pub fn handle_published(&mut self, id: &str, now: Time) {
        self.stored.retain(|_, deadline| *deadline > now);
        if let Some((grant, deadline)) = self.unstored.remove(id) {
            self.stored.insert(grant, deadline);
        }
    }

    /// Takes a knock at `door`. It is decided at once, or its code is claimed first; `nonce` is random.
    pub fn handle_knocked(
        &mut self,
        door: &Arc<Door>,
        knocked: Knocked,
        now: Time,
        nonce: u64,
    ) -> Result<Decided, Box<ToAgent>> {
        let code = match knocked.used {
            Some(used) if door.fleet != Sharing::Off => match used {
                Used::Until(until) => Code::Step(door.name.to_string(), until),
                Used::Line(number) => Code::Line(door.name.to_string(), number),
            },
            _ => {
                let verdict = Verdict::Open;
                let door = Arc::clone(door);
                return Ok(Decided {
                    door,
                    knocked,
                    verdict,
                });
            }
        };
        self.last_claim += 1;
        let claim = Claim {
            number: self.last_claim,
            door: Arc::clone(door),
            knocked,
            until: now.after(self.rules.claim_timeout),
        };
        if !self.is_connected || self.claims.len() >= MAX_CLAIMS {
            return Ok(self.without_bus(claim));
        }
        self.claims.push(claim);
        Err(Box::new(ToAgent::Claim {
            number: self.last_claim,
            code,
            by: format!("{} {nonce:016x}", self.rules.name),
        }))
    }

    /// Takes the outcome of a claim; returns nothing if it came too late.
    pub fn handle_claimed(&mut self, number: u64, is_won: bool) -> Option<Decided> {
        let at = self
            .claims
            .iter()
            .position(|claim| claim.number == number)?;
        let claim = self.claims.swap_remove(at);
        let (count, verdict) = if is_won {
            (&mut self.claim_counts.won, Verdict::Open)
        } else {
            (&mut self.claim_counts.lost, Verdict::Elsewhere)
        };
        *count += 1;
        Some(claim.decided(verdict))
    }

    /// Records whether the bus can be reached. When it is gone, claims no longer wait for it.
    pub fn handle_connected(&mut self, is_connected: bool) -> Vec<Decided> {
        self.is_connected = is_connected;
        let given_up = if is_connected {
            Vec::new()
        } else {
            std::mem::take(&mut self.claims)
        };
        let given_up = given_up.into_iter();
        given_up.map(|claim| self.without_bus(claim)).collect()
    }

    /// Decides claims that have waited for too long.
    pub fn handle_timeout(&mut self, now: Time) -> Vec<Decided> {
        let (late, waiting) = std::mem::take(&mut self.claims)
            .into_iter()
            .partition(|claim| now >= claim.until);
        self.claims = waiting;
        let late: Vec<Claim> = late;
        late.into_iter()
            .map(|claim| self.without_bus(claim))
            .collect()
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.claims.iter().map(|claim| claim.until).min()
    }

    fn without_bus(&mut self, claim: Claim) -> Decided {
        self.claim_counts.without_bus += 1;
        claim.decided(match self.rules.without_bus {
            WithoutBus::Alone => Verdict::Open,
            WithoutBus::Shut => Verdict::NoBus,
        })
    }

    /// The peers of the configuration with their counts; an empty name has the counts of messages from no peer.
    pub fn peers(&self) -> impl Iterator<Item = (&str, PeerCounts)> {
        let configured = self.rules.peers.keys().map(String::as_str);
        let others = self.peers.keys().map(String::as_str);
        let others = others.filter(|name| name.is_empty());
        configured.chain(others).map(|name| {
            let counts = self.peers.get(name).cloned();
            (name, counts.unwrap_or_default())
        })
    }

    /// Grants that the bus has not stored yet.
    pub fn unpublished(&self, now: Time) -> usize {
        let open = self.unstored.values().filter(|(_, end)| *end > now);
        open.count()
    }

    /// The last grants that did not count and would have opened a door for `src`.
    pub fn told(&self, src: IpAddr) -> impl Iterator<Item = &Told> {
        self.told.iter().filter(move |told| told.src == src)
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
#[path = "fleet_test.rs"]
mod tests;

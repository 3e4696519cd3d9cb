//! What a gateway takes from others, attack by attack; and that many gateways on a bus that loses, delays and repeats
//! come to the same grants.

use super::*;
use crate::engine::example;
use crate::engine::grant::Grants;

const HOLD: Duration = Duration::from_secs(60);
/// A moment, in milliseconds since the Unix epoch.
const NOW: i64 = 1_795_300_000_000;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn door(name: &str, fleet: Sharing) -> Arc<Door> {
    let mut door = example::door(&[7001, 8002]);
    door.name = name.into();
    door.fleet = fleet;
    door.grant.hold = HOLD;
    door.grant.open = example::command(&["/bin/open"]);
    door.grant.close = example::command(&["/bin/close"]);
    Arc::new(door)
}

fn src(last: u8) -> IpAddr {
    IpAddr::from([203, 0, 113, last])
}

fn rules(name: &str, peers: &[(&str, u8, &[&str])]) -> Rules {
    let peers = peers.iter().map(|(name, seed, doors)| {
        let doors = doors.iter().map(|&door| door.into()).collect();
        let key = key(*seed).verifying_key();
        ((*name).to_owned(), Peer { key, doors })
    });
    Rules {
        name: name.to_owned(),
        peers: peers.collect(),
        without_bus: WithoutBus::Alone,
        claim_timeout: Duration::from_millis(300),
        most_a_minute: 5,
    }
}

/// gw1, which lets gw2 open `ssh`.
fn gw1() -> Fleet {
    Fleet::new(rules("gw1", &[("gw2", 2, &["ssh"])]), key(1))
}

/// A grant of gw2 that was opened just now.
fn plain() -> SignedGrant {
    SignedGrant {
        id: "b007-1-1".to_owned(),
        door: "ssh".to_owned(),
        src: src(7),
        opened: NOW,
        expires: NOW + 30_000,
        origin: "gw2".to_owned(),
        signature: String::new(),
    }
}

/// What gw1 says of `grant`, signed by the key of this seed, from the subject of gw2.
fn taken(fleet: &mut Fleet, grant: SignedGrant, seed: u8, now: i64) -> Result<i64, Refused> {
    let door = door(&grant.door, Sharing::Open);
    fleet.handle_grant("gw2", &grant.signed(&key(seed)), Some(&door), now)
}

#[test]
fn a_peers_grant_opens_until_its_own_end() {
    let mut fleet = gw1();
    assert_eq!(taken(&mut fleet, plain(), 2, NOW + 3), Ok(NOW + 30_000));
    let (name, counts) = fleet.peers().next().unwrap();
    assert_eq!((name, counts.taken, counts.lag), ("gw2", 1, Some(3)));
}

#[test]
fn nothing_of_a_grant_can_be_changed_behind_its_signature() {
    let signed = plain().signed(&key(2));
    let door = door("ssh", Sharing::Open);
    let changes: [fn(&mut SignedGrant); 5] = [
        |grant| grant.id = "b007-1-2".to_owned(),
        |grant| grant.src = src(8),
        |grant| grant.opened -= 1,
        |grant| grant.expires += 1,
        |grant| grant.signature.replace_range(..1, "*"),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut grant = signed.clone();
        change(&mut grant);
        if grant.signature == signed.signature || number == 4 {
            let refused = gw1().handle_grant("gw2", &grant, Some(&door), NOW);
            assert_eq!(refused, Err(Refused::Signature), "{number}");
        }
    }
}

#[test]
fn each_attack_is_refused_and_reported() {
    let later = |grant: SignedGrant, by: i64| SignedGrant {
        opened: grant.opened + by,
        expires: grant.expires + by,
        ..grant
    };
    let ssh = door("ssh", Sharing::Open);
    let cases = [
        (Refused::Signature, plain(), 3),
        (Refused::Signature, plain(), 1),
        (Refused::Clock, later(plain(), 3_600_000), 2),
        (Refused::Expired, later(plain(), -3_600_000), 2),
        (
            Refused::Malformed,
            SignedGrant {
                expires: NOW - 1,
                ..plain()
            },
            2,
        ),
        (
            Refused::Malformed,
            SignedGrant {
                id: "../x".to_owned(),
                ..plain()
            },
            2,
        ),
        (
            Refused::Malformed,
            SignedGrant {
                src: "::ffff:203.0.113.7".parse().unwrap(),
                ..plain()
            },
            2,
        ),
        (
            Refused::Address,
            SignedGrant {
                src: "224.0.0.1".parse().unwrap(),
                ..plain()
            },
            2,
        ),
        (
            Refused::Door,
            SignedGrant {
                door: "web".to_owned(),
                ..plain()
            },
            2,
        ),
    ];
    for (why, grant, seed) in cases {
        let mut fleet = gw1();
        assert_eq!(
            taken(&mut fleet, grant.clone(), seed, NOW),
            Err(why),
            "{grant:?}"
        );
        let (_, counts) = fleet.peers().next().unwrap();
        assert_eq!(counts.refused.get(&why), Some(&1));
        let is_explained = !why.is_usual() && grant.is_sound();
        assert_eq!(
            fleet.told(grant.src).count(),
            usize::from(is_explained),
            "{grant:?}"
        );
    }
    let signed = plain().signed(&key(2));
    let ask = |fleet: &mut Fleet, from: &str, door: Option<&Door>| {
        fleet.handle_grant(from, &signed, door, NOW)
    };
    assert_eq!(ask(&mut gw1(), "gw3", Some(&ssh)), Err(Refused::Subject));
    assert_eq!(ask(&mut gw1(), "gw2", None), Err(Refused::Door));
    for fleet in [Sharing::Off, Sharing::Once] {
        let not_shared = door("ssh", fleet);
        assert_eq!(
            ask(&mut gw1(), "gw2", Some(&not_shared)),
            Err(Refused::Door)
        );
    }
    let mut alone = Fleet::new(rules("gw1", &[]), key(1));
    assert_eq!(ask(&mut alone, "gw2", Some(&ssh)), Err(Refused::Peer));
    let mut itself = Fleet::new(rules("gw2", &[("gw2", 2, &["ssh"])]), key(2));
    assert_eq!(ask(&mut itself, "gw2", Some(&ssh)), Err(Refused::Own));
}

#[test]
fn a_replayed_grant_counts_once_and_a_longer_end_prolongs_nothing() {
    let mut fleet = gw1();
    assert!(taken(&mut fleet, plain(), 2, NOW).is_ok());
    assert_eq!(taken(&mut fleet, plain(), 2, NOW), Err(Refused::Known));
    let longer = SignedGrant {
        expires: NOW + 3_600_000,
        ..plain()
    };
    assert_eq!(
        taken(&mut fleet, longer.clone(), 2, NOW),
        Err(Refused::Known)
    );
    assert_eq!(
        taken(&mut fleet, plain(), 2, NOW + 30_001),
        Err(Refused::Expired)
    );
    // By itself it is held no longer than this gateway holds the door.
    assert_eq!(taken(&mut gw1(), longer.clone(), 2, NOW), Ok(NOW + 60_000));
    assert_eq!(
        taken(&mut gw1(), longer, 2, NOW + 60_000),
        Err(Refused::Expired)
    );
}

#[test]
fn a_flood_of_grants_ends_at_the_bound_of_each_minute() {
    let mut fleet = gw1();
    let grant = |number: i64, opened: i64| SignedGrant {
        id: format!("b007-{number:x}-1"),
        opened,
        ..plain()
    };
    let taken = |fleet: &mut Fleet, number, opened| taken(fleet, grant(number, opened), 2, NOW);
    let in_one_minute = NOW.div_euclid(60_000) * 60_000;
    let counted = (0..100).filter(|&number| taken(&mut fleet, number, in_one_minute).is_ok());
    assert_eq!(counted.count(), 5);
    assert_eq!(taken(&mut fleet, 200, in_one_minute), Err(Refused::Rate));
    // Those of the minute before, which a cut has held back, are counted on their own.
    let counted = (300..400).filter(|&number| taken(&mut fleet, number, in_one_minute - 1).is_ok());
    assert_eq!(counted.count(), 5);
}

#[test]
fn a_grant_that_was_closed_here_is_refused_by_a_later_run() {
    let mut fleet = gw1();
    assert!(taken(&mut fleet, plain(), 2, NOW).is_ok());
    assert!(!fleet.handle_closed("web", src(7), NOW));
    assert!(fleet.handle_closed("ssh", src(7), NOW));
    assert!(!fleet.handle_closed("ssh", src(7), NOW));
    let mut next = gw1();
    for (id, end) in fleet.closed() {
        next.restore_closed(id.to_owned(), end);
    }
    assert_eq!(taken(&mut next, plain(), 2, NOW + 5), Err(Refused::Known));
}

/// Gateways that may open `ssh` at each other.
fn peers(count: usize) -> BTreeMap<String, Peer> {
    let keys: Vec<_> = (0..250).map(|seed| key(seed).verifying_key()).collect();
    let peer = |number: usize| {
        let key = keys[number % 250];
        let doors = vec!["ssh".into()];
        (format!("gw{number}"), Peer { key, doors })
    };
    (0..count).map(peer).collect()
}

/// What is open at one gateway, with its boot clock.
#[derive(Debug)]
struct Gateway {
    fleet: Fleet,
    grants: Grants,
    door: Arc<Door>,
    /// How far its wall clock is ahead, in milliseconds.
    skew: i64,
}

impl Gateway {
    fn new(number: usize, peers: &BTreeMap<String, Peer>) -> Self {
        let mut rules = rules(&format!("gw{number}"), &[]);
        rules.peers.clone_from(peers);
        rules.most_a_minute = 10_000;
        let seed = u8::try_from(number % 250).unwrap();
        Self {
            fleet: Fleet::new(rules, key(seed)),
            grants: Grants::default(),
            door: door("ssh", Sharing::Open),
            skew: 0,
        }
    }

    fn unix(&self, now: Time) -> i64 {
        NOW + now.as_nanos() / 1_000_000 + self.skew
    }

    /// A knock here; the grant to publish.
    fn knock(&mut self, src: IpAddr, now: Time) -> Option<SignedGrant> {
        self.grants.handle_open(&self.door, src, now).unwrap();
        self.settle(now);
        let (id, grant) = self.grants.open_at(&self.door.name, src)?;
        let clocks = (now, self.unix(now));
        match self.fleet.publish(id, grant, &self.door, clocks, "b007")? {
            ToAgent::Publish(grant) => Some(grant),
            other => panic!("{other:?}"),
        }
    }

    fn hear(&mut self, grant: &SignedGrant, now: Time) {
        let unix = self.unix(now);
        let end = self
            .fleet
            .handle_grant(&grant.origin, grant, Some(&self.door), unix);
        if let Ok(end) = end {
            let left = Duration::from_millis(u64::try_from(end - unix).unwrap());
            let origin = Arc::from(grant.origin.as_str());
            let until = now.after(left);
            self.grants
                .handle_granted(&self.door, grant.src, until, &origin, now)
                .unwrap();
            self.settle(now);
        }
    }

    /// Lets time pass, and answers every order with success.
    fn settle(&mut self, now: Time) {
        self.grants.handle_timeout(now);
        while let Some(order) = self.grants.poll_order() {
            let outcome = crate::engine::grant::Outcome::Done;
            self.grants.handle_finished(&order.task, outcome, "", now);
        }
        self.grants.take_changes();
        while self.grants.poll_told().is_some() {}
    }

    fn open(&self) -> Vec<IpAddr> {
        let mut open: Vec<_> = self.grants.iter().map(|(_, grant)| grant.src).collect();
        open.sort_unstable();
        open
    }
}

#[test]
fn what_came_from_the_bus_is_never_published_again_and_a_knock_here_is() {
    let mut gateways = [0, 1].map(|number| Gateway::new(number, &peers(2)));
    let [one, two] = &mut gateways;
    let now = Time::from_secs(100);
    let grant = one.knock(src(7), now).unwrap();
    two.hear(&grant, now.after(Duration::from_millis(3)));
    let (id, held) = two.grants.open_at(&two.door.name, src(7)).unwrap();
    assert_eq!(held.origin.as_deref(), Some("gw0"));
    assert_eq!(
        two.fleet.publish(id, held, &two.door, (now, NOW), "b007"),
        None
    );
    // The same knock is not published twice once the bus has it; one that prolongs it is.
    one.fleet.handle_published(&grant.id, now);
    let (id, held) = one.grants.open_at(&one.door.name, src(7)).unwrap();
    assert_eq!(
        one.fleet.publish(id, held, &one.door, (now, NOW), "b007"),
        None
    );
    let again = two
        .knock(src(7), now.after(Duration::from_secs(20)))
        .unwrap();
    assert_ne!(again.id, grant.id);
    assert!(again.expires > grant.expires);
    one.hear(&again, now.after(Duration::from_secs(21)));
    one.settle(now.after(Duration::from_secs(70)));
    assert_eq!(
        one.open(),
        [src(7)],
        "the later knock holds it open here, too"
    );
}

#[test]
fn the_bus_never_shortens_what_is_open() {
    let mut gateway = Gateway::new(0, &peers(2));
    let now = Time::from_secs(100);
    gateway.knock(src(7), now).unwrap();
    let short = SignedGrant {
        origin: "gw1".to_owned(),
        opened: gateway.unix(now),
        expires: gateway.unix(now) + 1_000,
        ..plain()
    };
    gateway.hear(&short.signed(&key(1)), now);
    gateway.settle(now.after(Duration::from_secs(59)));
    assert_eq!(gateway.open(), [src(7)]);
}

fn code_door() -> (Arc<Door>, Knocked) {
    let door = door("vpn", Sharing::Once);
    let knocked = Knocked {
        used: Some(Used::Until(1_795_300_030)),
        ..Knocked::by_hand(src(7), &door)
    };
    (door, knocked)
}

#[test]
fn a_code_is_claimed_before_it_opens_and_a_lost_claim_opens_nothing() {
    let (door, knocked) = code_door();
    let now = Time::from_secs(100);
    let mut fleet = gw1();
    fleet.handle_connected(true);
    for (is_won, verdict) in [(true, Verdict::Open), (false, Verdict::Elsewhere)] {
        let claim = fleet
            .handle_knocked(&door, knocked.clone(), now, 7)
            .unwrap_err();
        let ToAgent::Claim { number, code, by } = *claim else {
            panic!("no claim")
        };
        assert_eq!(code.subject(), "lk.once.vpn.1795300030");
        assert_eq!(by, "gw1 0000000000000007");
        let decided = fleet.handle_claimed(number, is_won).unwrap();
        assert_eq!((decided.verdict, &decided.knocked), (verdict, &knocked));
        assert!(
            fleet.handle_claimed(number, true).is_none(),
            "it is decided once"
        );
    }
}

#[test]
fn without_the_bus_a_code_opens_alone_or_not_at_all_after_the_deadline() {
    let (door, knocked) = code_door();
    let now = Time::from_secs(100);
    for (without_bus, verdict) in [
        (WithoutBus::Alone, Verdict::Open),
        (WithoutBus::Shut, Verdict::NoBus),
    ] {
        let rules = Rules {
            without_bus,
            ..rules("gw1", &[])
        };
        let mut fleet = Fleet::new(rules, key(1));
        let decided = fleet
            .handle_knocked(&door, knocked.clone(), now, 1)
            .unwrap();
        assert_eq!(decided.verdict, verdict, "nobody is connected");
        fleet.handle_connected(true);
        assert!(
            fleet
                .handle_knocked(&door, knocked.clone(), now, 2)
                .is_err()
        );
        assert!(
            fleet
                .handle_timeout(now.after(Duration::from_millis(299)))
                .is_empty()
        );
        let due = fleet.poll_timeout().unwrap();
        assert_eq!(due, now.after(Duration::from_millis(300)));
        let late = fleet.handle_timeout(due);
        assert_eq!(late.first().map(|decided| decided.verdict), Some(verdict));
        assert!(
            fleet
                .handle_knocked(&door, knocked.clone(), now, 3)
                .is_err()
        );
        let gone = fleet.handle_connected(false);
        assert_eq!(gone.first().map(|decided| decided.verdict), Some(verdict));
    }
}

/// Random numbers that are the same in every run (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

/// `count` gateways with clocks up to half a second apart. Their bus delays each message by up to half a second, and
/// does not reach a third of the gateways for a while. What it holds back comes when it is healed.
fn simulate(count: usize, knocks: usize, seed: u64) {
    let mut dice = Dice(seed);
    let all = peers(count);
    let mut gateways: Vec<_> = (0..count)
        .map(|number| Gateway::new(number, &all))
        .collect();
    for gateway in &mut gateways {
        gateway.skew = i64::try_from(dice.below(1000)).unwrap() - 500;
    }
    // (when, to whom, what): the bus.
    let mut bus: Vec<(Time, usize, SignedGrant)> = Vec::new();
    let begin = Time::from_secs(1000);
    let healed = begin.after(Duration::from_secs(30));
    let cut: Vec<_> = (0..count).map(|_| dice.below(3) == 0).collect();
    let mut knocked = Vec::new();
    for number in 0..knocks {
        let at = begin.after(Duration::from_millis(dice.below(29_000)));
        let who = src(u8::try_from(number % 200).unwrap());
        knocked.push((at, usize::try_from(dice.below(count as u64)).unwrap(), who));
    }
    knocked.sort_by_key(|(at, ..)| *at);
    for (at, here, who) in knocked {
        let Some(grant) = gateways[here].knock(who, at) else {
            continue;
        };
        for there in (0..count).filter(|there| *there != here) {
            let delay = Duration::from_millis(dice.below(500));
            let is_cut = cut[here] || cut[there];
            let comes = if is_cut {
                healed.after(delay)
            } else {
                at.after(delay)
            };
            bus.push((comes, there, grant.clone()));
            if dice.below(10) == 0 {
                bus.push((comes.after(delay), there, grant.clone()));
            }
        }
    }
    bus.sort_by_key(|(at, ..)| *at);
    for (at, there, grant) in bus {
        gateways[there].hear(&grant, at);
    }
    let after = healed.after(Duration::from_secs(2));
    for gateway in &mut gateways {
        gateway.settle(after);
    }
    let open = gateways[0].open();
    assert!(!open.is_empty());
    for gateway in &gateways {
        // A grant whose end is within the second by which clocks differ may be in one and not in the other.
        assert_eq!(gateway.open(), open, "{}", gateway.fleet.rules.name);
    }
    let over = begin.after(Duration::from_secs(29) + HOLD + Duration::from_secs(1));
    for gateway in &mut gateways {
        gateway.settle(over);
        assert!(gateway.open().is_empty(), "no door is open past its hold");
    }
}

#[test]
fn gateways_that_a_cut_has_parted_have_the_same_grants_once_it_is_healed() {
    for seed in 1..=10 {
        simulate(3, 60, seed);
    }
    simulate(30, 40, 77);
    simulate(1000, 6, 6);
}

/// What a simulated bus carries.
enum Carried {
    /// A code is knocked at this gateway.
    Knock(usize, i64),
    /// This gateway writes to the subject of a code.
    Claim(usize, u64, String, String),
    /// The server's answer.
    Answer(usize, u64, bool),
    /// Time for what waits at this gateway.
    Timeout(usize),
}

/// How codes ended.
#[derive(Debug, Default)]
struct Ends {
    /// Opened after a won claim, by code.
    won: BTreeMap<i64, u32>,
    /// Opened, by code.
    opened: BTreeMap<i64, u32>,
    /// Decided by the deadline.
    alone: u32,
    messages: u32,
}

/// `count` gateways, of which some see each of `codes` codes. The bus delays each message by up to `delay` milliseconds.
/// It loses one of `loss`, or none if that is 0, and does not reach the first `cut` gateways.
fn simulate_claims(
    count: usize,
    codes: i64,
    without_bus: WithoutBus,
    [delay, loss, cut, seed]: [u64; 4],
) -> Ends {
    let mut dice = Dice(seed);
    let (door, knocked) = code_door();
    let mut gateways: Vec<_> = (0..count)
        .map(|number| {
            let rules = Rules {
                without_bus,
                ..rules(&format!("gw{number}"), &[])
            };
            let mut fleet = Fleet::new(rules, key(1));
            fleet.handle_connected(true);
            fleet
        })
        .collect();
    let mut queue: BTreeMap<(Time, u64), Carried> = BTreeMap::new();
    let mut last = 0;
    let mut put = |queue: &mut BTreeMap<_, _>, at: Time, what: Carried| {
        last += 1;
        queue.insert((at, last), what);
    };
    let begin = Time::from_secs(1000);
    for code in 0..codes {
        let at = begin.after(Duration::from_millis(dice.below(10_000)));
        for _ in 0..=dice.below(4) {
            let here = usize::try_from(dice.below(count as u64)).unwrap();
            let at = at.after(Duration::from_millis(dice.below(100)));
            put(&mut queue, at, Carried::Knock(here, code));
        }
    }
    let mut written: BTreeMap<String, String> = BTreeMap::new();
    let mut ends = Ends::default();
    while let Some(((now, _), what)) = queue.pop_first() {
        let is_lost =
            |dice: &mut Dice, here: usize| (here as u64) < cut || loss > 0 && dice.below(loss) == 0;
        let (decided, is_answer) = match what {
            Carried::Knock(here, code) => {
                let mut knocked = knocked.clone();
                knocked.used = Some(Used::Until(code));
                let fleet = &mut gateways[here];
                match fleet.handle_knocked(&door, knocked, now, dice.below(u64::MAX)) {
                    Ok(decided) => (vec![decided], false),
                    Err(claim) => {
                        let ToAgent::Claim { number, code, by } = *claim else {
                            panic!("no claim")
                        };
                        let due = now.after(Duration::from_millis(300));
                        put(&mut queue, due, Carried::Timeout(here));
                        ends.messages += 1;
                        if !is_lost(&mut dice, here) {
                            let at = now.after(Duration::from_millis(dice.below(delay)));
                            let claim = Carried::Claim(here, number, code.subject(), by);
                            put(&mut queue, at, claim);
                        }
                        continue;
                    }
                }
            }
            Carried::Claim(here, number, subject, by) => {
                let first = written.entry(subject).or_insert_with(|| by.clone());
                let is_won = *first == by;
                ends.messages += 1;
                if !is_lost(&mut dice, here) {
                    let at = now.after(Duration::from_millis(dice.below(delay)));
                    put(&mut queue, at, Carried::Answer(here, number, is_won));
                }
                continue;
            }
            Carried::Answer(here, number, is_won) => {
                let decided = gateways[here].handle_claimed(number, is_won);
                (decided.into_iter().collect(), true)
            }
            Carried::Timeout(here) => (gateways[here].handle_timeout(now), false),
        };
        for decided in decided {
            let Some(Used::Until(code)) = decided.knocked.used else {
                panic!("another code")
            };
            ends.alone += u32::from(!is_answer);
            if decided.verdict == Verdict::Open {
                *ends.opened.entry(code).or_default() += 1;
                if is_answer {
                    *ends.won.entry(code).or_default() += 1;
                }
            }
        }
    }
    for fleet in &gateways {
        assert!(fleet.poll_timeout().is_none(), "nothing waits");
    }
    ends
}

#[test]
fn a_code_opens_once_among_three_to_a_thousand_gateways_whatever_the_bus_loses() {
    for (count, codes) in [(3, 600), (30, 600), (1000, 600)] {
        // A bus that answers in time: each code opens once.
        let well = simulate_claims(count, codes, WithoutBus::Alone, [140, 0, 0, 7]);
        assert_eq!(well.opened.len(), 600);
        assert!(well.opened.values().all(|&times| times == 1), "{count}");
        assert_eq!(well.alone, 0);
        // One that loses, is late, and does not reach a third of the gateways.
        let cut = count as u64 / 3;
        for seed in 1..=5 {
            let shut = simulate_claims(count, codes, WithoutBus::Shut, [400, 10, cut, seed]);
            assert!(shut.alone > 0);
            assert!(
                shut.opened.values().all(|&times| times == 1),
                "{count} {seed}"
            );
            let alone = simulate_claims(count, codes, WithoutBus::Alone, [400, 10, cut, seed]);
            assert!(
                alone.won.values().all(|&times| times == 1),
                "{count} {seed}"
            );
            assert_eq!(alone.opened.len(), 600, "each knock opens somewhere");
            let more: u32 = alone.opened.values().map(|times| times - 1).sum();
            assert!(
                more <= alone.alone,
                "only what the deadline decided opens twice"
            );
        }
        println!(
            "{count} gateways: {:.1} messages a code",
            f64::from(well.messages) / 600.0
        );
    }
}

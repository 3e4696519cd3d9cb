//! A grant when its commands fail, are slow, or were cut short by a crash.

use super::super::door::GrantRule;
use super::super::example;
use super::super::sequence::Step;
use super::*;

const STEP: Step = example::tcp(7000);
const SRC: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

impl Grants {
    /// Moves a deadline as a knock does, for a test that has no door.
    pub(crate) fn move_deadline(&mut self, id: GrantId, until: Time) {
        self.extend(id, until, None);
    }
}

fn door(on_repeat: OnRepeat, judging: Judging, close: &[&str]) -> Arc<Door> {
    let plain = example::door(&[STEP.port]);
    Arc::new(Door {
        grant: GrantRule {
            on_repeat,
            open: example::command(&["open"]),
            close: example::command(close),
            judging,
            ..plain.grant
        },
        ..plain
    })
}

/// Grants on a clock of their own, which runs in seconds.
struct Bench {
    grants: Grants,
    judging: Judging,
    now: Time,
    dst: IpAddr,
}

impl Default for Bench {
    fn default() -> Self {
        Self {
            grants: Grants::default(),
            judging: Judging::default(),
            now: Time::default(),
            dst: IpAddr::from([192, 0, 2, 1]),
        }
    }
}

impl Bench {
    fn judged(judging: Judging) -> Self {
        Self {
            judging,
            ..Self::default()
        }
    }

    fn knock(&mut self, on_repeat: OnRepeat) {
        self.knock_at(&door(on_repeat, self.judging, &["close"]));
    }

    fn knock_at(&mut self, door: &Arc<Door>) {
        let facts = Facts {
            src: SRC,
            dst: self.dst,
            step: STEP,
            interface: "eth0".into(),
            door: Arc::clone(&door.name),
            hold: Some(door.grant.hold),
        };
        let knocked = Knocked {
            facts,
            used: None,
            until: None,
            origin: None,
            last: None,
            whence: None,
        };
        self.grants.handle_knocked(door, &knocked, self.now);
    }

    fn restore(&mut self, deadline: i64, proven: bool, rebooted: bool) {
        let close = Invocation {
            argv: vec!["close".to_owned()],
            env: Vec::new(),
            account: None,
        };
        self.grants.restore(SavedGrant {
            id: GrantId(7),
            door: "ssh".into(),
            src: SRC,
            deadline: Time::from_secs(deadline),
            origin: None,
            close,
            judging: self.judging,
            proven,
            rebooted,
        });
    }

    fn sleep_until(&mut self, now: i64) {
        self.now = Time::from_secs(now);
        self.grants.handle_timeout(self.now);
    }

    /// Sleeps until something is due.
    fn sleep(&mut self) {
        self.now = self.grants.poll_timeout().unwrap();
        self.grants.handle_timeout(self.now);
    }

    /// What is run now, by the number of its grant; each command ends so.
    fn run(&mut self, outcome: Outcome) -> Vec<(&'static str, u64)> {
        let mut ran = Vec::new();
        while let Some(order) = self.grants.poll_order() {
            ran.push(match order.task {
                Task::Open(GrantId(id)) => ("open", id),
                Task::Close(GrantId(id)) => ("close", id),
                Task::Run(_) | Task::Mark(_) => continue,
            });
            self.grants
                .handle_finished(&order.task, outcome, "refused", self.now);
        }
        ran
    }

    /// The same without the numbers, followed by the grants that have left the disk.
    fn carry_out(&mut self, outcome: Outcome) -> Vec<&'static str> {
        let mut done: Vec<_> = self
            .run(outcome)
            .into_iter()
            .map(|(word, _)| word)
            .collect();
        let changes = self.grants.take_changes();
        done.extend(changes.iter().filter_map(|change| match change {
            Change::Closed(_) => Some("off"),
            _ => None,
        }));
        done
    }

    fn told(&mut self) -> Vec<Told> {
        std::iter::from_fn(|| self.grants.poll_told()).collect()
    }

    fn gave_up(&mut self) -> usize {
        let gave_up = |told: &Told| matches!(told, Told::GaveUp(..));
        self.told().iter().filter(|told| gave_up(told)).count()
    }
}

#[test]
fn a_close_for_a_firewall_that_fails_is_tried_again_for_ever_up_to_a_minute_apart() {
    let mut bench = Bench::judged(Judging::Firewall);
    bench.knock(OnRepeat::Extend);
    assert_eq!(bench.carry_out(Outcome::Done), ["open"]);
    bench.sleep_until(60);
    let mut waits = Vec::new();
    for _ in 0..3000 {
        assert_eq!(bench.carry_out(Outcome::Failed), ["close"]);
        let next = bench.grants.poll_timeout().unwrap();
        waits.push(next.since(bench.now).as_secs());
        bench.sleep();
    }
    assert_eq!(waits[..8], [1, 2, 4, 8, 16, 32, 60, 60]);
    assert_eq!(waits[2999], 60);
    assert_eq!(bench.gave_up(), 0, "two days later");
    assert_eq!(bench.carry_out(Outcome::Done), ["close", "off"]);
    assert!(bench.grants.is_empty());
}

#[test]
fn a_close_of_an_own_command_is_given_up_after_a_day_and_told_once() {
    let mut bench = Bench::default();
    bench.knock(OnRepeat::Extend);
    bench.run(Outcome::Done);
    bench.sleep_until(60);
    let first = bench.now;
    while bench.run(Outcome::Failed) == [("close", 1)] && !bench.grants.is_empty() {
        bench.sleep();
    }
    let day = bench.now.since(first);
    assert!(day >= MAX_OWED_TIME && day < MAX_OWED_TIME + LAST_RETRY);
    assert_eq!(bench.gave_up(), 1);
    let given_up: Vec<_> = bench.grants.given_up().collect();
    let [
        GivenUp {
            door, src, words, ..
        },
    ] = given_up[..]
    else {
        panic!("{given_up:?}");
    };
    assert_eq!((&**door, *src, &**words), ("ssh", SRC, "refused"));
    assert_eq!(bench.grants.poll_timeout(), None);
}

#[test]
fn a_close_in_knockds_manner_is_tried_three_times_and_its_open_may_fail() {
    let mut bench = Bench::judged(Judging::Knockd);
    bench.knock(OnRepeat::Extend);
    assert_eq!(bench.run(Outcome::Failed), [("open", 1)]);
    bench.sleep_until(60);
    for at in [60, 61, 63] {
        assert_eq!(bench.now, Time::from_secs(at));
        assert_eq!(bench.run(Outcome::Failed), [("close", 1)]);
        if at < 63 {
            bench.sleep();
        }
    }
    assert!(bench.grants.is_empty());
    assert_eq!(bench.gave_up(), 0);
}

#[test]
fn a_close_that_fails_holds_up_no_open_and_runs_when_that_is_closed() {
    let mut bench = Bench::default();
    bench.knock(OnRepeat::Extend);
    bench.run(Outcome::Done);
    bench.sleep_until(60);
    assert_eq!(bench.run(Outcome::Failed), [("close", 1)]);
    bench.knock(OnRepeat::Extend);
    assert_eq!(bench.run(Outcome::Done), [("open", 2)]);
    bench.sleep_until(119);
    assert_eq!(
        bench.run(Outcome::Done),
        [],
        "it could remove the newer rule"
    );
    bench.sleep_until(120);
    assert_eq!(bench.run(Outcome::Done), [("close", 2)]);
    bench.sleep();
    assert_eq!(bench.now, Time::from_secs(120));
    assert_eq!(bench.run(Outcome::Done), [("close", 1)]);
    assert!(bench.grants.is_empty());
}

#[test]
fn a_close_that_is_owed_waits_from_the_moment_a_newer_grant_begins() {
    let mut bench = Bench::default();
    bench.knock(OnRepeat::Extend);
    bench.run(Outcome::Done);
    bench.sleep_until(60);
    // The newer grant begins while the close runs, and fails only then.
    let order = bench.grants.poll_order().unwrap();
    bench.knock(OnRepeat::Extend);
    bench
        .grants
        .handle_finished(&order.task, Outcome::Failed, "", bench.now);
    assert_eq!(bench.run(Outcome::Done), [("open", 2)]);
    assert_eq!(bench.grants.poll_timeout(), Some(Time::from_secs(120)));
}

#[test]
fn an_equal_close_for_a_firewall_takes_the_place_of_one_that_is_owed() {
    for (close, left) in [("close", 1), ("another", 2)] {
        let mut bench = Bench::judged(Judging::Firewall);
        bench.knock(OnRepeat::Extend);
        bench.run(Outcome::Done);
        bench.sleep_until(60);
        bench.run(Outcome::Failed);
        bench.knock_at(&door(OnRepeat::Extend, Judging::Firewall, &[close]));
        assert_eq!(bench.grants.len(), left, "{close}");
        bench.run(Outcome::Done);
        bench.sleep_until(120);
        bench.run(Outcome::Done);
        bench.sleep_until(120);
        bench.run(Outcome::Done);
        assert!(bench.grants.is_empty());
    }
}

#[test]
fn an_own_close_is_not_superseded_for_it_removes_one_rule_only() {
    let mut bench = Bench::default();
    bench.knock(OnRepeat::Extend);
    bench.run(Outcome::Done);
    bench.sleep_until(60);
    bench.run(Outcome::Failed);
    bench.knock(OnRepeat::Extend);
    assert_eq!(bench.grants.len(), 2);
}

#[test]
fn of_more_than_eight_owed_closes_the_oldest_is_given_up() {
    let mut bench = Bench::default();
    for owed in 1..=10 {
        bench.knock(OnRepeat::Extend);
        let begun = bench.grants.take_changes();
        assert!(begun.contains(&Change::Begun(GrantId(owed))));
        let order = bench.grants.poll_order().unwrap();
        bench
            .grants
            .handle_finished(&order.task, Outcome::Done, "", bench.now);
        bench.grants.close_all(None, bench.now);
        bench.run(Outcome::Failed);
    }
    let left: Vec<_> = bench.grants.iter().map(|(GrantId(id), _)| id).collect();
    assert_eq!(left, (3..=10).collect::<Vec<_>>());
    assert_eq!(bench.gave_up(), 2);
}

#[test]
fn an_open_that_fails_is_closed_once_and_given_up() {
    let mut bench = Bench::default();
    bench.knock(OnRepeat::Extend);
    assert_eq!(bench.carry_out(Outcome::Failed), ["open", "close", "off"]);
    assert!(bench.grants.is_empty());
    bench.knock(OnRepeat::Extend);
    assert_eq!(
        bench.carry_out(Outcome::Done),
        ["open"],
        "another knock gets in"
    );
}

#[test]
fn a_grant_of_an_earlier_boot_is_closed_once_and_given_up_after_three_failures() {
    for judging in [Judging::Own, Judging::Firewall, Judging::Knockd] {
        let mut bench = Bench::judged(judging);
        bench.restore(0, true, true);
        bench.sleep_until(0);
        assert_eq!(bench.carry_out(Outcome::Failed), ["close"]);
        bench.sleep_until(1);
        assert_eq!(bench.carry_out(Outcome::Failed), ["close"]);
        bench.sleep_until(3);
        assert_eq!(bench.carry_out(Outcome::Failed), ["close", "off"]);
        assert!(bench.grants.is_empty());
    }
}

#[test]
fn a_grant_of_this_boot_is_closed_at_its_deadline_or_at_once_if_that_has_passed() {
    for (now, due) in [(10, 60), (7200, 7200)] {
        let mut bench = Bench::default();
        bench.restore(60, true, false);
        bench.sleep_until(now);
        let early: &[&str] = if now < due { &[] } else { &["close", "off"] };
        assert_eq!(bench.carry_out(Outcome::Done), early);
        bench.sleep_until(due);
        bench.carry_out(Outcome::Done);
        assert!(bench.grants.is_empty());
    }
}

#[test]
fn a_knock_at_a_door_whose_open_command_may_not_have_run_closes_and_opens_it() {
    for on_repeat in [OnRepeat::Extend, OnRepeat::Ignore, OnRepeat::Reopen] {
        let mut bench = Bench::default();
        bench.restore(60, false, false);
        bench.knock(on_repeat);
        assert_eq!(bench.run(Outcome::Done), [("close", 7), ("open", 8)]);
        let mut bench = Bench::default();
        bench.restore(60, true, false);
        bench.sleep_until(10);
        bench.knock(on_repeat);
        let (expected, due): (&[_], i64) = match on_repeat {
            OnRepeat::Extend => (&[], 70),
            OnRepeat::Ignore => (&[], 60),
            OnRepeat::Reopen => (&[("close", 7), ("open", 8)], 70),
        };
        assert_eq!(bench.run(Outcome::Done), expected, "{on_repeat:?}");
        assert_eq!(bench.grants.poll_timeout(), Some(Time::from_secs(due)));
    }
}

#[test]
fn an_open_that_never_ran_is_over_and_reported_closed() {
    let mut bench = Bench::default();
    bench.knock(OnRepeat::Extend);
    assert_eq!(bench.carry_out(Outcome::NotRun), ["open", "off"]);
    let kinds: Vec<_> = bench
        .told()
        .into_iter()
        .map(|told| match told {
            Told::Event(event) => event.kind.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, ["open", "close"]);
}

#[test]
fn what_takes_the_place_of_an_owed_close_is_closed_whatever_becomes_of_its_open() {
    for outcome in [Outcome::NotRun, Outcome::Failed] {
        let mut bench = Bench::judged(Judging::Firewall);
        bench.knock(OnRepeat::Extend);
        bench.run(Outcome::Done);
        bench.sleep_until(60);
        bench.run(Outcome::Failed);
        bench.grants.take_changes();
        bench.knock(OnRepeat::Extend);
        let (old, new) = (GrantId(1), GrantId(2));
        let changes = bench.grants.take_changes();
        assert_eq!(changes, [Change::Begun(new), Change::Closed(old)]);
        let open = bench.grants.poll_order().unwrap();
        bench
            .grants
            .handle_finished(&open.task, outcome, "", bench.now);
        assert_eq!(bench.run(Outcome::Failed), [("close", 2)]);
        bench.sleep();
        assert_eq!(bench.run(Outcome::Done), [("close", 2)], "{outcome:?}");
        assert!(bench.grants.is_empty());
    }
}

/// A door of a firewall, which renews what it opens.
fn renewing(close: &[&str]) -> Arc<Door> {
    let mut door = Arc::unwrap_or_clone(door(OnRepeat::Extend, Judging::Firewall, close));
    door.grant.refresh = example::command(&["refresh", "%TIMEOUT%"]);
    Arc::new(door)
}

#[test]
fn a_knock_at_a_door_that_opens_something_else_by_now_closes_what_it_had_opened() {
    let mut bench = Bench::judged(Judging::Firewall);
    bench.knock_at(&renewing(&["close", "22"]));
    assert_eq!(bench.carry_out(Outcome::Done), ["open"]);
    bench.knock_at(&renewing(&["close", "22"]));
    assert_eq!(bench.carry_out(Outcome::Done), [] as [&str; 0]);
    bench.knock_at(&renewing(&["close", "22, 80"]));
    assert_eq!(bench.carry_out(Outcome::Done), ["close", "open", "off"]);
    bench.sleep();
    assert_eq!(bench.carry_out(Outcome::Done), ["close", "off"]);
    assert!(bench.grants.is_empty());
}

#[test]
fn a_knock_at_a_door_with_other_commands_by_now_closes_what_it_had_opened_and_runs_them() {
    let own = |close: &[&str]| door(OnRepeat::Extend, Judging::Own, close);
    let mut bench = Bench::default();
    bench.knock_at(&renewing(&["close", "22"]));
    assert_eq!(bench.carry_out(Outcome::Done), ["open"]);
    bench.knock_at(&own(&["shut", "%DST%"]));
    assert_eq!(bench.carry_out(Outcome::Done), ["close", "open", "off"]);
    bench.dst = IpAddr::from([192, 0, 2, 2]);
    bench.knock_at(&own(&["shut", "%DST%"]));
    assert_eq!(bench.carry_out(Outcome::Done), [] as [&str; 0]);
    bench.knock_at(&own(&["shut", "%DST%", "80"]));
    assert_eq!(bench.carry_out(Outcome::Done), ["close", "open", "off"]);
}

#[test]
fn what_is_put_back_ends_with_its_grant() {
    let mut bench = Bench::judged(Judging::Firewall);
    let door = renewing(&["close"]);
    let put_back =
        |bench: &mut Bench, door: &Arc<Door>| bench.grants.handle_put_back(door, bench.now);
    let nobody: [IpAddr; 0] = [];
    assert_eq!(put_back(&mut bench, &door), nobody);
    bench.knock_at(&door);
    bench.carry_out(Outcome::Done);
    bench.sleep_until(45);
    let other = renewing(&["close", "80"]);
    assert_eq!(put_back(&mut bench, &other), nobody);
    assert_eq!(put_back(&mut bench, &door), [SRC]);
    let order = bench.grants.poll_order().unwrap();
    assert_eq!(order.invocation.unwrap().argv, ["refresh", "15"]);
    assert_eq!(order.expires, Some(Time::from_secs(60)));
    bench.sleep();
    assert_eq!(put_back(&mut bench, &door), nobody, "it is being closed");
    assert_eq!(bench.carry_out(Outcome::Done), ["close", "off"]);
}

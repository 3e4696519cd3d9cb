//! A grant when its commands fail, are slow, or were cut short by a crash.

use super::super::door::GrantRule;
use super::super::example;
use super::super::sequence::Step;
use super::*;

const STEP: Step = example::tcp(7000);

fn door(on_repeat: OnRepeat) -> Arc<Door> {
    let plain = example::door(&[STEP.port]);
    Arc::new(Door {
        grant: GrantRule {
            on_repeat,
            open: example::command(&["open"]),
            close: example::command(&["close"]),
            ..plain.grant
        },
        ..plain
    })
}

/// Grants on a clock of their own, which runs in seconds.
#[derive(Default)]
struct Bench {
    grants: Grants,
    now: Time,
}

impl Bench {
    fn knock(&mut self, on_repeat: OnRepeat) {
        let door = door(on_repeat);
        let facts = Facts {
            src: IpAddr::from([192, 0, 2, 7]),
            dst: IpAddr::from([192, 0, 2, 1]),
            step: STEP,
            interface: "eth0".into(),
            door: Arc::clone(&door.name),
            hold: Some(door.grant.hold),
        };
        let completed = Completed {
            until: None,
            facts,
            spend: None,
            last: None,
        };
        self.grants
            .handle_knock(&door, completed, self.now, &mut |_| ());
    }

    fn restore(&mut self, deadline: i64, proven: bool, rebooted: bool) {
        self.grants.restore(SavedGrant {
            id: GrantId(7),
            door: "ssh".into(),
            src: IpAddr::from([192, 0, 2, 7]),
            deadline: Time::from_secs(deadline),
            proven,
            rebooted,
        });
    }

    fn sleep_until(&mut self, now: i64) {
        self.now = Time::from_secs(now);
        self.grants.handle_timeout(self.now, &mut |_| ());
    }

    /// What is ordered now; each command ends so.
    fn carry_out(&mut self, outcome: Outcome) -> Vec<&'static str> {
        let mut ordered = Vec::new();
        while let Some(action) = self.grants.poll_action() {
            let (id, command, word) = match action {
                Action::Open { grant, .. } => (grant, Command::Open, "open"),
                Action::Close { grant } => (grant, Command::Close, "close"),
                Action::Extend { .. } => {
                    ordered.push("extend");
                    continue;
                }
                Action::Forget { .. } => {
                    ordered.push("forget");
                    continue;
                }
                Action::Run { .. } | Action::Refresh { .. } | Action::Spend(_) => continue,
            };
            ordered.push(word);
            self.grants
                .handle_finished(id, command, outcome, self.now, &mut |_| ());
        }
        ordered
    }
}

#[test]
fn a_close_that_fails_is_tried_again_for_ever_up_to_a_minute_apart() {
    let mut bench = Bench::default();
    bench.knock(OnRepeat::Extend);
    assert_eq!(bench.carry_out(Outcome::Done), ["open"]);
    bench.sleep_until(60);
    let mut waits = Vec::new();
    for _ in 0..100 {
        assert_eq!(bench.carry_out(Outcome::Failed), ["close"]);
        let next = bench.grants.poll_timeout().unwrap();
        waits.push(next.since(bench.now).as_secs());
        bench.now = next;
        bench.grants.handle_timeout(next, &mut |_| ());
    }
    assert_eq!(waits[..8], [1, 2, 4, 8, 16, 32, 60, 60]);
    assert_eq!(waits[99], 60);
    assert_eq!(bench.carry_out(Outcome::Done), ["close"]);
    assert!(bench.grants.is_empty());
}

#[test]
fn a_knock_while_closing_fails_is_answered_when_it_has_succeeded() {
    let mut bench = Bench::default();
    bench.knock(OnRepeat::Extend);
    bench.carry_out(Outcome::Done);
    bench.sleep_until(60);
    assert_eq!(bench.carry_out(Outcome::Failed), ["close"]);
    bench.knock(OnRepeat::Extend);
    assert_eq!(
        bench.carry_out(Outcome::Done),
        [""; 0],
        "nothing is cancelled"
    );
    bench.sleep_until(61);
    assert_eq!(bench.carry_out(Outcome::Done), ["close", "open"]);
}

#[test]
fn an_open_that_fails_is_closed_once_and_given_up() {
    let mut bench = Bench::default();
    bench.knock(OnRepeat::Extend);
    assert_eq!(
        bench.carry_out(Outcome::Failed),
        ["open", "close", "forget"]
    );
    assert!(bench.grants.is_empty());
    bench.knock(OnRepeat::Extend);
    assert_eq!(
        bench.carry_out(Outcome::Done),
        ["open"],
        "who knocks again gets in"
    );
}

#[test]
fn a_grant_of_an_earlier_boot_is_closed_once_and_given_up_after_three_failures() {
    let mut bench = Bench::default();
    bench.restore(0, true, true);
    bench.sleep_until(0);
    assert_eq!(bench.carry_out(Outcome::Failed), ["close"]);
    bench.sleep_until(1);
    assert_eq!(bench.carry_out(Outcome::Failed), ["close"]);
    bench.sleep_until(3);
    assert_eq!(bench.carry_out(Outcome::Failed), ["close", "forget"]);
    assert!(bench.grants.is_empty());
}

#[test]
fn a_grant_of_this_boot_is_closed_at_its_deadline_or_at_once_if_that_has_passed() {
    for (now, due) in [(10, 60), (7200, 7200)] {
        let mut bench = Bench::default();
        bench.restore(60, true, false);
        bench.sleep_until(now);
        let early: &[&str] = if now < due { &[] } else { &["close"] };
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
        assert_eq!(bench.carry_out(Outcome::Done), ["close", "open"]);
        let mut bench = Bench::default();
        bench.restore(60, true, false);
        bench.knock(on_repeat);
        let expected: &[&str] = match on_repeat {
            // Of an ignored knock it is put on disk that it was answered, with the deadline as it is.
            OnRepeat::Extend | OnRepeat::Ignore => &["extend"],
            OnRepeat::Reopen => &["close", "open"],
        };
        assert_eq!(bench.carry_out(Outcome::Done), expected, "{on_repeat:?}");
        if on_repeat == OnRepeat::Ignore {
            assert_eq!(bench.grants.poll_timeout(), Some(Time::from_secs(60)));
        }
    }
}

//! The runner on a disk that a test can make fail; what needs only the public face is in
//! `tests/integration/runner.rs`.

use std::sync::mpsc::Receiver;

use super::ledger::forgetful_disk::ForgetfulDisk;
use super::ledger::{Boot, Opened};
use super::*;
use crate::engine::command::{Facts, Template};
use crate::engine::door::{Door, GrantRule, PerFamily};
use crate::engine::example;
use crate::engine::sequence::Step;

const STEP: Step = example::tcp(7000);

/// A door for IPv4 alone; no words are no command.
fn door(open: &[&str], close: &[&str]) -> Arc<Door> {
    let command = |words: &[&str]| PerFamily {
        v4: Template::from_words(words).ok(),
        v6: None,
    };
    let plain = example::door(&[STEP.port]);
    Arc::new(Door {
        grant: GrantRule {
            hold: Duration::from_secs(10),
            open: command(open),
            close: command(close),
            ..plain.grant
        },
        ..plain
    })
}

fn facts(src: &str) -> Facts {
    Facts {
        src: src.parse().unwrap(),
        dst: "192.0.2.1".parse().unwrap(),
        step: STEP,
        interface: "eth0".into(),
        door: "ssh".into(),
        hold: Some(Duration::from_secs(10)),
    }
}

fn open(grant: u64, door: &Arc<Door>, src: &str) -> Action {
    Action::Open {
        grant: GrantId(grant),
        door: Arc::clone(door),
        facts: facts(src),
        deadline: clock::boot_now().after(Duration::from_secs(10)),
        spend: None,
        last: None,
    }
}

fn recover(disk: &ForgetfulDisk) -> Opened {
    let boot = Boot {
        id: "b".into(),
        now: clock::boot_now(),
    };
    Ledger::recover(Box::new(disk.clone()), &boot).unwrap()
}

fn live(disk: &ForgetfulDisk) -> (Runner, Receiver<Carried>) {
    let (sender, carried) = mpsc::channel();
    let reports = move |carried| sender.send(carried).unwrap();
    let runner = Runner::start(Options::default(), recover(disk).ledger, reports).unwrap();
    (runner, carried)
}

fn next(carried: &Receiver<Carried>) -> Carried {
    carried.recv_timeout(Duration::from_secs(10)).unwrap()
}

fn finished(carried: &Receiver<Carried>) -> (u64, Command, How) {
    match next(carried) {
        Carried::Finished {
            grant,
            command,
            ended,
            ..
        } => (grant.0, command, ended.how),
        other => panic!("{other:?}"),
    }
}

#[test]
fn on_a_disk_that_refuses_nothing_is_opened_and_what_is_open_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let mark = dir
        .path()
        .join("opened")
        .into_os_string()
        .into_string()
        .unwrap();
    let disk = ForgetfulDisk::default();
    let (runner, carried) = live(&disk);
    let harmless = door(&["true"], &["true"]);
    runner.submit(open(1, &harmless, "192.0.2.7"));
    assert_eq!(finished(&carried), (1, Command::Open, How::Exited(0)));

    disk.schedule(&[12; 1000]); // no space left
    runner.submit(open(2, &door(&["touch", &mark], &["true"]), "192.0.2.8"));
    let refused = How::NotStarted(NotStarted::Ledger);
    assert_eq!(finished(&carried), (2, Command::Open, refused));
    assert!(matches!(next(&carried), Carried::Degraded(_)));
    runner.submit(Action::Close { grant: GrantId(2) });
    let nothing = How::NotStarted(NotStarted::NoGrant);
    assert_eq!(finished(&carried), (2, Command::Close, nothing));
    runner.submit(Action::Close { grant: GrantId(1) });
    assert_eq!(finished(&carried), (1, Command::Close, How::Exited(0)));
    assert!(!std::path::Path::new(&mark).exists());

    disk.schedule(&[]);
    runner.submit(open(3, &harmless, "192.0.2.8"));
    assert_eq!(next(&carried), Carried::Recovered);
    assert_eq!(finished(&carried), (3, Command::Open, How::Exited(0)));
    disk.schedule(&[0, 14]); // that it is being closed can be written, that it is closed cannot
    runner.submit(Action::Close { grant: GrantId(3) });
    assert_eq!(finished(&carried), (3, Command::Close, How::Exited(0)));
    assert_eq!(runner.stop(Duration::from_secs(10)), 0);
    let all: Vec<_> = carried.iter().collect();
    assert!(
        matches!(all[..], [Carried::Degraded(_), Carried::Recovered]),
        "{all:?}"
    );
    let grants = recover(&disk).grants;
    assert_eq!(grants, [], "what was closed meanwhile is off the disk too");
}

#[test]
fn a_grant_is_off_the_disk_before_its_close_is_reported() {
    let disk = ForgetfulDisk::default();
    let (runner, carried) = live(&disk);
    let door = door(&["true"], &["true"]);
    for grant in 1..20 {
        runner.submit(open(grant, &door, "192.0.2.7"));
        assert_eq!(finished(&carried).1, Command::Open);
        let saved = recover(&disk.clone_as_killed()).grants;
        assert_eq!(saved.len(), 1);
        assert!(saved[0].proven, "and its open, before that is reported");
        runner.submit(Action::Close {
            grant: GrantId(grant),
        });
        assert_eq!(finished(&carried).1, Command::Close);
        assert_eq!(recover(&disk.clone_as_killed()).grants, []);
    }
}

#[test]
fn a_grant_without_a_command_for_its_family_is_refused() {
    let (runner, carried) = live(&ForgetfulDisk::default());
    let refused = How::NotStarted(NotStarted::NoCommand);
    runner.submit(open(1, &door(&["true"], &["true"]), "2001:db8::7"));
    assert_eq!(finished(&carried), (1, Command::Open, refused));
    // What could never be closed is not opened.
    runner.submit(open(2, &door(&["true"], &[]), "192.0.2.7"));
    assert_eq!(finished(&carried), (2, Command::Open, refused));
}

#[test]
fn what_waits_is_bounded_and_a_close_is_taken_all_the_same() {
    let (runner, carried) = live(&ForgetfulDisk::default());
    let (hanging, harmless) = (
        door(&["sleep", "600"], &["true"]),
        door(&["true"], &["true"]),
    );
    runner.submit(open(1, &harmless, "192.0.2.8"));
    assert_eq!(finished(&carried), (1, Command::Open, How::Exited(0)));
    let most = u64::try_from(dispatch::MAX_WAITING).unwrap();
    // One more than that runs.
    (2..=most + 3).for_each(|grant| runner.submit(open(grant, &hanging, "192.0.2.7")));
    let crowded = How::NotStarted(NotStarted::Crowded);
    assert_eq!(finished(&carried).2, crowded);
    runner.submit(Action::Close { grant: GrantId(1) });
    let closed = carried
        .iter()
        .find(|carried| matches!(carried, Carried::Finished { grant, .. } if grant.0 == 1));
    assert!(matches!(
        closed,
        Some(Carried::Finished {
            outcome: Outcome::Done,
            ..
        })
    ));
    assert!(runner.stop(Duration::ZERO) >= dispatch::MAX_WAITING);
}

#[test]
fn a_dry_run_says_what_it_would_run_in_order_and_runs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mark = dir
        .path()
        .join("mark")
        .into_os_string()
        .into_string()
        .unwrap();
    let (sender, carried) = mpsc::channel();
    let runner = Runner::dry(move |carried| sender.send(carried).unwrap()).unwrap();
    let door = door(&["touch", &mark, "%IP%"], &["rm", &mark]);
    runner.submit(open(1, &door, "192.0.2.7"));
    runner.submit(Action::Close { grant: GrantId(1) });
    let (door, facts) = (Arc::clone(&door), facts("192.0.2.8"));
    runner.submit(Action::Run {
        door,
        facts,
        spend: None,
        last: None,
    });
    assert_eq!(runner.stop(Duration::from_secs(10)), 0);

    let all: Vec<_> = carried.iter().collect();
    let would = |words: &[&str]| {
        let mut commands = all.iter().filter_map(|carried| match carried {
            Carried::Would(invocation) => Some(&invocation.argv),
            _ => None,
        });
        commands.position(|argv| argv == words).unwrap()
    };
    assert!(would(&["touch", &mark, "192.0.2.7"]) < would(&["rm", &mark]));
    would(&["touch", &mark, "192.0.2.8"]);
    let done = |carried: &&Carried| match carried {
        Carried::Finished { outcome, ended, .. } => {
            (*outcome, ended.how) == (Outcome::Done, How::DryRun)
        }
        Carried::Ran { ended, .. } => ended.how == How::DryRun,
        _ => false,
    };
    assert_eq!((all.len(), all.iter().filter(done).count()), (6, 3));
    assert!(!std::path::Path::new(&mark).exists());
}

#[test]
fn what_is_submitted_waits_until_it_is_looked_at() {
    let (entered, reporting) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let runner = Runner::dry(move |_| {
        entered.send(()).unwrap();
        let _ = may_go_on.recv();
    });
    let runner = runner.unwrap();
    let nothing = || runner.submit(Action::Close { grant: GrantId(1) });
    nothing();
    reporting.recv().unwrap();
    assert_eq!(runner.waiting(), 0);
    (0..3).for_each(|_| nothing());
    assert_eq!(runner.waiting(), 3);
    go_on.send(()).unwrap();
    reporting.recv().unwrap();
    assert_eq!(runner.waiting(), 0);
}

//! The runner with real processes and a real state directory.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use logknock::clock;
use logknock::engine::action::{Action, Command, GrantId, Outcome};
use logknock::engine::command::Template;
use logknock::engine::door::{Door, PerFamily};
use logknock::engine::grant::SavedGrant;
use logknock::runner::{How, NotStarted, Options};

use super::bench::{Bench, PATIENCE, address, door, facts, open_ledger};

#[test]
fn a_command_knows_the_knock_and_nothing_of_us() {
    let bench = Bench::new(Options::default());
    let script = bench.say("$LOGKNOCK_IP %IP% $LOGKNOCK_DOOR $LOGKNOCK_TIMEOUT ${HOME-none} $PWD");
    bench.open(
        1,
        &door("ssh", &script, "true"),
        "2001:db8::7".parse().unwrap(),
    );
    let (grant, command, outcome, ended) = bench.finished();
    assert_eq!((grant, command, outcome), (1, Command::Open, Outcome::Done));
    assert_eq!(&*ended.program, "/bin/sh");
    assert_eq!(bench.log(), "2001:db8::7 2001:db8::7 ssh 3600 none /\n");
}

#[test]
fn a_command_that_hangs_holds_up_no_other_address() {
    let timeout = Duration::from_secs(2);
    let bench = Bench::new(Options {
        timeout,
        ..Options::default()
    });
    let hanging = door(
        "hanging",
        &format!("{}; exec sleep 600", bench.say("$$")),
        "true",
    );
    let quick = door("quick", "true", "true");
    bench.open(1, &hanging, address(1));
    let began = Instant::now();
    for grant in 2..40 {
        bench.open(grant, &quick, address(2));
        assert_eq!(bench.finished().0, grant);
        bench.close(grant);
        assert_eq!(bench.finished().0, grant);
        if began.elapsed() > timeout / 4 {
            break;
        }
    }
    assert!(began.elapsed() < timeout, "others waited");
    let (grant, command, outcome, ended) = bench.finished();
    assert_eq!(
        (grant, command, outcome),
        (1, Command::Open, Outcome::Failed)
    );
    assert_eq!(ended.how, How::TimedOut);
    let pid = bench.log().trim().to_owned();
    assert!(!Path::new("/proc").join(pid).exists(), "it was reaped");
}

#[test]
fn commands_of_one_address_run_one_at_a_time_in_order_across_doors() {
    let bench = Bench::new(Options::default());
    let slow = |name: &str| {
        let step = |what: &str| {
            let (begin, end) = (bench.say(&format!("{name} {what}")), bench.say("end"));
            format!("{begin}; sleep 0.02; {end}")
        };
        door(name, &step("open"), &step("close"))
    };
    let (ssh, web) = (slow("ssh"), slow("web"));
    bench.open(1, &ssh, address(7));
    bench.open(2, &web, address(7));
    bench.close(1);
    bench.submit(Action::Run {
        facts: facts(&web, address(7)),
        door: Arc::clone(&web),
        spend: None,
        last: None,
    });
    bench.open(3, &ssh, address(7));
    bench.close(3);
    bench.close(2);
    for _ in 0..7 {
        bench.carried.recv_timeout(PATIENCE).unwrap();
    }
    let order = [
        "ssh open",
        "web open",
        "ssh close",
        "web open",
        "ssh open",
        "ssh close",
        "web close",
    ];
    let expected: String = order.map(|line| format!("{line}\nend\n")).concat();
    assert_eq!(bench.log(), expected);
}

#[test]
fn no_more_commands_run_at_once_than_may() {
    let bench = Bench::new(Options {
        max_commands: 3,
        ..Options::default()
    });
    let counting = format!("{}; sleep 0.02; {}", bench.say("in"), bench.say("out"));
    let counting = door("ssh", &counting, &counting);
    for last in 1..=20 {
        bench.open(last.into(), &counting, address(last));
        bench.close(last.into());
    }
    for _ in 0..40 {
        assert_eq!(bench.finished().2, Outcome::Done);
    }
    let (mut running, mut most) = (0, 0);
    for line in bench.log().lines() {
        running = if line == "in" {
            running + 1
        } else {
            running - 1
        };
        most = most.max(running);
    }
    assert_eq!((running, most), (0, 3));
}

#[test]
fn ten_thousand_closes_at_once_all_run_and_an_open_does_not_wait_for_them() {
    let bench = Bench::new(Options::default());
    let door = |name: &str| {
        let command = PerFamily {
            v4: Template::from_words(&["true"]).ok(),
            v6: None,
        };
        let mut door = Door::clone(&door(name, "true", "true"));
        (door.grant.open, door.grant.close) = (command.clone(), command);
        Arc::new(door)
    };
    let many = door("many");
    let grants = 1..=10_000_u64;
    let of = |grant: u64| IpAddr::from((0x0a00_0000 + u32::try_from(grant).unwrap()).to_be_bytes());
    grants
        .clone()
        .for_each(|grant| bench.open(grant, &many, of(grant)));
    for _ in grants.clone() {
        assert_eq!(bench.finished().2, Outcome::Done);
    }
    grants.clone().for_each(|grant| bench.close(grant));
    bench.open(10_001, &door("late"), address(1));
    let mut before = 0;
    let mut left: HashSet<u64> = grants.collect();
    while !left.is_empty() {
        let (grant, command, outcome, _) = bench.finished();
        assert_eq!(outcome, Outcome::Done);
        match command {
            Command::Close => assert!(left.remove(&grant), "grant {grant} closed twice"),
            Command::Open => before = 10_000 - left.len(),
        }
    }
    assert!(
        (0..100).contains(&before),
        "{before} closes went before the open"
    );
    assert_eq!(bench.restarted().grants.len(), 1);
}

#[test]
fn a_command_that_fails_says_how_and_is_not_run_again() {
    let bench = Bench::new(Options::default());
    let script = format!("{}; echo no such table >&2; exit 2", bench.say("once"));
    bench.open(1, &door("ssh", &script, &script), address(7));
    let (_, _, outcome, ended) = bench.finished();
    assert_eq!((outcome, ended.how), (Outcome::Failed, How::Exited(2)));
    assert_eq!(&*ended.output, b"no such table\n");
    // A close that fails leaves the grant where it was; the engine tries again.
    for _ in 0..2 {
        bench.close(1);
        assert_eq!(bench.finished().2, Outcome::Failed);
    }
    assert_eq!(bench.log(), "once\n".repeat(3));
    let bench = bench.restarted();
    assert_eq!(bench.grants.len(), 1);
    assert!(!bench.grants[0].proven);
    bench.submit(Action::Forget { grant: GrantId(1) });
    assert_eq!(bench.restarted().grants, []);
}

#[test]
fn after_a_restart_the_close_command_is_the_one_the_grant_was_opened_with() {
    let bench = Bench::new(Options::default());
    let ssh = door("ssh", &bench.say("open"), &bench.say("close $LOGKNOCK_IP"));
    bench.open(1, &ssh, address(7));
    assert_eq!(bench.finished().2, Outcome::Done);
    let deadline = clock::boot_now().after(Duration::from_secs(7200));
    bench.submit(Action::Extend {
        grant: GrantId(1),
        deadline,
        last: None,
    });
    let bench = bench.restarted();
    let saved = SavedGrant {
        id: GrantId(1),
        door: "ssh".into(),
        src: address(7),
        deadline,
        proven: true,
        rebooted: false,
    };
    assert_eq!(bench.grants, [saved]);
    bench.close(1);
    assert_eq!(bench.finished().2, Outcome::Done);
    assert_eq!(bench.log(), "open\nclose 192.0.2.7\n");
    bench.close(1); // what is not open needs no closing
    let (_, _, outcome, ended) = bench.finished();
    assert_eq!(
        (outcome, ended.how),
        (Outcome::Done, How::NotStarted(NotStarted::NoGrant))
    );
    assert_eq!(bench.restarted().grants, []);
}

#[test]
fn a_grant_is_on_disk_when_its_open_command_runs() {
    let bench = Bench::new(Options::default());
    let journal = bench.dir.path().join("state/grants.jsonl");
    let script = format!("cat {}", journal.display());
    let close = bench.say("closing");
    bench.open(1, &door("ssh", &script, &close), address(7));
    let output = bench.finished().3.output;
    let journal = String::from_utf8_lossy(&output).into_owned();
    assert!(
        journal.contains("192.0.2.7") && journal.contains("closing"),
        "{journal}"
    );
}

#[test]
fn stopping_waits_for_what_was_submitted() {
    let mut bench = Bench::new(Options::default());
    let ssh = door("ssh", "sleep 0.1", &bench.say("closed"));
    for last in 1..=5 {
        bench.open(last.into(), &ssh, address(last));
        bench.close(last.into());
    }
    assert_eq!(bench.stop(PATIENCE), 0);
    assert_eq!(bench.log(), "closed\n".repeat(5));
    assert_eq!(open_ledger(bench.dir.path()).grants, []);
}

#[test]
fn what_does_not_end_in_time_is_killed_and_stays_on_disk() {
    let mut bench = Bench::new(Options::default());
    let hanging = door(
        "ssh",
        "true",
        &format!("{}; exec sleep 600", bench.say("closing")),
    );
    bench.open(1, &hanging, address(7));
    assert_eq!(bench.finished().2, Outcome::Done);
    bench.close(1);
    bench.open(2, &hanging, address(7));
    bench.wait_for("closing");
    let began = Instant::now();
    assert_eq!(bench.stop(Duration::from_millis(100)), 2);
    assert!(began.elapsed() < Duration::from_secs(5));
    let mut ends =
        [bench.finished(), bench.finished()].map(|(grant, _, _, ended)| (grant, ended.how));
    ends.sort_by_key(|&(grant, _)| grant);
    let expected = [(1, How::Stopped), (2, How::NotStarted(NotStarted::Stopped))];
    assert_eq!(ends, expected);
    let left = open_ledger(bench.dir.path()).grants;
    assert_eq!(
        left.iter().map(|grant| grant.id.0).collect::<Vec<_>>(),
        [1, 2]
    );
}

#[test]
fn a_runner_that_is_dropped_ends_its_commands() {
    let mut bench = Bench::new(Options::default());
    let hanging = door(
        "ssh",
        &format!("{}; exec sleep 600", bench.say("running")),
        "true",
    );
    bench.open(1, &hanging, address(7));
    bench.wait_for("running");
    drop(bench.runner.take());
    assert_eq!(bench.finished().3.how, How::Stopped);
}

#[test]
fn a_parent_that_ignored_sigchld_does_not_make_us_deaf() {
    let ourselves = std::env::current_exe().unwrap();
    let output = std::process::Command::new("env")
        .arg("--ignore-signal=CHLD")
        .arg(ourselves)
        .args(["--exact", "runner::stopping_waits_for_what_was_submitted"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

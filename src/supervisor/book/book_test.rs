//! What a follower that lies can have done: a configured door, for as long as it stays open, and no more.

use std::net::IpAddr;

use super::*;
use crate::engine::door::{GrantRule, PerFamily, Scope};
use crate::engine::example;
use crate::privsep::{Knock, Last};

const HOLD: Duration = Duration::from_secs(30);

fn at(seconds: i64) -> Time {
    Time::from_secs(seconds)
}

fn nanos(seconds: i64) -> i64 {
    at(seconds).as_nanos()
}

/// `ssh` opens and closes, for a network; `wake` runs a command.
fn doors() -> Vec<Arc<Door>> {
    let command = || example::command(&["/bin/do", "%IP%"]);
    let door = |name: &str, close: PerFamily| {
        let plain = example::door(&[7001]);
        Arc::new(Door {
            name: name.into(),
            scope: Scope {
                allow: vec!["192.0.2.0/24".parse().unwrap()],
                deny: vec!["192.0.2.99/32".parse().unwrap()],
                interface: Some("eth0".into()),
                ..plain.scope
            },
            grant: GrantRule {
                hold: HOLD,
                open: command(),
                close,
                ..plain.grant
            },
            ..plain
        })
    };
    vec![door("ssh", command()), door("wake", PerFamily::default())]
}

fn book() -> Book {
    let mut book = Book::new(doors(), 7);
    book.attended(true);
    book
}

fn knock(door: &str, src: &str) -> Knock {
    Knock {
        door: door.to_owned(),
        src: src.parse().unwrap(),
        dst: "192.0.2.1".parse().unwrap(),
        port: 7001,
        udp: false,
        interface: "eth0".to_owned(),
    }
}

fn opened(book: &mut Book) -> GrantId {
    let action = book.open(
        8,
        &knock("ssh", "192.0.2.7"),
        nanos(130),
        None,
        None,
        at(100),
    );
    assert!(matches!(action, Ok(Action::Open { .. })), "{action:?}");
    GrantId(8)
}

#[test]
fn a_knock_gets_the_runners_own_door_and_its_own_hold() {
    let action = book().open(
        8,
        &knock("ssh", "192.0.2.7"),
        nanos(110),
        None,
        None,
        at(100),
    );
    let Ok(Action::Open { door, facts, .. }) = action else {
        panic!("{action:?}");
    };
    assert!(door.grant.close.v4.is_some());
    assert_eq!((facts.hold, &*facts.door), (Some(HOLD), "ssh"));
}

#[test]
fn a_door_opens_only_as_it_is_configured() {
    let cases = [
        ("smtp", "192.0.2.7", Refused::Door),
        ("", "192.0.2.7", Refused::Door),
        ("ssh", "198.51.100.7", Refused::Scope),
        ("ssh", "192.0.2.99", Refused::Scope),
        ("ssh", "0.0.0.0", Refused::Scope),
        ("ssh", "::ffff:192.0.2.7", Refused::Scope),
        ("wake", "192.0.2.7", Refused::Command),
    ];
    for (door, src, why) in cases {
        let opened = book().open(8, &knock(door, src), nanos(130), None, None, at(100));
        assert_eq!(opened, Err(why), "{door} {src}");
    }
    let elsewhere = Knock {
        interface: "eth1".to_owned(),
        ..knock("ssh", "192.0.2.7")
    };
    let opened = book().open(8, &elsewhere, nanos(130), None, None, at(100));
    assert_eq!(opened, Err(Refused::Scope));
}

#[test]
fn a_door_is_not_held_open_for_longer_than_it_stays_open() {
    let mut book = book();
    let late = book.open(
        8,
        &knock("ssh", "192.0.2.7"),
        nanos(130) + 1,
        None,
        None,
        at(100),
    );
    assert_eq!(late, Err(Refused::Deadline));
    let late = book.open(9, &knock("ssh", "192.0.2.7"), i64::MAX, None, None, at(100));
    assert_eq!(late, Err(Refused::Deadline));
    assert_eq!(book.len(), 0);
    let open = book.open(
        10,
        &knock("ssh", "192.0.2.7"),
        nanos(130),
        None,
        None,
        at(100),
    );
    assert!(open.is_ok());
    assert_eq!(
        book.extend(10, nanos(151), None, at(120)),
        Err(Refused::Deadline)
    );
    assert!(book.extend(10, nanos(150), None, at(120)).is_ok());
}

#[test]
fn numbers_go_up_by_one() {
    let mut book = book();
    for wrong in [0, 7, 9, u64::MAX] {
        let opened = book.open(
            wrong,
            &knock("ssh", "192.0.2.7"),
            nanos(130),
            None,
            None,
            at(100),
        );
        assert_eq!(opened, Err(Refused::Number), "{wrong}");
    }
    opened(&mut book);
    let twice = book.open(
        8,
        &knock("ssh", "192.0.2.8"),
        nanos(130),
        None,
        None,
        at(100),
    );
    assert_eq!(twice, Err(Refused::Number));
}

#[test]
fn a_door_that_is_to_be_closed_is_never_run_without_its_grant() {
    let mut book = book();
    let ssh = knock("ssh", "192.0.2.7");
    assert_eq!(book.run(&ssh, None, None, at(100)), Err(Refused::Command));
    assert!(
        book.run(&knock("wake", "192.0.2.7"), None, None, at(100))
            .is_ok()
    );
    assert_eq!(book.refresh(&ssh), Err(Refused::Command));
    opened(&mut book);
}

#[test]
fn what_is_not_open_is_neither_closed_nor_extended_nor_forgotten() {
    let mut book = book();
    assert_eq!(book.close(8), Err(Refused::Grant));
    assert_eq!(
        book.extend(8, nanos(110), None, at(100)),
        Err(Refused::Grant)
    );
    assert_eq!(book.forget(8), Err(Refused::Grant));
}

#[test]
fn an_open_grant_is_not_forgotten_before_its_close_has_failed_as_often_as_it_may() {
    let mut book = book();
    let grant = opened(&mut book);
    assert_eq!(book.forget(8), Err(Refused::Forget));
    book.finished(grant, Command::Close, Outcome::Failed, at(101));
    assert_eq!(book.forget(8), Err(Refused::Forget), "it opened");
    book.finished(grant, Command::Open, Outcome::Failed, at(101));
    assert!(book.forget(8).is_ok());
    assert_eq!(book.len(), 0);
}

/// What is closed by itself at `now`.
fn closed(book: &mut Book, now: Time) -> Vec<GrantId> {
    let mut closed = Vec::new();
    while let Some(action) = book.poll_action(now) {
        match action {
            Action::Close { grant } => closed.push(grant),
            other => panic!("{other:?}"),
        }
    }
    closed
}

#[test]
fn a_follower_that_never_closes_is_not_waited_for() {
    let mut book = book();
    let grant = opened(&mut book);
    assert_eq!(book.poll_timeout(), Some(at(130).after(GRACE)));
    assert_eq!(closed(&mut book, at(130)), []);
    assert_eq!(closed(&mut book, at(130).after(GRACE)), [grant]);
    book.finished(grant, Command::Close, Outcome::Failed, at(136));
    assert_eq!(closed(&mut book, at(137)), [grant], "tried again");
    book.finished(grant, Command::Close, Outcome::Done, at(138));
    assert_eq!((book.len(), book.poll_timeout()), (0, None));
}

#[test]
fn without_a_follower_a_grant_is_closed_at_its_deadline() {
    let mut book = book();
    let grant = opened(&mut book);
    assert!(book.extend(8, nanos(140), None, at(110)).is_ok());
    book.attended(false);
    assert_eq!(closed(&mut book, at(139)), []);
    assert_eq!(closed(&mut book, at(140)), [grant]);
    assert_eq!(book.restored().len(), 1, "until it is closed");
    book.finished(grant, Command::Close, Outcome::Done, at(141));
    assert_eq!(book.restored(), []);
}

#[test]
fn the_next_follower_goes_on_with_what_is_open() {
    let mut book = book();
    let grant = opened(&mut book);
    book.finished(grant, Command::Open, Outcome::Done, at(101));
    book.attended(false);
    book.attended(true);
    let src: IpAddr = "192.0.2.7".parse().unwrap();
    let restored = Restored {
        id: 8,
        door: "ssh".to_owned(),
        src,
        deadline: nanos(130),
        proven: true,
        rebooted: false,
    };
    assert_eq!((book.restored(), book.last_id()), (vec![restored], 8));
    assert_eq!(closed(&mut book, at(130)), [], "it closes it itself");
}

#[test]
fn what_is_answered_is_noted_whatever_answers_it_and_a_stamp_to_come_is_not_believed() {
    let mut book = book();
    let last = |seconds| {
        Some(Last {
            kernel: Some(nanos(seconds)),
            header: Some(7),
            port: None,
        })
    };
    let answered = |book: &mut Book| {
        let answers = book.answers(at(100)).iter();
        let all = answers.map(|(door, _, at, last)| (door.to_string(), at, last.kernel));
        all.collect::<Vec<_>>()
    };
    let (ssh, wake) = (knock("ssh", "192.0.2.7"), knock("wake", "192.0.2.7"));
    let opened = book.open(8, &ssh, nanos(130), None, last(95), at(100));
    assert!(opened.is_ok());
    assert_eq!(
        answered(&mut book),
        [("ssh".to_owned(), at(100), Some(at(95)))]
    );
    assert!(book.extend(8, nanos(131), last(96), at(101)).is_ok());
    assert_eq!(
        answered(&mut book),
        [("ssh".to_owned(), at(101), Some(at(96)))]
    );
    let ran = book.run(&wake, None, last(10_000), at(102));
    assert!(matches!(ran, Ok(Action::Run { last: Some(last), .. }) if last.kernel.is_none()));
    assert_eq!(answered(&mut book)[1], ("wake".to_owned(), at(102), None));
    // What is refused is not answered.
    assert!(book.run(&ssh, None, last(99), at(103)).is_err());
    assert_eq!(answered(&mut book)[0].1, at(101));
}

#[test]
fn a_grant_is_closed_once_at_a_time_however_often_it_is_asked_for() {
    let mut book = book();
    let id = opened(&mut book);
    let close = Ok(Action::Close { grant: id });
    assert_eq!(book.close(id.0), close);
    assert_eq!(book.close(id.0), Err(Refused::Closing));
    book.finished(id, Command::Close, Outcome::Failed, at(101));
    assert_eq!(book.close(id.0), close);
    book.finished(id, Command::Close, Outcome::Done, at(102));
    assert_eq!(book.close(id.0), Err(Refused::Grant));
}

#[test]
fn what_is_closed_as_it_is_due_is_not_closed_again_for_who_is_late() {
    let mut book = book();
    let id = opened(&mut book);
    let action = book.poll_action(at(136));
    assert_eq!(action, Some(Action::Close { grant: id }));
    assert_eq!(book.close(id.0), Err(Refused::Closing));
}

#[test]
fn what_is_open_for_whom_a_reload_has_shut_out_is_not_extended() {
    let mut book = book();
    let id = opened(&mut book);
    let mut doors = doors();
    let ssh = Arc::make_mut(&mut doors[0]);
    ssh.scope.deny.push("192.0.2.7/32".parse().unwrap());
    book.replace_doors(doors);
    let later = |book: &mut Book| book.extend(id.0, nanos(140), None, at(120));
    assert_eq!(later(&mut book), Err(Refused::Scope));
    let deadline = book.restored()[0].deadline;
    assert_eq!(deadline, nanos(130), "it closes when it was due");
}

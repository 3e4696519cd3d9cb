//! Sequences that open once: what may be knocked at a time, and what a use takes with it.

use super::super::example::line;
use super::super::totp::TotpKeys;
use super::super::totp::tests::{RFC, keys};
use super::*;

fn origin() -> Origin {
    Origin::Totp(Totp::new(keys(RFC)).unwrap())
}

/// A code behind one step.
fn code() -> Origin {
    let begin = line(1, &[7]).sequence.steps().into();
    let beginning = Some(begin);
    let totp = Totp::new(TotpKeys {
        beginning,
        ..keys(RFC)
    });
    Origin::Totp(totp.unwrap())
}

fn list(ahead: usize) -> Origin {
    let lines = [
        line(1, &[1, 1]),
        line(2, &[2, 2]),
        line(4, &[3, 3]),
        line(5, &[1, 1]),
        line(6, &[4, 4]),
    ];
    Origin::List(List {
        file: Arc::from(Path::new("/list")),
        lines: lines.into(),
        ahead,
    })
}

fn candidates(book: &mut Book, origin: &Origin, unix: i64) -> Vec<(u64, bool)> {
    let mut seen = Vec::new();
    book.candidates(&"d".into(), origin, Some(unix), &mut |candidate| {
        seen.push((candidate.number.unwrap_or(0), candidate.used));
    });
    seen
}

#[test]
fn the_steps_around_the_time_may_be_knocked() {
    let mut book = Book::default();
    let all = |numbers: [u64; 3]| numbers.map(|number| (number, false)).to_vec();
    assert_eq!(candidates(&mut book, &origin(), 299), all([8, 9, 10]));
    assert_eq!(candidates(&mut book, &origin(), 300), all([9, 10, 11]));
    let first = vec![(0, false), (1, false)];
    assert_eq!(candidates(&mut book, &origin(), 29), first);
    assert_eq!(candidates(&mut book, &origin(), -1), [], "before 1970");
}

#[test]
fn a_use_takes_all_earlier_steps_with_it_and_survives_a_reload_and_a_restart() {
    let mut book = Book::default();
    let origin = origin();
    book.spend(&"d".into(), &origin, 10);
    book.handle_reload();
    let used = [(9, true), (10, true), (11, false)];
    assert_eq!(candidates(&mut book, &origin, 300), used);
    book.spend(&"d".into(), &origin, 9);
    assert_eq!(candidates(&mut book, &origin, 300), used, "it only goes up");
    let used_10 = origin.used(10).unwrap();
    let Used::Until(until) = used_10 else {
        panic!("{used_10:?}");
    };
    let mut book = Book::default();
    book.restore("d".into(), until);
    assert_eq!(candidates(&mut book, &origin, 300), used);
}

#[test]
fn a_door_whose_step_is_changed_is_neither_shut_nor_open_to_old_knocks() {
    let mut book = Book::default();
    book.spend(&"d".into(), &origin(), 10);
    let longer = Totp::new(TotpKeys {
        step: 60,
        ..keys(RFC)
    });
    let longer = Origin::Totp(longer.unwrap());
    book.handle_reload();
    let now = candidates(&mut book, &longer, 300);
    assert_eq!(now, [(4, true), (5, true), (6, false)]);
}

#[test]
fn the_twentieth_failed_code_within_an_hour_uses_up_the_next_hour() {
    let (mut book, door) = (Book::default(), "d".into());
    let mut fail = |seconds: i64| book.fail(&door, &code(), Time::from_secs(seconds), seconds);
    // Of any twenty the first and the last are more than an hour apart.
    for number in 0..100 {
        assert_eq!(fail(number * 190), None);
    }
    // Nineteen of them are within the last hour.
    let last = 99 * 190 + 1;
    assert_eq!(fail(last), Some(last + 3600));
    assert_eq!(fail(last + 1), None, "it is refused already");
    book.handle_reload();
    assert!(book.refuses(&door, &code(), last + 1));
    assert!(
        candidates(&mut book, &code(), last + 1800)
            .iter()
            .all(|(_, used)| *used)
    );
    assert!(!book.refuses(&"another".into(), &code(), last + 1));

    let mut book = Book::default();
    book.restore("d".into(), last + 3600);
    assert!(book.refuses(&door, &code(), last + 1800), "after a restart");
    assert!(!book.refuses(&door, &code(), last + 3600));
    let after = candidates(&mut book, &code(), last + 3660);
    assert!(after.iter().any(|(_, used)| !used));
}

#[test]
fn a_code_that_has_opened_is_no_refusal() {
    let (mut book, door) = (Book::default(), "d".into());
    book.spend(&door, &code(), 11);
    assert!(!book.refuses(&door, &code(), 300));
    book.restore("d".into(), i64::MAX);
    assert!(!book.refuses(&door, &origin(), 300), "it has no code");
}

#[test]
fn of_a_list_the_next_lines_may_be_knocked_and_a_used_one_never_again() {
    let mut book = Book::default();
    let (list, door) = (list(2), "d".into());
    assert_eq!(candidates(&mut book, &list, 0), [(0, false), (1, false)]);
    assert_eq!(book.left(&door, &list), Some(5));
    book.spend(&door, &list, 1);
    // The line like the first is used up with it.
    let next = [(0, true), (0, true), (2, false), (4, false)];
    assert_eq!(candidates(&mut book, &list, 0), next);
    assert_eq!(book.left(&door, &list), Some(2));
    book.handle_reload();
    assert_eq!(candidates(&mut book, &list, 0), next);
    book.spend(&door, &list, 4);
    assert_eq!(book.left(&door, &list), Some(0));
    assert!(
        candidates(&mut book, &list, 0)
            .iter()
            .all(|(_, used)| *used)
    );
}

#[test]
fn a_use_names_the_line_of_the_file() {
    let used = list(2).used(2).unwrap();
    let mark = list(2).mark(used).unwrap();
    assert_eq!((mark.number, &*mark.text), (4, "[3, 3]"));
    assert_eq!(list(2).used(5), None);
    assert_eq!(list(2).mark(Used::Line(9)), None);
}

#[test]
fn debug_says_nothing_of_keys_and_ports() {
    let text = format!(
        "{:?} {:?} {:?} {:?}",
        origin(),
        list(2),
        list(2).used(0).and_then(|used| list(2).mark(used)),
        keys(RFC)
    );
    // The range of the ports may be known.
    for secret in ["1234", "[1, 1]", "49"] {
        assert!(!text.contains(secret), "{text}");
    }
}

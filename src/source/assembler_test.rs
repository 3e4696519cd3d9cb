//! Tests of the assembler: every cut of a text must yield the same lines.

use proptest::prelude::*;

use super::*;

/// What came out, as owned values: lines one by one.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    Line(Vec<u8>),
    Dropped(Reason),
}

fn collect(pieces: &[&[u8]]) -> Vec<Got> {
    feed(&mut Assembler::default(), pieces)
}

fn feed(assembler: &mut Assembler, pieces: &[&[u8]]) -> Vec<Got> {
    let mut got = Vec::new();
    for piece in pieces {
        assembler.push(piece, &mut record(&mut got));
    }
    got
}

fn record(got: &mut Vec<Got>) -> impl FnMut(Yield<'_>) {
    |yielded| match yielded {
        Yield::Lines { bytes, count } => {
            let lines: Vec<_> = bytes.split_inclusive(|&byte| byte == b'\n').collect();
            assert_eq!(lines.len() as u64, count);
            got.extend(lines.into_iter().map(|line| Got::Line(line.to_vec())));
        }
        Yield::Dropped(reason) => got.push(Got::Dropped(reason)),
    }
}

fn line(text: impl AsRef<[u8]>) -> Got {
    Got::Line(text.as_ref().to_vec())
}

#[test]
fn a_line_in_pieces_is_one_line() {
    assert_eq!(
        collect(&[b"ker", b"nel: a", b"", b"\nker", b"nel: b\n"]),
        [line("kernel: a\n"), line("kernel: b\n")]
    );
}

#[test]
fn whole_lines_are_handed_over_where_they_stand() {
    let piece = b"a\nb\n\nc\nhalf";
    let mut seen = Vec::new();
    Assembler::default().push(piece, &mut |yielded| {
        if let Yield::Lines { bytes, count } = yielded {
            seen.push((bytes.as_ptr() == piece.as_ptr(), bytes.len(), count));
        }
    });
    assert_eq!(seen, [(true, 7, 4)]);
}

#[test]
fn a_half_line_is_kept_until_it_is_discarded_and_counted() {
    let mut assembler = Assembler::default();
    let mut got = feed(&mut assembler, &[b"whole\nhalf"]);
    assembler.discard(&mut record(&mut got));
    assembler.discard(&mut record(&mut got));
    got.extend(feed(&mut assembler, &[b"next\n"]));
    assert_eq!(
        got,
        [
            line("whole\n"),
            Got::Dropped(Reason::Partial),
            line("next\n")
        ]
    );
}

#[test]
fn the_longest_line_passes_and_one_byte_more_does_not() {
    let mut longest = vec![b'x'; MAX_LINE];
    longest.push(b'\n');
    assert_eq!(collect(&[&longest]), [line(&longest)]);
    longest.insert(0, b'x');
    longest.extend(b"next\n");
    assert_eq!(
        collect(&[&longest]),
        [Got::Dropped(Reason::TooLong), line("next\n")]
    );
}

#[test]
fn a_line_without_end_is_counted_once_and_not_kept() {
    let mut assembler = Assembler::default();
    let mut got = Vec::new();
    for _ in 0..1000 {
        got.extend(feed(&mut assembler, &[&[b'x'; 4096]]));
        assert!(!matches!(&assembler.begun, Begun::Kept(bytes) if bytes.capacity() > 2 * MAX_LINE));
    }
    assembler.discard(&mut record(&mut got));
    got.extend(feed(&mut assembler, &[b"next\n"]));
    assert_eq!(got, [Got::Dropped(Reason::TooLong), line("next\n")]);
}

#[test]
fn what_a_line_may_be_at_most_can_be_chosen() {
    let mut assembler = Assembler::for_lines_up_to(3);
    let got = feed(&mut assembler, &[b"abc\nabcd\nab", b"c\nab", b"cd\nd\n"]);
    let too_long = || Got::Dropped(Reason::TooLong);
    assert_eq!(
        got,
        [
            line("abc\n"),
            too_long(),
            line("abc\n"),
            too_long(),
            line("d\n")
        ]
    );
}

#[test]
fn nuls_at_the_start_of_a_line_vanish_and_within_a_line_stay() {
    assert_eq!(
        collect(&[b"\0\0", b"\0a\n\0\0b", b"\0c\n", b"\0\n"]),
        [line("a\n"), line("b\0c\n"), line("\n")]
    );
}

#[test]
fn a_hole_within_a_line_does_not_join_its_sides() {
    let mut assembler = Assembler::default();
    let mut got = feed(&mut assembler, &[b"SRC=192.0.2.1"]);
    assembler.push_hole(u64::MAX, &mut record(&mut got));
    got.extend(feed(&mut assembler, &[b"00\nnext\n"]));
    assert_eq!(got, [Got::Dropped(Reason::TooLong), line("next\n")]);
}

#[test]
fn a_start_within_a_line_drops_that_line_uncounted() {
    let mut assembler = Assembler::within_a_line();
    assert_eq!(
        feed(&mut assembler, &[b"rest", b" of it\nnext\n"]),
        [line("next\n")]
    );
    assert_eq!(assembler.lines(), 1);
}

#[test]
fn bytes_that_are_no_text_pass_unchanged() {
    let bytes = b"\xef\xbb\xbfBOM\xff\xfe \t\r\n";
    assert_eq!(collect(&[bytes]), [line(bytes)]);
}

proptest! {
    #[test]
    fn where_the_bytes_are_cut_does_not_matter(
        parts in prop::collection::vec(
            prop_oneof![
                Just(b"\n".to_vec()), Just(vec![0; 3]), Just(b"ab".to_vec()),
                Just(vec![b'x'; MAX_LINE - 1]), Just(vec![b'y'; 2]),
            ], 0..24),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let text = parts.concat();
        let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        at.extend([0, text.len()]);
        at.sort_unstable();
        let pieces: Vec<_> = at.windows(2).map(|w| &text[w[0]..w[1]]).collect();
        prop_assert_eq!(collect(&pieces), collect(&[&text]));
    }
}

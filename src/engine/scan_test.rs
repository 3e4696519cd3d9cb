//! Numbers, pairs and octets, read fast, against the plain way.

use proptest::prelude::*;

use super::*;

fn text() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        6 => prop::sample::select(b"0123456789 ".to_vec()),
        1 => prop::sample::select(b"/:!-\x00\x1f\x21".to_vec()),
        1 => any::<u8>()
    ];
    prop::collection::vec(byte, 0..24)
}

proptest! {
    #[test]
    fn eight_bytes_at_once_say_what_one_after_another_say(text in text()) {
        let scan = Scan::new(&text);
        let taken = |rest: &[u8]| text.len() - rest.len();

        let mut number = scan;
        let fast = number.number::<u64>().map(|value| (value, taken(number.rest())));
        let slow = long_number(&text).map(|(value, rest)| (value, taken(rest)));
        prop_assert_eq!(fast, slow);
        let mut number = scan;
        if let Some(short) = number.short_number::<u64>() {
            prop_assert_eq!(Some((short, taken(number.rest()))), slow);
        }

        let mut nanos = scan;
        let fast = nanos.nanos().map(|value| (value, taken(nanos.rest())));
        prop_assert_eq!(fast, long_nanos(&text).map(|(value, rest)| (value, taken(rest))));

        let (mut fast, mut slow) = (scan, scan);
        prop_assert_eq!(fast.until_blank(), slow.run(|byte| byte != b' '));
        prop_assert_eq!(fast.rest(), slow.rest());
    }

    #[test]
    fn pairs_are_taken_where_every_byte_is_of_the_form(
        bytes in prop::array::uniform8(0..=9_u8), place in 0..8_usize, other in any::<u8>(),
    ) {
        let form = *b"00:00-00";
        let mut text = form;
        for (byte, digit) in text.iter_mut().zip(bytes) {
            *byte += if *byte == b'0' { digit } else { 0 };
        }
        let [a, b, _, c, d, _, e, f] = bytes;
        let [first, _, _, second, _, _, third, _] = Scan::new(&text).pairs(form).unwrap();
        prop_assert_eq!([first, second, third], [a * 10 + b, c * 10 + d, e * 10 + f]);
        let fits = if form[place] == b'0' { other.is_ascii_digit() } else { other == form[place] };
        text[place] = other;
        prop_assert_eq!(Scan::new(&text).pairs(form).is_some(), fits);
    }
}

#[test]
fn a_number_is_canonical_and_within_its_type() {
    let number = |text: &'static str| Scan::new(text.as_bytes()).number::<u16>();
    assert_eq!(number("7000 "), Some(7000));
    assert_eq!(number("0"), Some(0));
    for wrong in [
        "",
        "x",
        "007",
        "+1",
        "-1",
        "65536",
        "99999999999999999999999",
    ] {
        assert_eq!(number(wrong), None, "{wrong}");
    }
}

#[test]
fn an_octet_is_a_number_of_one_byte() {
    for text in 0..=9999 {
        for text in [
            format!("{text}"),
            format!("{text:02}."),
            format!("{text:03} "),
        ] {
            let (mut octet, mut number) = (Scan::new(text.as_bytes()), Scan::new(text.as_bytes()));
            assert_eq!(octet.octet(), number.number(), "{text}");
            assert_eq!(octet.rest(), number.rest(), "{text}");
        }
    }
    assert_eq!(Scan::new(b"").octet(), None);
    assert_eq!(Scan::new(b"x1").octet(), None);
}

#[test]
fn what_was_not_taken_stays() {
    let mut scan = Scan::new(b"65536");
    assert_eq!(scan.number::<u16>(), None);
    assert!(!scan.take(b"66"));
    assert_eq!(scan.digits::<6>(), None);
    assert_eq!(scan.rest(), b"65536");
}

#[test]
fn fractions_have_nanosecond_precision() {
    let nanos = |text: &'static str| Scan::new(text.as_bytes()).nanos();
    assert_eq!(nanos("5"), Some(500_000_000));
    assert_eq!(nanos("222382500"), Some(222_382_500));
    assert_eq!(nanos("1234567899"), Some(123_456_789));
    assert_eq!(nanos(""), None);
}

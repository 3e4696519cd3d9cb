//! Bytes read from the front, for the line and packet readers.
//!
//! In: a slice. Out: the pieces at its start, each at most once looked at. Nothing here allocates or
//! looks further ahead than what it takes. A method that answers `None` or `false` has taken nothing.

#![expect(
    clippy::inline_always,
    reason = "a literal that is known where it is taken is compared as a number, and not by a call"
)]

/// Each byte 1: times a byte it is that byte eight times.
const EACH: u64 = 0x0101_0101_0101_0101;
/// The bit of each byte that no digit has.
const HIGH: u64 = EACH << 7;

/// What is left of some bytes.
///
/// Words and numbers of a log line are short: up to eight bytes are looked at as one number, the first
/// of them its lowest byte, without a loop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scan<'a> {
    rest: &'a [u8],
}

impl<'a> Scan<'a> {
    /// All of `bytes`.
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been taken.
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Takes `literal`.
    #[inline(always)]
    pub(super) fn take(&mut self, literal: &[u8]) -> bool {
        match self.rest.strip_prefix(literal) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// [`Scan::take`] for `?`.
    #[inline(always)]
    pub(super) fn need(&mut self, literal: &[u8]) -> Option<()> {
        self.take(literal).then_some(())
    }

    /// Takes the longest run of bytes that `wanted` accepts; perhaps none.
    #[inline]
    pub(super) fn run(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|&byte| !wanted(byte));
        let (run, rest) = self
            .rest
            .split_at_checked(end.unwrap_or(self.rest.len()))
            .unwrap_or((self.rest, &[]));
        self.rest = rest;
        run
    }

    /// The same, eight bytes at a time. `unwanted` sets the high bit of each byte that it does not accept,
    /// and of each behind it if it likes; it accepts no NUL.
    #[inline(always)]
    pub(super) fn run_eights(&mut self, unwanted: impl Fn(u64) -> u64) {
        while let Some((&bytes, rest)) = self.rest.split_first_chunk() {
            let found = unwanted(u64::from_le_bytes(bytes)) & HIGH;
            if found != 0 {
                self.pass(found.trailing_zeros());
                return;
            }
            self.rest = rest;
        }
        let mut last = [0; 8];
        for (byte, &text) in last.iter_mut().zip(self.rest) {
            *byte = text;
        }
        let found = unwanted(u64::from_le_bytes(last)) & HIGH;
        self.pass(found.trailing_zeros());
    }

    /// Takes exactly `N` bytes, whatever they are.
    #[inline]
    pub(super) fn bytes<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(bytes)
    }

    /// Takes all blanks.
    #[inline]
    pub(super) fn blanks(&mut self) {
        self.run(|byte| byte == b' ');
    }

    /// The values of the digits that stand next and how many bits they fill, where they are fewer than
    /// eight and something is behind them. Above those bits is what is no digit.
    #[inline(always)]
    fn few_digits(&self) -> Option<(u64, u32)> {
        let values = u64::from_le_bytes(*self.rest.first_chunk()?) ^ (EACH * 0x30);
        // Up to the first byte above 9 no sum reaches the next byte.
        let above = (values.wrapping_add(EACH * 0x76) | values) & HIGH;
        (above != 0).then(|| (values, above.trailing_zeros() & !7))
    }

    /// Takes the first `bits / 8` bytes, less than eight.
    #[inline(always)]
    fn pass(&mut self, bits: u32) {
        self.rest = self.rest.get((bits / 8) as usize..).unwrap_or_default();
    }

    /// Takes a decimal number as a machine writes it: no sign, no leading zero, within `T`.
    #[inline(always)]
    pub(super) fn number<T: TryFrom<u64>>(&mut self) -> Option<T> {
        let Some((values, bits)) = self.few_digits() else {
            return self.long_number().and_then(|(value, rest)| {
                let value = T::try_from(value).ok()?;
                self.rest = rest;
                Some(value)
            });
        };
        if bits == 0 || (bits > 8 && values.trailing_zeros() >= 8) {
            return None;
        }
        let value = T::try_from(joined(values << (64 - bits))).ok()?;
        self.pass(bits);
        Some(value)
    }

    /// The number of [`Scan::number`] and what is behind it, digit by digit.
    #[inline(never)]
    fn long_number(&self) -> Option<(u64, &'a [u8])> {
        let mut value = 0_u64;
        let mut rest = self.rest;
        while let [byte, after @ ..] = rest {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            value = value.wrapping_mul(10).wrapping_add(digit.into());
            rest = after;
        }
        let length = self.rest.len() - rest.len();
        // 19 digits always fit; of more, `value` is wrong.
        if length == 0 || length > 19 || (length > 1 && self.rest.first() == Some(&b'0')) {
            return None;
        }
        Some((value, rest))
    }

    /// Takes an octet of a dotted address: [`Scan::number`] of a byte, without a loop.
    #[inline]
    pub(super) fn octet(&mut self) -> Option<u8> {
        let digit = |byte: u8| byte.wrapping_sub(b'0');
        let (value, rest) = match self.rest {
            [a, b, c, rest @ ..] if digit(*a) < 3 && digit(*b) < 10 && digit(*c) < 10 => {
                let (a, b, c) = (digit(*a), digit(*b), digit(*c));
                if a == 0 || rest.first().is_some_and(u8::is_ascii_digit) {
                    return None;
                }
                (u16::from(a) * 100 + u16::from(b) * 10 + u16::from(c), rest)
            }
            [a, b, rest @ ..] if digit(*a) < 10 && digit(*b) < 10 => {
                let (a, b) = (digit(*a), digit(*b));
                if a == 0 || rest.first().is_some_and(u8::is_ascii_digit) {
                    return None;
                }
                (u16::from(a) * 10 + u16::from(b), rest)
            }
            [a, rest @ ..] if digit(*a) < 10 => (digit(*a).into(), rest),
            _ => return None,
        };
        let value = value.try_into().ok()?;
        self.rest = rest;
        Some(value)
    }

    /// Takes eight bytes of the `form`, in which `0` is any digit and anything else is itself. What it
    /// gives has at each place the number of the two digits that begin there.
    #[inline(always)]
    pub(super) fn pairs(&mut self, form: [u8; 8]) -> Option<[u8; 8]> {
        let (&bytes, rest) = self.rest.split_first_chunk()?;
        let values = u64::from_le_bytes(bytes) ^ u64::from_le_bytes(form);
        // What a byte may have added before it reaches its high bit: 9 of a digit, nothing of another.
        let room = form.map(|byte| if byte == b'0' { 0x76 } else { 0x7f });
        if (values.wrapping_add(u64::from_le_bytes(room)) | values) & HIGH != 0 {
            return None;
        }
        self.rest = rest;
        Some(pairs(values).to_le_bytes())
    }

    /// Takes exactly `N` digits, leading zeros and all; at most 9.
    #[inline]
    pub(super) fn digits<const N: usize>(&mut self) -> Option<u16> {
        let (digits, rest) = self.rest.split_first_chunk::<N>()?;
        let mut value = 0_u32;
        let mut are_digits = true;
        for digit in digits {
            let digit = digit.wrapping_sub(b'0');
            are_digits &= digit <= 9;
            value = value.wrapping_mul(10).wrapping_add(digit.into());
        }
        if !are_digits {
            return None;
        }
        let value = value.try_into().ok()?;
        self.rest = rest;
        Some(value)
    }

    /// Takes the digits behind a decimal point as nanoseconds; what is finer is dropped.
    #[inline(always)]
    pub(super) fn nanos(&mut self) -> Option<u32> {
        let Some((values, bits)) = self.few_digits() else {
            return self.long_nanos();
        };
        let value = joined(values & ((1 << bits) - 1)) * 10;
        self.pass(bits);
        (bits > 0).then_some(value.try_into().ok()?)
    }

    #[inline(never)]
    fn long_nanos(&mut self) -> Option<u32> {
        let digits = self.run(|byte| byte.is_ascii_digit());
        let mut value = 0;
        let mut unit = 100_000_000;
        for digit in digits {
            value += u32::from(digit.wrapping_sub(b'0')) * unit;
            unit /= 10;
        }
        (!digits.is_empty()).then_some(value)
    }

    /// Takes what stands before the next blank; everything where there is none.
    #[inline(always)]
    pub(super) fn until_blank(&mut self) -> &'a [u8] {
        let near = self.rest.first_chunk().and_then(|&bytes| {
            let blanks = u64::from_le_bytes(bytes) ^ (EACH * 0x20);
            // The lowest bit is right: a borrow only goes on from a byte that is a blank.
            let found = blanks.wrapping_sub(EACH) & !blanks & HIGH;
            (found != 0).then(|| (found.trailing_zeros() / 8) as usize)
        });
        let end = near
            .or_else(|| memchr::memchr(b' ', self.rest))
            .unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, &[]));
        self.rest = rest;
        token
    }

    /// Takes what stands before the next blank, and one blank.
    #[inline(always)]
    pub(super) fn token(&mut self) -> &'a [u8] {
        let token = self.until_blank();
        self.take(b" ");
        token
    }
}

/// At each byte the number of two digits that begins there.
#[inline(always)]
const fn pairs(values: u64) -> u64 {
    values.wrapping_mul(10).wrapping_add(values >> 8)
}

/// The number that eight digits make: pairs, then the four pairs in two products each.
#[inline(always)]
const fn joined(values: u64) -> u64 {
    const EVERY_FOURTH: u64 = 0x0000_00ff_0000_00ff;
    let pairs = pairs(values);
    let high = (pairs & EVERY_FOURTH).wrapping_mul(100 + (1_000_000 << 32));
    let low = (pairs >> 16 & EVERY_FOURTH).wrapping_mul(1 + (10_000 << 32));
    high.wrapping_add(low) >> 32
}

#[cfg(test)]
mod tests {
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
            let slow = scan.long_number().map(|(value, rest)| (value, taken(rest)));
            prop_assert_eq!(fast, slow);

            let (mut fast, mut slow) = (scan, scan);
            prop_assert_eq!(fast.nanos(), slow.long_nanos());
            prop_assert_eq!(fast.rest(), slow.rest());

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
                let (mut octet, mut number) =
                    (Scan::new(text.as_bytes()), Scan::new(text.as_bytes()));
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
}

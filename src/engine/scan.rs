//! Bytes read from the front, for the line and packet readers.
//!
//! In: a slice. Out: the pieces at its start, each at most once looked at. Nothing here allocates or
//! looks further ahead than what it takes. A method that answers `None` or `false` has taken nothing.

#![expect(
    clippy::inline_always,
    reason = "a literal that is known where it is taken is compared as a number, and not by a call"
)]

/// What is left of some bytes.
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

    /// Takes a decimal number as a machine writes it: no sign, no leading zero, within `T`.
    #[inline]
    pub(super) fn number<T: TryFrom<u64>>(&mut self) -> Option<T> {
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
        let value = T::try_from(value).ok()?;
        self.rest = rest;
        Some(value)
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
    #[inline]
    pub(super) fn nanos(&mut self) -> Option<u32> {
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
    #[inline]
    pub(super) fn until_blank(&mut self) -> &'a [u8] {
        let end = memchr::memchr(b' ', self.rest).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, &[]));
        self.rest = rest;
        token
    }

    /// Takes what stands before the next blank, and one blank.
    #[inline]
    pub(super) fn token(&mut self) -> &'a [u8] {
        let token = self.until_blank();
        self.take(b" ");
        token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

//! Bytes read from the front, for the line and packet readers.
//!
//! In: a slice. Out: the pieces at its start, each at most once looked at. Nothing here allocates or
//! looks further ahead than what it takes. A method that answers `None` or `false` has taken nothing.

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
    #[inline]
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

    /// Takes all blanks.
    pub(super) fn blanks(&mut self) {
        self.run(|byte| byte == b' ');
    }

    /// Takes a decimal number as a machine writes it: no sign, no leading zero, within `T`.
    #[inline]
    pub(super) fn number<T: TryFrom<u64>>(&mut self) -> Option<T> {
        let mut value = 0_u64;
        let mut rest = self.rest;
        while let Some((&digit @ b'0'..=b'9', after)) = rest.split_first() {
            value = value
                .checked_mul(10)?
                .checked_add(u64::from(digit - b'0'))?;
            rest = after;
        }
        let length = self.rest.len() - rest.len();
        if length == 0 || (length > 1 && self.rest.first() == Some(&b'0')) {
            return None;
        }
        let value = T::try_from(value).ok()?;
        self.rest = rest;
        Some(value)
    }

    /// Takes exactly `count` digits, leading zeros and all.
    pub(super) fn digits(&mut self, count: usize) -> Option<u16> {
        let (digits, rest) = self.rest.split_at_checked(count)?;
        let value = digits.iter().try_fold(0_u16, |value, digit| {
            let digit = char::from(*digit).to_digit(10)?;
            value.checked_mul(10)?.checked_add(digit.try_into().ok()?)
        })?;
        self.rest = rest;
        Some(value)
    }

    /// Takes the digits behind a decimal point as nanoseconds; what is finer is dropped.
    pub(super) fn nanos(&mut self) -> Option<u32> {
        let digits = self.run(|byte| byte.is_ascii_digit());
        if digits.is_empty() {
            return None;
        }
        let padded = digits.iter().copied().chain(std::iter::repeat(b'0'));
        Some(padded.take(9).fold(0, |value, digit| {
            value * 10 + u32::from(digit.saturating_sub(b'0'))
        }))
    }

    /// Takes what stands before the next blank, and one blank; everything where there is none.
    #[inline]
    pub(super) fn token(&mut self) -> &'a [u8] {
        let end = memchr::memchr(b' ', self.rest).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, &[]));
        self.rest = rest.strip_prefix(b" ").unwrap_or(rest);
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
    fn what_was_not_taken_stays() {
        let mut scan = Scan::new(b"65536");
        assert_eq!(scan.number::<u16>(), None);
        assert!(!scan.take(b"66"));
        assert_eq!(scan.digits(6), None);
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

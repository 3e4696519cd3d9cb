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
    pub(super) fn run_eights(&mut self, unwanted: impl Fn(u64) -> u64) -> &'a [u8] {
        let text = self.rest;
        self.skip_eights(unwanted);
        let length = text.len() - self.rest.len();
        text.get(..length).unwrap_or(text)
    }

    #[inline(always)]
    fn skip_eights(&mut self, unwanted: impl Fn(u64) -> u64) {
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
    /// eight and something is behind them. The bits above these are not digits.
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
        if let Some(number) = self.short_number() {
            return Some(number);
        }
        let (value, rest) = long_number(self.rest)?;
        let value = T::try_from(value).ok()?;
        self.rest = rest;
        Some(value)
    }

    /// [`Scan::number`], but `None` too where it has eight digits or fewer than eight bytes are left.
    #[inline(always)]
    pub(super) fn short_number<T: TryFrom<u64>>(&mut self) -> Option<T> {
        let (values, bits) = self.few_digits()?;
        if bits == 0 || (bits > 8 && values.trailing_zeros() >= 8) {
            return None;
        }
        let value = T::try_from(joined(values << (64 - bits))).ok()?;
        self.pass(bits);
        Some(value)
    }

    /// Takes an octet of a dotted address: [`Scan::number`] of a byte.
    #[inline(always)]
    pub(super) fn octet(&mut self) -> Option<u8> {
        self.short_octet().or_else(|| self.number())
    }

    /// [`Scan::octet`], but `None` too where fewer than four bytes are left. Its digits are put where one
    /// product adds them up in the highest byte.
    #[inline(always)]
    pub(super) fn short_octet(&mut self) -> Option<u8> {
        let values = u32::from_le_bytes(*self.rest.first_chunk()?) ^ 0x3030_3030;
        let above = (values.wrapping_add(0x7676_7676) | values) & 0x8080_8080;
        let bits = above.trailing_zeros() & 0x18; // nothing of four digits
        if bits == 0 || (bits > 8 && values.trailing_zeros() >= 8) {
            return None;
        }
        let digits = values << (32 - bits);
        if digits.swap_bytes() > 0x0002_0505 {
            return None;
        }
        self.pass(bits);
        let [.., octet] = digits
            .wrapping_mul(1 + (10 << 8) + (100 << 16))
            .to_le_bytes();
        Some(octet)
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
            let (nanos, rest) = long_nanos(self.rest)?;
            self.rest = rest;
            return Some(nanos);
        };
        let value = joined(values & ((1 << bits) - 1)) * 10;
        self.pass(bits);
        (bits > 0).then_some(value.try_into().ok()?)
    }

    /// Takes what stands before the next blank; everything where there is none.
    #[inline(always)]
    pub(super) fn until_blank(&mut self) -> &'a [u8] {
        let near = self.rest.first_chunk().and_then(|&bytes| {
            let blanks = u64::from_le_bytes(bytes) ^ (EACH * 0x20);
            // The lowest bit is right: a borrow only continues from a byte that is a blank.
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

/// The number of [`Scan::number`] and what is behind it, digit by digit. Like [`long_nanos`] it is given the text
/// itself: a `Scan` that a call can change must be in memory from its first byte to its last.
#[inline(never)]
fn long_number(text: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        value = value.wrapping_mul(10).wrapping_add(digit.into());
        rest = after;
    }
    let length = text.len() - rest.len();
    // 19 digits always fit; of more, `value` is wrong.
    if length == 0 || length > 19 || (length > 1 && text.first() == Some(&b'0')) {
        return None;
    }
    Some((value, rest))
}

/// The nanoseconds of [`Scan::nanos`] and what is behind them, digit by digit.
#[inline(never)]
fn long_nanos(text: &[u8]) -> Option<(u32, &[u8])> {
    let mut scan = Scan::new(text);
    let digits = scan.run(|byte| byte.is_ascii_digit());
    let mut value = 0;
    let mut unit = 100_000_000;
    for digit in digits {
        value += u32::from(digit.wrapping_sub(b'0')) * unit;
        unit /= 10;
    }
    (!digits.is_empty()).then_some((value, scan.rest()))
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
#[path = "scan_test.rs"]
mod tests;

//! The fields of a packet line, taken in order.
//!
//! Each method takes a whole field with the one blank behind it, or says why it cannot. The kernel silently cuts a
//! line that is too long, so an end of text is never the end of a number that matters; only [`Fields::last`] fields
//! may end a line.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::reason::Reason;
use super::super::scan::Scan;
use super::{Printer, TcpFlags};

/// Bytes of an interface name: `IFNAMSIZ` less its NUL.
pub(super) const INTERFACE_MAX: usize = 15;

/// What has not been taken of a line.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    scan: Scan<'a>,
    printer: Printer,
}

impl<'a> Fields<'a> {
    pub(super) const fn new(text: &'a [u8], printer: Printer) -> Self {
        Self {
            scan: Scan::new(text),
            printer,
        }
    }

    /// Whether `printer` has printed them.
    #[inline(always)]
    pub(super) fn are_of(&self, printer: Printer) -> bool {
        self.printer == printer
    }

    /// Whether nothing is believed but what the kernel prints, all of it and in its form.
    #[inline(always)]
    pub(super) fn is_exact(&self) -> bool {
        self.are_of(Printer::ThisKernel)
    }

    /// Takes `literal` if it stands next, which others than the kernel may print.
    #[inline(always)]
    pub(super) fn take_foreign(&mut self, literal: &[u8]) -> bool {
        !self.is_exact() && self.take(literal)
    }

    /// `KEY=value `, which the kernel prints always and others may leave out.
    #[inline(always)]
    pub(super) fn usual<T>(
        &mut self,
        key: &[u8],
        value: impl FnOnce(&mut Self) -> Result<T, Reason>,
    ) -> Result<Option<T>, Reason> {
        let found = self.field(key, value)?;
        if found.is_none() && self.is_exact() {
            return Err(self.blame());
        }
        Ok(found)
    }

    /// Takes `literal` if it stands next.
    #[inline(always)]
    pub(super) fn take(&mut self, literal: &[u8]) -> bool {
        self.scan.take(literal)
    }

    /// Takes `literal`, which must stand next.
    #[inline(always)]
    pub(super) fn want(&mut self, literal: &[u8]) -> Result<(), Reason> {
        if self.scan.take(literal) {
            return Ok(());
        }
        Err(self.blame())
    }

    /// The name of a flag, if one stands next.
    #[inline(always)]
    pub(super) fn flag(&mut self) -> Option<TcpFlags> {
        let (flag, rest) = match self.scan.rest() {
            [b'A', b'E', rest @ ..] => (TcpFlags::AE, rest),
            [b'C', b'W', b'R', rest @ ..] => (TcpFlags::CWR, rest),
            [b'E', b'C', b'E', rest @ ..] => (TcpFlags::ECE, rest),
            [b'U', b'R', b'G', rest @ ..] => (TcpFlags::URG, rest),
            [b'A', b'C', b'K', rest @ ..] => (TcpFlags::ACK, rest),
            [b'P', b'S', b'H', rest @ ..] => (TcpFlags::PSH, rest),
            [b'R', b'S', b'T', rest @ ..] => (TcpFlags::RST, rest),
            [b'S', b'Y', b'N', rest @ ..] => (TcpFlags::SYN, rest),
            [b'F', b'I', b'N', rest @ ..] => (TcpFlags::FIN, rest),
            _ => return None,
        };
        self.scan = Scan::new(rest);
        Some(flag)
    }

    /// `KEY=value `, if it stands next.
    #[inline(always)]
    pub(super) fn field<T>(
        &mut self,
        key: &[u8],
        value: impl FnOnce(&mut Self) -> Result<T, Reason>,
    ) -> Result<Option<T>, Reason> {
        if !self.scan.take(key) {
            return Ok(None);
        }
        let value = value(self)?;
        self.want(b" ")?;
        Ok(Some(value))
    }

    /// `KEY=value `, which must stand next.
    #[inline(always)]
    pub(super) fn must<T>(
        &mut self,
        key: &[u8],
        value: impl FnOnce(&mut Self) -> Result<T, Reason>,
    ) -> Result<T, Reason> {
        match self.field(key, value)? {
            Some(value) => Ok(value),
            None => Err(self.blame()),
        }
    }

    /// `KEY=value`, if it stands next; the line may end with it.
    #[inline(always)]
    pub(super) fn last<T>(
        &mut self,
        key: &[u8],
        value: impl FnOnce(&mut Self) -> Result<T, Reason>,
    ) -> Result<Option<T>, Reason> {
        if !self.scan.take(key) {
            return Ok(None);
        }
        let value = value(self)?;
        self.close()?;
        Ok(Some(value))
    }

    /// The end of a field that may end the line.
    #[inline(always)]
    pub(super) fn close(&mut self) -> Result<(), Reason> {
        if self.scan.take(b" ") || self.at_end() {
            return Ok(());
        }
        Err(Reason::Grammar)
    }

    /// Whether nothing is left but what may stand behind the last field.
    #[inline]
    pub(super) fn at_end(&self) -> bool {
        if self.is_exact() {
            return self.scan.rest().is_empty();
        }
        let white = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r');
        self.scan.rest().iter().all(white)
    }

    /// Why what stands next is wrong: a word without an end was cut, any other is foreign.
    #[cold]
    #[inline(never)]
    pub(super) fn blame(self) -> Reason {
        match memchr::memchr(b' ', self.scan.rest()) {
            Some(_) => Reason::Grammar,
            None => Reason::Truncated,
        }
    }

    /// A decimal number, canonical and within `T`.
    #[inline(always)]
    pub(super) fn number<T: TryFrom<u64>>(&mut self) -> Result<T, Reason> {
        self.scan.number().ok_or_else(|| self.blame())
    }

    /// A decimal number that is at most `limit`.
    pub(super) fn number_to(&mut self, limit: u32) -> Result<u32, Reason> {
        let number = self.number()?;
        if number > limit {
            return Err(Reason::Grammar);
        }
        Ok(number)
    }

    /// Two hexadecimal digits, or an error at what follows.
    #[inline(always)]
    pub(super) fn hex_byte(&mut self) -> Result<(), Reason> {
        match self.scan.rest() {
            [high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                self.scan = Scan::new(rest);
                Ok(())
            }
            _ => Err(self.blame()),
        }
    }

    /// `least` to `most` hexadecimal digits.
    #[inline]
    pub(super) fn hex(&mut self, least: usize, most: usize) -> Result<(), Reason> {
        let digits = self.scan.run(|byte| byte.is_ascii_hexdigit());
        if (least..=most).contains(&digits.len()) {
            return Ok(());
        }
        Err(self.blame())
    }

    /// [`Fields::hex_byte`] behind a `0x` that userspace writers leave out.
    #[inline(always)]
    pub(super) fn loose_hex_byte(&mut self) -> Result<(), Reason> {
        self.loose_0x()?;
        self.hex_byte()
    }

    /// Hexadecimal digits behind a `0x` that userspace writers leave out.
    #[inline]
    pub(super) fn loose_hex(&mut self, least: usize, most: usize) -> Result<(), Reason> {
        self.loose_0x()?;
        self.hex(least, most)
    }

    #[inline(always)]
    fn loose_0x(&mut self) -> Result<(), Reason> {
        if self.take(b"0x") || !self.is_exact() {
            return Ok(());
        }
        Err(self.blame())
    }

    /// The next word, without the blank or the end of text behind it.
    pub(super) fn word(&mut self) -> &'a [u8] {
        self.scan.run(|byte| !matches!(byte, b' ' | b'\t' | b'\r'))
    }

    /// An interface name, perhaps empty.
    #[inline(always)]
    pub(super) fn interface(&mut self) -> Result<&'a [u8], Reason> {
        let legal = |byte| byte > b' ' && byte != b'/' && byte != 0x7f;
        let name = self.scan.run(legal);
        if name.len() > INTERFACE_MAX {
            return Err(Reason::Grammar);
        }
        Ok(name)
    }

    /// Bytes of a link header, any number. Some devices print `X` for those that they hide.
    #[inline(never)]
    pub(super) fn link_bytes(&mut self) -> Result<(), Reason> {
        if self.is_exact() {
            return self.exact_link_bytes();
        }
        self.scan.run_eights(|bytes| {
            // The colon stands behind the nine. What is 7 bits wide has room in a byte for a sum.
            let from = |byte: u8| each(0x80 - byte);
            let text = bytes & each(0x7f);
            let (digit, letter) = (text ^ each(b'0'), (text | each(0x20)) ^ each(0x60));
            let no_digit = digit.wrapping_add(from(0x0b));
            let no_hex = letter.wrapping_add(from(7)) | !letter.wrapping_add(from(1));
            let no_x = (letter ^ each(b'x' ^ 0x60)).wrapping_add(from(1));
            bytes | (no_digit & no_hex & no_x)
        });
        match self.scan.rest().first() {
            None | Some(b' ') => Ok(()),
            Some(_) => Err(Reason::Grammar),
        }
    }

    /// Bytes of a link header as the kernel prints them: none of them hidden.
    fn exact_link_bytes(&mut self) -> Result<(), Reason> {
        let is_legal = |byte: &u8| matches!(byte, b'0'..=b':' | b'a'..=b'f'); // the colon stands behind the nine
        if self.word().iter().all(is_legal) {
            return Ok(());
        }
        Err(Reason::Grammar)
    }

    /// An address of either family, as written.
    #[inline]
    pub(super) fn address(&mut self) -> Result<IpAddr, Reason> {
        let mut ipv4 = *self;
        if let Ok(address) = ipv4.ipv4() {
            *self = ipv4;
            return Ok(address.into());
        }
        if let Some(address) = kernel_ipv6(&mut self.scan) {
            return Ok(address.into());
        }
        if self.is_exact() {
            return Err(self.blame());
        }
        let mut ipv6 = self.scan;
        let text = ipv6.run(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'));
        let address: Option<Ipv6Addr> = std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse().ok());
        let address = address.ok_or_else(|| self.blame())?;
        self.scan = ipv6;
        Ok(address.into())
    }

    #[inline(always)]
    fn octet(&mut self) -> Result<u8, Reason> {
        self.scan.octet().ok_or_else(|| self.blame())
    }

    /// An IPv4 address.
    #[inline]
    pub(super) fn ipv4(&mut self) -> Result<Ipv4Addr, Reason> {
        let a = self.octet()?;
        self.want(b".")?;
        let b = self.octet()?;
        self.want(b".")?;
        let c = self.octet()?;
        self.want(b".")?;
        let d = self.octet()?;
        Ok(Ipv4Addr::new(a, b, c, d))
    }

    /// `[ … ]`, if a bracket stands next: brackets within are counted, nothing within is read.
    pub(super) fn quoted(&mut self) -> Result<bool, Reason> {
        if !self.scan.rest().starts_with(b"[") {
            return Ok(false);
        }
        let mut depth = 0_u32;
        let mut closed = false;
        let mut rest = self.scan.rest();
        while let Some((&byte, after)) = rest.split_first() {
            match byte {
                b'[' => depth = depth.saturating_add(1),
                b']' => depth = depth.saturating_sub(1),
                _ if byte.is_ascii_control() => return Err(Reason::Grammar),
                _ => {}
            }
            rest = after;
            if depth == 0 {
                closed = true;
                break;
            }
        }
        if !closed {
            return Err(Reason::Truncated);
        }
        self.scan = Scan::new(rest);
        self.close()?;
        Ok(true)
    }
}

/// What no interface name has, as [`Scan::run_eights`] asks; and what is not ASCII, which one may have.
#[inline(always)]
pub(super) const fn illegal_in_interface(bytes: u64) -> u64 {
    let text = bytes & each(0x7f);
    let from_exclamation_mark = text.wrapping_add(each(0x80 - b'!'));
    let other_than_slash = (text ^ each(b'/')).wrapping_add(each(0x7f));
    bytes | !(from_exclamation_mark & other_than_slash) | text.wrapping_add(each(1))
}

/// The byte, eight times.
const fn each(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// Takes an IPv6 address as the kernel prints it: eight groups of four digits, nothing left out.
fn kernel_ipv6(scan: &mut Scan<'_>) -> Option<Ipv6Addr> {
    let mut ahead = *scan;
    let mut groups = [0; 8];
    for (place, group) in groups.iter_mut().enumerate() {
        if place > 0 {
            ahead.need(b":")?;
        }
        for &digit in ahead.bytes::<4>()? {
            *group = *group << 4 | u16::try_from(char::from(digit).to_digit(16)?).ok()?;
        }
    }
    if !matches!(ahead.rest().first(), None | Some(b' ')) {
        return None;
    }
    *scan = ahead;
    Some(groups.into())
}

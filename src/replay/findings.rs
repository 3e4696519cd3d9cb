//! A block of lines → what is in them.
//!
//! In: a block. Out: its packets, and the lines that look like one and are not to be believed. Nothing here
//! depends on the lines before, so blocks can be read side by side. Where the dialect allows it, only
//! lines that hold the one text that no packet line is without are looked at; the others are counted.
//! Texts are kept beside the packets, so that these can go to another thread.

use std::ops::Range;

use memchr::{memchr, memchr_iter, memmem, memrchr};

use super::blocks::Block;
use super::lines::MAX_LINE;
use crate::dialect::{self, Reader};
use crate::engine::line::Stamp;
use crate::engine::packet::Packet;
use crate::engine::reason::Reason;
use crate::engine::time::Time;

/// What is in a block. Used again for the next one, its room is.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) block: Block,
    /// Lines in the block, of any kind.
    pub(super) lines: u64,
    found: Vec<Finding>,
    texts: Vec<u8>,
}

/// A line that is not about something else.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    /// Its number in the block, from 0.
    pub(super) line: u64,
    /// Its packet, or where the line stands and why it is not to be believed.
    pub(super) what: Result<Found, (Range<usize>, Reason)>,
}

/// A packet, and what its line says of itself.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) stamp: Option<Stamp>,
    pub(super) uptime: Option<Time>,
    host: Text,
    iif: Text,
    oif: Text,
    packet: Packet<'static>,
}

/// Where a text stands among the [`Findings::texts`].
#[derive(Clone, Copy, Debug, Default)]
struct Text {
    start: usize,
    length: usize,
}

impl Findings {
    /// Reads the block.
    pub(super) fn read(&mut self, form: &Reader) {
        let block = std::mem::take(&mut self.block);
        self.lines = 0;
        self.found.clear();
        self.texts.clear();
        let mut rest = block.bytes();
        if block.begins_too_long {
            let line = memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
            rest = rest.get(line..).unwrap_or_default();
            self.too_long();
        }
        let start = block.bytes().len() - rest.len();
        match form.hint() {
            Some(hint) => self.search(&block, start, hint, form),
            None => self.look_at_all(&block, start, form),
        }
        self.block = block;
    }

    /// What stands at `place`; `None` behind the last.
    pub(super) fn get(&self, place: usize) -> Option<&Finding> {
        self.found.get(place)
    }

    /// The host that wrote the line of a packet.
    pub(super) fn host(&self, found: &Found) -> &[u8] {
        self.text(found.host)
    }

    /// A packet, whole.
    pub(super) fn packet(&self, found: &Found) -> Packet<'_> {
        Packet {
            iif: self.text(found.iif),
            oif: self.text(found.oif),
            ..found.packet
        }
    }

    /// Looks at the lines that hold `hint`.
    fn search(&mut self, block: &Block, start: usize, hint: &[u8], form: &Reader) {
        let finder = memmem::Finder::new(hint);
        let bytes = block.bytes();
        let mut at = start;
        while let Some(rest) = bytes.get(at..)
            && let Some(hit) = finder.find(rest)
        {
            let (before, from_hit) = rest.split_at_checked(hit).unwrap_or_default();
            let start = memrchr(b'\n', before).map_or(0, |newline| newline + 1);
            self.others(before.get(..start).unwrap_or_default());
            let end = memchr(b'\n', from_hit).map_or(rest.len(), |newline| hit + newline);
            self.line(at + start, rest.get(start..end).unwrap_or_default(), form);
            at += end + 1;
        }
        self.others(bytes.get(at..).unwrap_or_default());
    }

    fn look_at_all(&mut self, block: &Block, start: usize, form: &Reader) {
        let bytes = block.bytes();
        let mut at = start;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let end = memchr(b'\n', rest).unwrap_or(rest.len());
            self.line(at, rest.get(..end).unwrap_or_default(), form);
            at += end + 1;
        }
    }

    /// Counts lines of which none holds the hint. Only their length may be remarkable.
    fn others(&mut self, mut lines: &[u8]) {
        while let Some(window) = lines.get(..=MAX_LINE) {
            let end = if let Some(newline) = memrchr(b'\n', window) {
                self.count(window.get(..=newline).unwrap_or_default());
                newline
            } else {
                self.too_long();
                memchr(b'\n', lines).unwrap_or(lines.len())
            };
            lines = lines.get(end + 1..).unwrap_or_default();
        }
        self.count(lines);
    }

    /// Counts lines of which none is too long.
    fn count(&mut self, lines: &[u8]) {
        let is_open = lines.last().is_some_and(|&last| last != b'\n');
        self.lines += memchr_iter(b'\n', lines).count() as u64 + u64::from(is_open);
    }

    /// Takes a line without its newline, which begins at `start`.
    fn line(&mut self, start: usize, line: &[u8], form: &Reader) {
        if line.len() > MAX_LINE {
            self.too_long();
            return;
        }
        let opened = form.open(line);
        let what = match form.read(&opened) {
            Ok(None) => None,
            Ok(Some(read)) => Some(Ok(self.keep(&read))),
            Err(reason) => Some(Err((start..start + line.len(), reason))),
        };
        let line = self.lines;
        self.found.extend(what.map(|what| Finding { line, what }));
        self.lines += 1;
    }

    fn too_long(&mut self) {
        self.found.push(Finding {
            line: self.lines,
            what: Err((0..0, Reason::TooLong)),
        });
        self.lines += 1;
    }

    fn keep(&mut self, (record, packet): &dialect::Read<'_>) -> Found {
        let last = self.found.last().and_then(|last| last.what.as_ref().ok());
        let (host, iif, oif) =
            last.map_or_else(Default::default, |last| (last.host, last.iif, last.oif));
        Found {
            stamp: record.stamp,
            uptime: record.uptime,
            host: self.keep_text(record.host, host),
            iif: self.keep_text(packet.iif, iif),
            oif: self.keep_text(packet.oif, oif),
            packet: Packet {
                prefix: b"",
                iif: b"",
                oif: b"",
                src: packet.src,
                dst: packet.dst,
                proto: packet.proto,
                ports: packet.ports,
                flags: packet.flags,
                mark: packet.mark,
            },
        }
    }

    /// Keeps a text, which mostly is what it was in the line before.
    fn keep_text(&mut self, text: &[u8], before: Text) -> Text {
        if self.text(before) == text {
            return before;
        }
        let start = self.texts.len();
        self.texts.extend_from_slice(text);
        Text {
            start,
            length: text.len(),
        }
    }

    fn text(&self, text: Text) -> &[u8] {
        let end = text.start + text.length;
        self.texts.get(text.start..end).unwrap_or_default()
    }
}

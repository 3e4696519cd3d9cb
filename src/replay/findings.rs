//! A block of lines → what is in them.
//!
//! In: a block. Out: its packets, and the lines that look like one and are not to be believed. Nothing here depends
//! on the lines before, so blocks can be read side by side. Where the format allows it, only lines that hold the one
//! text that no packet line is without are looked at; the others are counted. What is found holds nothing of the
//! block and is small, as it goes to another thread and another core: texts are kept apart from the packets, mostly
//! one for many of them.

use std::sync::Arc;

use memchr::{memchr, memchr_iter, memmem, memrchr};

use super::blocks::Block;
use super::blocks::MAX_LINE;
use crate::calendar::Calendar;
use crate::dialect::{self, Reader};
use crate::engine::loss::{self, Losses};
use crate::engine::packet::{Headers, Packet};
use crate::engine::reason::Reason;
use crate::engine::time::Time;
use crate::engine::timeline::{Stamps, Wall};

/// How lines are read.
#[derive(Clone, Debug)]
pub(super) struct Form {
    /// What they look like.
    pub(super) reader: Arc<Reader>,
    /// When their stamps are.
    pub(super) calendar: Calendar,
    /// Whether each line is asked for what it says of losses.
    pub(super) looks_for_losses: bool,
}

/// What is in a block. Used again for the next one, its room is.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Lines in the block, of any kind.
    pub(super) lines: u64,
    /// What it says of messages that are missing.
    pub(super) losses: Losses,
    found: Vec<Finding>,
    texts: Vec<u8>,
}

/// A line that is not about something else.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    /// Its number in the block, from 0.
    pub(super) line: u64,
    /// Its packet, or its bytes and why they are not to be believed.
    pub(super) what: Result<Found, (Text, Reason)>,
}

/// A packet, and what its line says of itself.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Its header's stamp.
    pub(super) wall: Option<Wall>,
    pub(super) uptime: Option<Time>,
    host: Text,
    iif: Text,
    oif: Text,
    headers: Headers,
}

/// Where a text stands among the [`Findings::texts`], which are no longer than a block and its last line.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Text {
    start: u32,
    end: u32,
}

impl Findings {
    /// Reads a block.
    pub(super) fn read(&mut self, block: &Block, form: &mut Form) {
        self.lines = 0;
        self.losses = Losses::default();
        self.found.clear();
        self.texts.clear();
        if form.looks_for_losses {
            for told in block
                .bytes()
                .split(|&byte| byte == b'\n')
                .filter_map(loss::read)
            {
                self.losses.add(told.count);
            }
        }
        let mut rest = block.bytes();
        if block.begins_too_long {
            let line = memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
            rest = rest.get(line..).unwrap_or_default();
            self.too_long();
        }
        let reader = Arc::clone(&form.reader);
        match reader.hint().map(memmem::Finder::new) {
            Some(hint) => self.search(rest, &hint, form),
            None => self.look_at_all(rest, form),
        }
    }

    /// What stands at `place`; `None` behind the last.
    pub(super) fn get(&self, place: usize) -> Option<&Finding> {
        self.found.get(place)
    }

    /// What the packets from `place` on say of their time.
    pub(super) fn behind(&self, place: usize) -> impl Iterator<Item = Stamps<'_>> {
        let found = self.found.get(place..).unwrap_or_default().iter();
        let found = found.filter_map(|finding| finding.what.as_ref().ok());
        found.map(|found| self.stamps(found))
    }

    /// What the line of a packet says of its time.
    pub(super) fn stamps(&self, found: &Found) -> Stamps<'_> {
        Stamps {
            host: self.text(found.host),
            wall: found.wall,
            uptime: found.uptime,
        }
    }

    /// A packet, whole.
    pub(super) fn packet(&self, found: &Found) -> Packet<'_> {
        let (iif, oif) = (self.text(found.iif), self.text(found.oif));
        Packet {
            prefix: b"",
            iif,
            oif,
            headers: found.headers,
        }
    }

    /// The text of the findings.
    pub(super) fn text(&self, text: Text) -> &[u8] {
        let text = text.start as usize..text.end as usize;
        self.texts.get(text).unwrap_or_default()
    }

    /// Looks at the lines that hold `hint`.
    fn search(&mut self, bytes: &[u8], hint: &memmem::Finder<'_>, form: &mut Form) {
        let mut rest = bytes;
        while let Some(hit) = hint.find(rest) {
            let (before, from_hit) = rest.split_at_checked(hit).unwrap_or_default();
            let start = memrchr(b'\n', before).map_or(0, |newline| newline + 1);
            self.others(before.get(..start).unwrap_or_default());
            let end = memchr(b'\n', from_hit).map_or(rest.len(), |newline| hit + newline);
            self.line(rest.get(start..end).unwrap_or_default(), form);
            rest = rest.get(end + 1..).unwrap_or_default();
        }
        self.others(rest);
    }

    fn look_at_all(&mut self, bytes: &[u8], form: &mut Form) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let end = memchr(b'\n', rest).unwrap_or(rest.len());
            self.line(rest.get(..end).unwrap_or_default(), form);
            rest = rest.get(end + 1..).unwrap_or_default();
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

    /// Takes a line without its newline.
    fn line(&mut self, line: &[u8], form: &mut Form) {
        if line.len() > MAX_LINE {
            self.too_long();
            return;
        }
        let opened = form.reader.open(line);
        let what = match form.reader.read(&opened) {
            Ok(None) => None,
            Ok(Some(read)) => Some(Ok(self.keep(&read, &mut form.calendar))),
            Err(reason) => Some(Err((self.keep_text(line, Text::default()), reason))),
        };
        let line = self.lines;
        self.found.extend(what.map(|what| Finding { line, what }));
        self.lines += 1;
    }

    fn too_long(&mut self) {
        self.found.push(Finding {
            line: self.lines,
            what: Err((Text::default(), Reason::TooLong)),
        });
        self.lines += 1;
    }

    fn keep(&mut self, (record, packet): &dialect::Read<'_>, calendar: &mut Calendar) -> Found {
        let last = self.found.last().and_then(|last| last.what.as_ref().ok());
        let (host, iif, oif) =
            last.map_or_else(Default::default, |last| (last.host, last.iif, last.oif));
        Found {
            wall: record.stamp.and_then(|stamp| calendar.resolve(stamp)),
            uptime: record.uptime,
            host: self.keep_text(record.host, host),
            iif: self.keep_text(packet.iif, iif),
            oif: self.keep_text(packet.oif, oif),
            headers: packet.headers,
        }
    }

    /// Keeps a text, which mostly is what it was in the line before.
    fn keep_text(&mut self, text: &[u8], before: Text) -> Text {
        if self.text(before) == text {
            return before;
        }
        let start = self.texts.len();
        self.texts.extend_from_slice(text);
        let place = |place| u32::try_from(place).unwrap_or(u32::MAX);
        Text {
            start: place(start),
            end: place(self.texts.len()),
        }
    }
}

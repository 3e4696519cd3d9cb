//! A sequence as knockd reads it: `port[:protocol[:anything]]` between commas.
//!
//! In: a value. Out: the steps, or none where knockd refuses them, and what in them is not what it
//! looks like: with the step's number, never its port. Numbers are those of C's `atoi`, which takes what it can and says
//! nothing.

use crate::config::document::Document;
use crate::config::report::{error, warning};
use crate::config::sequence::{StepFlaw, transport};
use crate::engine::sequence::{MAX_STEPS, Sequence, Step};

use super::lines::Word;

/// A sequence as knockd reads it.
pub(super) struct Steps {
    /// `None` when knockd refuses it.
    pub(super) sequence: Option<Sequence>,
    /// A step that cannot be knocked.
    pub(super) is_dead: bool,
}

impl Steps {
    /// Reads it.
    pub(super) fn read(value: &Word<'_>, document: &Document<'_>) -> Self {
        let items = value.items();
        if items.len() > MAX_STEPS {
            let at = document.span(value.at.clone());
            document.add(error(at, format!("more than {MAX_STEPS} steps")));
            return Self {
                sequence: None,
                is_dead: false,
            };
        }
        let read: Vec<_> = (1..)
            .zip(&items)
            .map(|(number, item)| step(item, number, document))
            .collect();
        Self {
            is_dead: read.iter().flatten().any(|step| step.port == 0),
            sequence: read
                .into_iter()
                .collect::<Option<Vec<_>>>()
                .and_then(Sequence::new),
        }
    }
}

/// One step. Port zero cannot be knocked.
fn step(item: &Word<'_>, number: usize, document: &Document<'_>) -> Option<Step> {
    let at = document.span(item.at.clone());
    let mut parts = item.text.split(':');
    let port = parts.next().unwrap_or("");
    let mut refuse = |flaw: StepFlaw| document.add(error(at, format!("step {number} {flaw}")));
    let transport = transport(parts.next().unwrap_or("tcp"))
        .map_err(&mut refuse)
        .ok()?;
    let read = self::number(port);
    if read.value > i32::from(u16::MAX) {
        refuse(StepFlaw::Port);
        return None;
    }
    let tail = port.get(read.length..).unwrap_or("").trim();
    if read.length > 0 && (!tail.is_empty() || parts.next().is_some()) {
        let range = tail.strip_prefix('-').map(str::trim_start);
        let is_range = range.is_some_and(|end| end.starts_with(|c: char| c.is_ascii_digit()));
        document.add(if is_range {
            let message =
                format!("step {number}: knockd knows no ranges and takes the first port alone");
            warning(at, message).fix("write each port")
        } else {
            let message = format!("step {number}: knockd does not read what is behind the port");
            warning(at, message).fix("write PORT or PORT:udp; a comment needs a line of its own")
        });
    }
    // knockd keeps the low half.
    let [low, high, ..] = read.value.to_le_bytes();
    let port = u16::from_le_bytes([low, high]);
    if port == 0 {
        let message = format!(
            "knockd reads step {number} as port 0, which cannot be knocked: the door never opens and is left out"
        );
        let fix = "write a port from 1 to 65535, and no comma at the end";
        document.add(warning(at, message).fix(fix));
    } else if read.value < 0 {
        let message =
            format!("step {number} is negative: knockd counts back from 65536 and takes that port");
        document.add(warning(at, message).fix("write a port from 1 to 65535"));
    }
    Some(Step { port, transport })
}

/// What `atoi` makes of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number {
    /// Its value: 0 when there was no digit.
    pub(super) value: i32,
    /// How much of the text is the number; 0 when there is none.
    pub(super) length: usize,
}

/// Reads the number at the start of `text`.
pub(super) fn number(text: &str) -> Number {
    let behind = text.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    let unsigned = behind.strip_prefix(['-', '+']).unwrap_or(behind);
    let digits = unsigned.trim_start_matches(|character: char| character.is_ascii_digit());
    let end = text.len() - digits.len();
    if digits.len() == unsigned.len() {
        return Number {
            value: 0,
            length: 0,
        };
    }
    let written = text.get(text.len() - behind.len()..end).unwrap_or("");
    // glibc: strtol stops at the ends of a long, and the cast to int keeps its low half.
    let long = written
        .parse::<i64>()
        .unwrap_or(if written.starts_with('-') {
            i64::MIN
        } else {
            i64::MAX
        });
    let [a, b, c, d, ..] = long.to_le_bytes();
    Number {
        value: i32::from_le_bytes([a, b, c, d]),
        length: end,
    }
}

#[cfg(test)]
#[path = "sequence_test.rs"]
mod tests;

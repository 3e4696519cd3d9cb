//! A sequence as knockd reads it: `port[:protocol[:anything]]` between commas.
//!
//! In: a value. Out: the steps, or none where knockd refuses them, and what in them is not what it
//! looks like: with the step's number, never its port.

use crate::config::problem::{Problem, StepFlaw};
use crate::engine::sequence::{MAX_STEPS, Sequence, Step, Transport};

use super::Trap;
use super::lines::Word;
use super::number::number;

/// A sequence as knockd reads it.
pub(super) struct Steps {
    /// `None` when knockd refuses it.
    pub(super) sequence: Option<Sequence>,
    /// A step that nobody can knock at.
    pub(super) is_dead: bool,
}

impl Steps {
    /// Reads it; what is wrong goes to `problem` with the word that it is about.
    pub(super) fn read(value: &Word<'_>, problem: &mut impl FnMut(&Word<'_>, Problem)) -> Self {
        let items = value.items();
        let mut steps = Self {
            sequence: None,
            is_dead: false,
        };
        if items.len() > MAX_STEPS {
            let (what, most) = ("steps", MAX_STEPS);
            problem(value, Problem::TooMany { what, most });
            return steps;
        }
        let mut read = Vec::new();
        for (item, number) in items.iter().zip(1..) {
            let step = step(item, number, problem);
            steps.is_dead |= step.is_some_and(|step| step.port == 0);
            read.push(step);
        }
        let read: Option<Vec<_>> = read.into_iter().collect();
        steps.sequence = read.and_then(Sequence::new);
        steps
    }
}

/// One step: `port[:protocol[:anything]]`. At port zero nobody can knock.
fn step(
    item: &Word<'_>,
    number: usize,
    problem: &mut impl FnMut(&Word<'_>, Problem),
) -> Option<Step> {
    let mut refuse = |flaw| problem(item, Problem::Step { number, flaw });
    let mut parts = item.text.split(':');
    let port = parts.next().unwrap_or("");
    let transport = match parts.next().map(|word| word.trim().to_ascii_lowercase()) {
        None => Some(Transport::Tcp),
        Some(word) => match word.as_str() {
            "tcp" => Some(Transport::Tcp),
            "udp" => Some(Transport::Udp),
            _ => None,
        },
    };
    let read = self::number(port);
    let tail = port.get(read.length..).unwrap_or("").trim();
    let Some(transport) = transport else {
        refuse(StepFlaw::Protocol);
        return None;
    };
    if read.value > i32::from(u16::MAX) {
        refuse(StepFlaw::Port);
        return None;
    }
    if read.length > 0 && (!tail.is_empty() || parts.next().is_some()) {
        let range = tail.strip_prefix('-').map(str::trim_start);
        let is_range = range.is_some_and(|end| end.starts_with(|c: char| c.is_ascii_digit()));
        let trap = if is_range {
            Trap::StepRange { number }
        } else {
            Trap::StepTail { number }
        };
        problem(item, Problem::Knockd(trap));
    }
    // knockd keeps the low half.
    let [low, high, ..] = read.value.to_le_bytes();
    let port = u16::from_le_bytes([low, high]);
    if port == 0 {
        problem(item, Problem::Knockd(Trap::StepZero { number }));
    } else if read.value < 0 {
        problem(item, Problem::Knockd(Trap::StepNegative { number }));
    }
    Some(Step { port, transport })
}

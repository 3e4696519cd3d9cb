//! The `sequence` and the `opens` of a door.
//!
//! In: arrays of ports as written. Out: the engine's [`Sequence`], and the ports to open. A sequence
//! is a password: what is reported about it names the number of a step and never its port.

use toml::de::DeValue;

use crate::engine::sequence::{MAX_STEPS, Sequence, Step, Transport};

use super::problem::{Problem, StepFlaw};
use super::report::Report;
use super::value::{Value, Written, integer};

/// A sequence as written.
pub(super) type Steps = Sequence;

impl Value for Steps {
    const SECRET: bool = true;

    fn read(written: Written<'_>, report: &mut Report) -> Option<Self> {
        let items = written.few("steps", MAX_STEPS, "an array of ports", report)?;
        if items.len() == 0 {
            return written.refuse(Problem::NoStep, report);
        }
        // All are read before one that is none ends it, so that all mistakes are shown.
        let steps: Vec<Option<Step>> = items
            .enumerate()
            .map(|(index, item)| match step(item.value) {
                Ok(step) => Some(step),
                Err(flaw) => {
                    let number = index + 1;
                    item.refuse(Problem::Step { number, flaw }, report)
                }
            })
            .collect();
        Sequence::new(steps.into_iter().collect::<Option<Vec<_>>>()?)
    }
}

/// Ports to open, each once; none where a door is not to open what is the default.
#[derive(Clone)]
pub(super) struct Opens(pub(super) Box<[Step]>);

impl Value for Opens {
    fn read(written: Written<'_>, report: &mut Report) -> Option<Self> {
        let items = written.few("ports", MAX_STEPS, "an array of ports", report)?;
        let ports: Vec<Option<Step>> = items
            .map(|item| match step(item.value) {
                Ok(port) => Some(port),
                Err(flaw) => item.refuse(Problem::Opens { flaw }, report),
            })
            .collect();
        let mut ports = ports.into_iter().collect::<Option<Vec<_>>>()?;
        ports.sort_unstable_by_key(|port| (port.transport, port.port));
        ports.dedup();
        Some(Self(ports.into()))
    }
}

pub(super) fn step(value: &DeValue<'_>) -> Result<Step, StepFlaw> {
    match value {
        DeValue::Integer(_) => of(integer(value), Transport::Tcp),
        DeValue::String(text) => from_text(text),
        _ => Err(StepFlaw::Form),
    }
}

/// The step that `text` is: `PORT` or `PORT:PROTOCOL`, with spaces around either.
pub(super) fn from_text(text: &str) -> Result<Step, StepFlaw> {
    let (port, protocol) = text.split_once(':').unwrap_or((text, "tcp"));
    of(digits(port.trim())?, transport(protocol.trim())?)
}

fn of(port: Option<i64>, transport: Transport) -> Result<Step, StepFlaw> {
    match port.and_then(|port| u16::try_from(port).ok()) {
        None | Some(0) => Err(StepFlaw::Port),
        Some(port) => Ok(Step { port, transport }),
    }
}

/// `Ok(None)` is a number too large to be one.
fn digits(text: &str) -> Result<Option<i64>, StepFlaw> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(StepFlaw::Form);
    }
    Ok(text.parse().ok())
}

pub(super) fn transport(text: &str) -> Result<Transport, StepFlaw> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Ok(Transport::Tcp),
        "udp" => Ok(Transport::Udp),
        _ => Err(StepFlaw::Protocol),
    }
}

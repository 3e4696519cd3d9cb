//! Ports as they are written in a config: `sequence`, `opens`, `public`, `counts` with their `port`.
//!
//! In: `7000`, `"8000:udp"`. Out: the engine's [`Step`]s. A sequence is a password: what is reported about it names the
//! number of a step and never its port.

use thiserror::Error;
use toml::de::DeValue;

use crate::engine::sequence::{MAX_STEPS, Sequence, Step, Transport};

use super::report::{Finding, Span, error};
use super::schema::Secrecy;
use super::value::{Value, Written, integer};

/// Most groups of a `counts`, and most hits in one: each is a digit.
const MAX_COUNT: u8 = 9;

/// Why a text is no port.
#[derive(Clone, Copy, Debug, Error)]
pub(super) enum StepFlaw {
    /// Not written as one.
    #[error("is no port")]
    Form,
    /// Not a port's number.
    #[error("is out of range; ports are 1 to 65535")]
    Port,
    /// Neither TCP nor UDP.
    #[error("has an unknown protocol; there are tcp and udp")]
    Protocol,
}

impl StepFlaw {
    /// The finding about `what` at a place in a TOML file.
    fn at(self, at: Span, what: &str) -> Finding {
        let found = error(at, format!("{what} {self}"));
        match self {
            Self::Form => found.fix("write PORT, \"PORT:tcp\" or \"PORT:udp\""),
            Self::Port | Self::Protocol => found,
        }
    }
}

impl Value for Sequence {
    const SECRECY: Secrecy = Secrecy::Secret;

    fn read(written: Written<'_>) -> Option<Self> {
        let steps = written.each("steps", MAX_STEPS, |number, item| {
            let flawed = |flaw: StepFlaw| flaw.at(item.span, &format!("step {number}"));
            let step = step(item.value);
            step.map_err(|flaw| item.add(flawed(flaw))).ok()
        })?;
        Sequence::new(steps).or_else(|| {
            let fix = "write one as [PORT, \"PORT:udp\", PORT]";
            written.refuse_with("the sequence has no step", fix)
        })
    }
}

/// Ports to open, each once, in order; none where a door is not to open what is the default.
#[derive(Clone, Default)]
pub(super) struct Ports(pub(super) Box<[Step]>);

impl Value for Ports {
    const SECRECY: Secrecy = Secrecy::Ports;

    fn read(written: Written<'_>) -> Option<Self> {
        let mut ports = written.each("ports", MAX_STEPS, |_, item| {
            let port = step(item.value);
            port.map_err(|flaw| item.add(flaw.at(item.span, "this")))
                .ok()
        })?;
        ports.sort_unstable_by_key(|port| (port.transport, port.port));
        ports.dedup();
        Some(Self(ports.into()))
    }
}

/// Open Sesamy's hits in each window, first to last.
#[derive(Clone)]
pub(super) struct Counts(pub(super) Box<[u8]>);

impl Value for Counts {
    const SECRECY: Secrecy = Secrecy::Secret;

    fn read(written: Written<'_>) -> Option<Self> {
        let fix = "write counts = [1, 2, 3, 4]: the hits in each window";
        let counts = written.each("counts", MAX_COUNT.into(), |number, item| {
            let count = integer(item.value).and_then(|count| u8::try_from(count).ok());
            count
                .filter(|count| (1..=MAX_COUNT).contains(count))
                .or_else(|| {
                    let message = format!("group {number} is not a number from 1 to {MAX_COUNT}");
                    item.refuse_with(message, fix)
                })
        })?;
        if counts.is_empty() {
            return written.refuse_with("'counts' has no group", fix);
        }
        Some(Self(counts.into()))
    }
}

/// The port that is counted, and its transport if only one counts.
#[derive(Clone, Copy)]
pub(super) struct CountedPort(pub(super) (u16, Option<Transport>));

impl Value for CountedPort {
    /// It is half of a password.
    const SECRECY: Secrecy = Secrecy::Secret;

    fn read(written: Written<'_>) -> Option<Self> {
        match step(written.value) {
            Ok(Step { port, transport }) => {
                let named = matches!(written.value, DeValue::String(text) if text.contains(':'));
                Some(Self((port, named.then_some(transport))))
            }
            Err(flaw) => {
                written.add(flaw.at(written.span, "the port"));
                None
            }
        }
    }
}

fn step(value: &DeValue<'_>) -> Result<Step, StepFlaw> {
    match value {
        DeValue::Integer(_) => of(integer(value), Transport::Tcp),
        DeValue::String(text) => from_text(text),
        _ => Err(StepFlaw::Form),
    }
}

/// The step that `text` is: `PORT` or `PORT:PROTOCOL`, with spaces around either.
pub(super) fn from_text(text: &str) -> Result<Step, StepFlaw> {
    let (port, protocol) = text.split_once(':').unwrap_or((text, "tcp"));
    let port = port.trim();
    if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(StepFlaw::Form);
    }
    of(port.parse().ok(), transport(protocol)?)
}

fn of(port: Option<i64>, transport: Transport) -> Result<Step, StepFlaw> {
    match port.and_then(|port| u16::try_from(port).ok()) {
        None | Some(0) => Err(StepFlaw::Port),
        Some(port) => Ok(Step { port, transport }),
    }
}

/// The transport that is called so, in whatever case.
pub(super) fn transport(text: &str) -> Result<Transport, StepFlaw> {
    match text.trim().to_ascii_lowercase().as_str() {
        "tcp" => Ok(Transport::Tcp),
        "udp" => Ok(Transport::Udp),
        _ => Err(StepFlaw::Protocol),
    }
}

/// `steps` as an array of TOML, which this module reads.
pub fn steps(steps: &[Step]) -> String {
    let step = |step: &Step| match step.transport {
        Transport::Tcp => step.port.to_string(),
        Transport::Udp => format!("\"{}:udp\"", step.port),
    };
    let steps: Vec<_> = steps.iter().map(step).collect();
    format!("[{}]", steps.join(", "))
}

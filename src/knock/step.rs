//! A port as the client's user writes it: `7000`, `8000:udp`, `ssh:tcp`.
//!
//! In: a word, and the transport where it names none. Out: a [`Step`]. Unlike knockd's client, which
//! knocks at 34463 for 99999 and at TCP for `8000:xyz`, it refuses what it cannot mean. A
//! [`StepError`] holds nothing of the word: its caller decides whether the word may be shown.

use thiserror::Error;

use super::services::Services;
use crate::engine::sequence::{Step, Transport};

/// Why a word is no step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum StepError {
    /// Not 1 to 65535.
    #[error("ports are 1 to 65535, written as 8000 or 8000:udp")]
    Port,
    /// Neither a number nor the name of a service of this transport.
    #[error("neither a port nor a {} service in /etc/services", .0.as_str())]
    Service(Transport),
    /// Neither TCP nor UDP.
    #[error("the protocol is 'tcp' or 'udp', as in 8000:udp")]
    Protocol,
}

/// Reads `PORT[:PROTO]`.
pub fn parse(word: &str, default: Transport, services: &Services) -> Result<Step, StepError> {
    let (port, transport) = match word.split_once(':') {
        Some((port, protocol)) => (port, transport(protocol)?),
        None => (word, default),
    };
    Ok(Step {
        port: number_or_service(port, transport, services)?,
        transport,
    })
}

fn transport(protocol: &str) -> Result<Transport, StepError> {
    [Transport::Tcp, Transport::Udp]
        .into_iter()
        .find(|transport| protocol.eq_ignore_ascii_case(transport.as_str()))
        .ok_or(StepError::Protocol)
}

fn number_or_service(
    word: &str,
    transport: Transport,
    services: &Services,
) -> Result<u16, StepError> {
    let starts_as_number = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+');
    if word.bytes().all(|byte| byte.is_ascii_digit()) && !word.is_empty() {
        let port = word.parse().ok().filter(|port| *port > 0);
        return port.ok_or(StepError::Port);
    }
    match services.port(word, transport) {
        Some(port) => Ok(port),
        // Services such as `3com-tsmux` begin with a digit too, so these are asked first.
        None if word.bytes().next().is_some_and(starts_as_number) => Err(StepError::Port),
        None => Err(StepError::Service(transport)),
    }
}

#[cfg(test)]
#[path = "step_test.rs"]
mod tests;

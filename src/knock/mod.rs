//! The client: knocks, waits until the door is open, and may pass a connection through it.
//!
//! In: addresses and a [`Schedule`]. Out: SYNs and datagrams at their times, and a connection to what was behind the
//! door. It needs no root, logs nothing, and shares with the daemon only what a step is. No other packet of ours is
//! in flight during the knock: to a strict door, a SYN to any other port is a wrong knock, even a retransmitted one
//! of a poll.

mod address;
pub mod counts;
pub mod hosts;
mod open;
pub mod portknocker;
mod private_file;
pub mod proxy;
mod schedule;
mod services;
pub mod step;
mod wire;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

pub use address::{Family, ResolveError, resolve};
pub use private_file::{PrivateFileError, read_secret};
pub use schedule::{Again, Hit, Schedule};
pub use services::Services;

use crate::clock;
use crate::engine::sequence::Transport;

/// Where and what to knock.
#[derive(Debug)]
pub struct Knocking {
    /// The host's addresses, knocked at one after the other; their ports mean nothing.
    pub addresses: Vec<SocketAddr>,
    /// What to knock.
    pub schedule: Schedule,
    /// The address to knock from.
    pub source: Option<IpAddr>,
}

/// A port to wait for, and for how long; the time that knocking takes is not counted.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    /// TCP.
    pub port: u16,
    /// How long.
    pub timeout: Duration,
}

/// What the client does, as it does it.
#[derive(Debug)]
pub enum Told<'a> {
    /// This is sent now.
    Hit(SocketAddr, Transport),
    /// The host cannot be knocked at this address.
    Unsent(IpAddr, &'a io::Error),
    /// The knocks did not open it: here they come again.
    Again,
    /// This is open.
    Open(SocketAddr),
}

/// Called for everything that the client does.
pub type Listener<'a> = dyn FnMut(&Told<'_>) + 'a;

impl Knocking {
    /// What would be sent, and when: each time is from the first hit at the same address.
    pub fn hits(&self) -> impl Iterator<Item = (Duration, SocketAddr, Transport)> {
        self.addresses.iter().flat_map(|address| {
            let hits = self.schedule.hits.iter();
            hits.map(|hit| {
                (
                    hit.at,
                    with_port(*address, hit.step.port),
                    hit.step.transport,
                )
            })
        })
    }

    /// Knocks at each address and returns those where all could be sent; the first error when there
    /// are none.
    pub fn knock(&self, tell: &mut Listener<'_>) -> io::Result<Vec<SocketAddr>> {
        let mut knocked = Vec::new();
        let mut first_error = None;
        for address in &self.addresses {
            match self.knock_at(*address, tell) {
                Ok(()) => knocked.push(*address),
                Err(error) => {
                    tell(&Told::Unsent(address.ip(), &error));
                    first_error.get_or_insert(error);
                }
            }
        }
        match first_error {
            Some(error) if knocked.is_empty() => Err(error),
            _ => Ok(knocked),
        }
    }

    /// Knocks, and tries to connect until that succeeds or the time is over; `None` then. At half
    /// time it knocks once more, if the schedule allows it.
    pub fn knock_until_open(
        &self,
        wait: Wait,
        tell: &mut Listener<'_>,
    ) -> io::Result<Option<OwnedFd>> {
        let rounds = match self.schedule.again {
            Again::Harmless => 2,
            Again::Harmful => 1,
        };
        for round in 0..rounds {
            if round > 0 {
                tell(&Told::Again);
            }
            let knocked = self.knock(tell)?;
            let doors: Vec<_> = knocked
                .into_iter()
                .map(|address| with_port(address, wait.port))
                .collect();
            if let Some((connection, to)) = open::poll(&doors, self.source, wait.timeout / rounds) {
                tell(&Told::Open(to));
                return Ok(Some(connection));
            }
        }
        Ok(None)
    }

    fn knock_at(&self, address: SocketAddr, tell: &mut Listener<'_>) -> io::Result<()> {
        let begun = clock::monotonic_now();
        let mut earliest = Duration::ZERO;
        for hit in &self.schedule.hits {
            let due = hit.at.max(earliest);
            wire::pause(due.saturating_sub(clock::monotonic_now().since(begun)));
            let to = with_port(address, hit.step.port);
            tell(&Told::Hit(to, hit.step.transport));
            wire::hit(to, hit.step.transport, self.source)?;
            earliest = clock::monotonic_now().since(begun) + self.schedule.gap;
        }
        wire::pause(self.schedule.gap);
        Ok(())
    }
}

fn with_port(mut address: SocketAddr, port: u16) -> SocketAddr {
    address.set_port(port);
    address
}

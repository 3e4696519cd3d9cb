//! Secrets from the kernel's random numbers: log prefixes and knock sequences.

use std::io;

use crate::config::Prefix;
use crate::config::one_time::base32;
use crate::engine::sequence::{Step, Transport};

/// Ports that strangers try all day, or that something here may listen on.
const COMMON: [u16; 48] = [
    1080, 1194, 1433, 1521, 1701, 1723, 1883, 1900, 2049, 2222, 2375, 2376, 3000, 3128, 3306, 3389,
    3478, 4443, 4500, 5000, 5060, 5061, 5222, 5353, 5355, 5432, 5555, 5672, 5900, 5985, 6379, 6443,
    6667, 8000, 8008, 8080, 8081, 8443, 8883, 8888, 9000, 9090, 9100, 9200, 10000, 11211, 27017,
    51820,
];

/// A random prefix: 32 random bits in hexadecimal, until there are letters and digits.
pub(super) fn prefix() -> io::Result<String> {
    loop {
        let prefix = format!("lk-{:08x}: ", u32::from_be_bytes(random()?));
        if prefix
            .parse::<Prefix>()
            .is_ok_and(|prefix| prefix.is_secret())
        {
            return Ok(prefix);
        }
    }
}

/// Four different unprivileged ports, of TCP and of UDP: some 67 bits.
pub(super) fn sequence() -> io::Result<[Step; 4]> {
    loop {
        let mut steps = [Step {
            port: 0,
            transport: Transport::Tcp,
        }; 4];
        for step in &mut steps {
            *step = self::step()?;
        }
        if is_mixed(&steps) {
            return Ok(steps);
        }
    }
}

fn is_mixed(steps: &[Step]) -> bool {
    let has = |transport| steps.iter().any(|step| step.transport == transport);
    let mut ports: Vec<_> = steps.iter().map(|step| step.port).collect();
    ports.sort_unstable();
    ports.dedup();
    ports.len() == steps.len() && has(Transport::Tcp) && has(Transport::Udp)
}

/// A key of `N` bytes for a `totp` door in base32: as many as its hash has (RFC 4226 §4, R6).
pub(super) fn totp<const N: usize>() -> io::Result<String> {
    Ok(base32(&random::<N>()?))
}

fn step() -> io::Result<Step> {
    loop {
        let [high, low, coin] = random()?;
        let port = u16::from_be_bytes([high, low]);
        // Drawn again and not folded into the range: so each is as likely.
        if port >= 1024 && !COMMON.contains(&port) {
            let transport = match coin & 1 {
                0 => Transport::Tcp,
                _ => Transport::Udp,
            };
            return Ok(Step { port, transport });
        }
    }
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    // So few bytes come at once, or not at all.
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(bytes)
}

#[cfg(test)]
#[path = "secret_test.rs"]
mod tests;

//! Packet → a number that stays the same when it is sent or logged again.
//!
//! In: a hit. Out: 64 bits, by keys of our own, as strangers choose what they send.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use super::knock::Hit;
use super::packet::{Fingerprint, TcpFlags};
use super::sequence::Transport;

/// Hashes packets with random keys, so that an attacker cannot aim for a collision: each word of a packet is
/// multiplied with a key, and of their sum the upper half is the hash. Without the keys, two packets are as seldom
/// alike as by chance (strongly universal: Thorup, High Speed Hashing for Integers and Strings, §3.3), and no hash is
/// shown. Each line is hashed, and a hash that must also hide its keys from the observer of it costs several times as
/// much.
#[derive(Clone)]
pub(super) struct Identity {
    start: u128,
    head: u128,
    v4: u128,
    v6: [u128; 4],
    mark: [u128; 3],
}

impl Default for Identity {
    fn default() -> Self {
        let random = RandomState::new();
        let half = |number: u8| u128::from(random.hash_one(number));
        let key = |number: u8| half(2 * number) << 64 | half(2 * number + 1);
        Self {
            start: key(0),
            head: key(1),
            v4: key(2),
            v6: [3, 4, 5, 6].map(key),
            mark: [7, 8, 9].map(key),
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl Identity {
    /// What stays the same when `hit` is sent or logged again, except its TCP sequence number, which
    /// only some rules log. ECN bits do not count: a SYN is sent again without them (RFC 3168 §6.1.1).
    pub(super) fn of(&self, hit: &Hit<'_>) -> u64 {
        const ECN: TcpFlags = TcpFlags::ECE.with(TcpFlags::CWR).with(TcpFlags::AE);
        let ports = u64::from(hit.ports.src) << 16 | u64::from(hit.ports.dst);
        let head = match hit.step.transport {
            Transport::Tcp => 1 << 63 | u64::from(hit.flags.without(ECN).bits()) << 32 | ports,
            Transport::Udp => ports,
        };
        let mut sum = self.start.wrapping_add(times(self.head, head));
        let mut add = |key, word| sum = sum.wrapping_add(times(key, word));
        match (hit.src, hit.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                add(
                    self.v4,
                    u64::from(src.to_bits()) << 32 | u64::from(dst.to_bits()),
                );
            }
            (src, dst) => {
                let [(a, b), (c, d)] = [halves(src), halves(dst)];
                for (key, word) in self.v6.into_iter().zip([a, b, c, d]) {
                    add(key, word);
                }
            }
        }
        if hit.step.transport == Transport::Udp {
            for (key, word) in self.mark.into_iter().zip(words(&hit.mark)) {
                add(key, word);
            }
        }
        upper(sum)
    }
}

fn times(key: u128, word: u64) -> u128 {
    key.wrapping_mul(u128::from(word))
}

fn upper(word: u128) -> u64 {
    (word >> 64) as u64
}

fn halves(address: IpAddr) -> (u64, u64) {
    let bits = bits(address);
    (upper(bits), upper(bits << 64))
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// A fingerprint in words: every field with a bit for its presence.
fn words(mark: &Fingerprint) -> [u64; 3] {
    fn word<T: Into<u64>>(field: Option<T>, bits: u32) -> u64 {
        field.map_or(0, |value| 1 << bits | value.into())
    }
    let &Fingerprint {
        len,
        ttl,
        id,
        flow,
        seq,
        udp_len,
    } = mark;
    [
        word(len, 32) << 9 | word(ttl, 8),
        word(id, 16) << 33 | word(flow, 32),
        word(seq, 32) << 17 | word(udp_len, 16),
    ]
}

#[cfg(test)]
#[path = "identity_test.rs"]
mod tests;

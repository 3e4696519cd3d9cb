//! Port scans in random order.
//!
//! Out: every port from 1 to 10000 once. Of all orders, those are taken in which the ports of a
//! sequence happen to come in the right order, one in six for three ports: the only ones that can
//! fool anybody.

use std::hash::{BuildHasher, RandomState};

/// Ports 1 to 10000, shuffled; the `sequence`'s ports keep their places but stand in its order.
pub(crate) fn unlucky_order(sequence: &[u16]) -> Vec<u16> {
    let dice = RandomState::new();
    let mut ports: Vec<u16> = (1..=10_000).collect();
    ports.sort_by_cached_key(|port| dice.hash_one(port));
    let places: Vec<usize> = (0..ports.len())
        .filter(|place| sequence.contains(&ports[*place]))
        .collect();
    for (place, port) in places.into_iter().zip(sequence) {
        ports[place] = *port;
    }
    ports
}

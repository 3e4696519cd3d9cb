//! A Bloom filter of one hash: whether a packet can be among the last ones. Mostly it cannot, and then nothing is
//! looked up.
//!
//! In: identities in order. Out: `false` for one that none of the last `room` had. The table that knows for certain
//! does not fit into the processor's cache; a bit for each identity does. Without it `replay` takes a fifth longer.

/// Bits for each identity that may be held.
const BITS: usize = 8;

/// Two sets of bits: one is filled, the other holds what came just before and goes when the first is full.
#[derive(Clone, Debug)]
pub(super) struct BloomFilter {
    young: Vec<u64>,
    elder: Vec<u64>,
    /// How many more fit into the young one.
    left: usize,
    room: usize,
}

impl BloomFilter {
    /// A filter that knows the last `room` identities, and some more.
    pub(super) fn new(room: usize) -> Self {
        Self {
            young: Vec::new(),
            elder: Vec::new(),
            left: 0,
            room,
        }
    }

    /// Whether `identity` may have been among the last ones.
    pub(super) fn may_have(&self, identity: u64) -> bool {
        let (word, bit) = self.place(identity);
        let words = [&self.young, &self.elder].map(|set| set.get(word).copied().unwrap_or(0));
        words.iter().any(|word| word & bit != 0)
    }

    /// Takes note of one.
    pub(super) fn add(&mut self, identity: u64) {
        if self.left == 0 {
            std::mem::swap(&mut self.young, &mut self.elder);
            self.young.clear();
            let words = (self.room * BITS).div_ceil(64).next_power_of_two();
            self.young.resize(words, 0);
            self.left = self.room;
        }
        self.left = self.left.saturating_sub(1);
        let (word, bit) = self.place(identity);
        if let Some(word) = self.young.get_mut(word) {
            *word |= bit;
        }
    }

    /// By the upper half of the identity: the lower one is what the table goes by.
    fn place(&self, identity: u64) -> (usize, u64) {
        let upper = usize::try_from(identity >> 32).unwrap_or(0);
        // There are as many words as a power of two, or none.
        let word = (upper >> 6) & self.young.len().wrapping_sub(1);
        (word, 1 << (upper & 63))
    }
}

#[cfg(test)]
#[path = "bloom_test.rs"]
mod tests;

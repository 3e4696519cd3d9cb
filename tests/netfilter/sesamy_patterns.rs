//! Random patterns of hits on a door with `counts`: right knocks, and what is beside one.

use crate::random::Random;

impl Pattern {
    /// When its last act is.
    pub(crate) fn end(&self) -> f64 {
        let last = self.hits.iter().copied().fold(0.0, f64::max);
        self.enter.unwrap_or(last)
    }

    /// The same so much later.
    pub(crate) fn after(mut self, time: f64) -> Self {
        for hit in self.hits.iter_mut().chain(&mut self.enter) {
            *hit += time;
        }
        self
    }
}

/// Some patterns of one address, the next one behind the one before: right and wrong ones, and some that nobody makes
/// use of.
pub(crate) fn row(counts: [u8; 4], dice: &mut Random) -> Vec<Pattern> {
    let mut row: Vec<Pattern> = Vec::new();
    for _ in 0..2 + dice.below(3) {
        let begin = row.last().map_or(0.0, Pattern::end);
        let mut next = pattern(counts, dice).after(begin);
        if dice.below(4) == 0 {
            next.enter = None;
        }
        row.push(next);
    }
    row
}

/// From one group to the next, in windows.
const STRIDE: f64 = 1.22;

/// How long one is, in windows.
const BURST: f64 = 0.15;

/// Hits and then a connection, in windows from the start of a round.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    pub(crate) hits: Vec<f64>,
    /// When it connects, if it does.
    pub(crate) enter: Option<f64>,
    /// Whether it is the right knock.
    pub(crate) right: bool,
}

impl Pattern {
    /// With a connection so long after the last hit.
    pub(crate) fn new(hits: Vec<f64>, after: f64) -> Self {
        let last = hits.iter().copied().fold(0.0, f64::max);
        Self {
            hits,
            enter: Some(last + after),
            right: false,
        }
    }
}

/// The right knock, each group at its place.
pub(crate) fn knock(counts: [u8; 4], dice: &mut Random) -> Vec<f64> {
    let mut hits = Vec::new();
    for (count, place) in counts.into_iter().zip(0_u8..) {
        hits.extend((0..count).map(|_| within(f64::from(place) * STRIDE, BURST, dice)));
    }
    hits
}

/// A random moment.
fn within(from: f64, length: f64, dice: &mut Random) -> f64 {
    from + length * f64::from(u16::try_from(dice.below(1000)).unwrap_or(0)) / 1000.0
}

/// The right knock for these counts, or something beside it.
pub(crate) fn pattern(mut counts: [u8; 4], dice: &mut Random) -> Pattern {
    let place = dice.below(4);
    let sum = usize::from(counts.iter().sum::<u8>());
    let kind = dice.below(12);
    let last = counts[3];
    match kind {
        // One hit more or fewer; one in the next window; any counts.
        4 => counts[place] += 1,
        5 => counts[place] -= 1,
        6 => {
            counts[place] -= 1;
            counts[(place + 1) % 4] += 1;
        }
        7 => counts = std::array::from_fn(|_| u8::try_from(dice.below(4)).unwrap_or(0)),
        // Three groups of four.
        8 => counts[3] = 0,
        _ => {}
    }
    let mut hits = knock(counts, dice);
    match kind {
        // Hits so old that they do not matter.
        3 => {
            let old = 1 + dice.below(last.into());
            hits.extend((0..old).map(|_| within(-1.2, 0.6, dice)));
        }
        // One too many, when it is open.
        9 => {
            let end = hits.iter().copied().fold(0.0, f64::max);
            hits.push(within(end + 0.05, 0.1, dice));
        }
        // As many, whenever.
        10 => hits = (0..sum).map(|_| within(0.0, 3.8, dice)).collect(),
        // Many.
        11 => hits = (0..sum + 3).map(|_| within(0.0, 0.5, dice)).collect(),
        _ => {}
    }
    if hits.is_empty() {
        hits.push(0.0);
    }
    let start = within(1.3, 0.5, dice);
    for hit in &mut hits {
        *hit += start;
    }
    let right = kind < 4;
    Pattern {
        right,
        ..Pattern::new(hits, 0.05)
    }
}

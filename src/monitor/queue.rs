//! Which command may start next: order within an address, fairness between doors and between opening and
//! closing.
//!
//! In: jobs in the order of their submission, each of one address, one door and one [`Lane`]. Out: jobs
//! that may start now. Two jobs of an address never run at once and never overtake each other. Of several
//! places, one is always left to the other lane, and one of the open lane to the other doors: ten
//! commands that hang while closing do not lock the owner out, a storm of opens leaves no door open, and a
//! slow door holds up no other.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

/// What a job is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    Open,
    Close,
}

impl Lane {
    const fn other(self) -> Self {
        match self {
            Self::Open => Self::Close,
            Self::Close => Self::Open,
        }
    }
}

/// A job and where it belongs.
#[derive(Debug)]
struct Waiting<J> {
    lane: Lane,
    door: Arc<str>,
    job: J,
}

/// Jobs that wait, and a count of those that run.
#[derive(Debug)]
pub(super) struct Queue<J> {
    places: usize,
    /// The jobs of each address in order. An address with an empty list has a job that runs.
    waiting: HashMap<IpAddr, VecDeque<Waiting<J>>>,
    open: Progress,
    close: Progress,
    /// Whose turn it is when both could.
    turn: Lane,
}

/// One lane.
#[derive(Debug, Default)]
struct Progress {
    /// By door, in the order of their turns: addresses whose first job is of this lane and may start.
    ready: VecDeque<(Arc<str>, VecDeque<IpAddr>)>,
    waiting: usize,
    /// By door, how many run.
    running: HashMap<Arc<str>, usize>,
}

impl Progress {
    fn running(&self) -> usize {
        self.running.values().sum()
    }

    fn is_ready(&mut self, door: &Arc<str>, src: IpAddr) {
        let mut doors = self.ready.iter_mut();
        if let Some((_, ready)) = doors.find(|(other, _)| other == door) {
            ready.push_back(src);
        } else {
            self.ready
                .push_back((Arc::clone(door), VecDeque::from([src])));
        }
    }

    /// The address that is next, of a door that has less than `most` jobs running.
    fn next(&mut self, most: usize) -> Option<IpAddr> {
        let running = |door: &Arc<str>| self.running.get(door).copied().unwrap_or(0);
        let at = self
            .ready
            .iter()
            .position(|(door, _)| running(door) < most)?;
        let (door, mut addresses) = self.ready.remove(at)?;
        let src = addresses.pop_front()?;
        *self.running.entry(Arc::clone(&door)).or_default() += 1;
        if !addresses.is_empty() {
            self.ready.push_back((door, addresses));
        }
        self.waiting -= 1;
        Some(src)
    }

    fn ended(&mut self, door: &Arc<str>) {
        if let Some(count) = self.running.get_mut(door) {
            *count -= 1;
            if *count == 0 {
                self.running.remove(door);
            }
        }
    }
}

impl<J> Queue<J> {
    /// For at most `places` jobs at a time, and at least one.
    pub(super) fn new(places: usize) -> Self {
        Self {
            places: places.max(1),
            waiting: HashMap::new(),
            open: Progress::default(),
            close: Progress::default(),
            turn: Lane::Close,
        }
    }

    /// Whether nothing waits and nothing runs.
    pub(super) fn is_idle(&self) -> bool {
        self.running() + self.open.waiting + self.close.waiting == 0
    }

    /// How many of [`Lane::Open`] wait.
    pub(super) fn opens(&self) -> usize {
        self.open.waiting
    }

    fn running(&self) -> usize {
        self.open.running() + self.close.running()
    }

    /// Adds a job behind all others of its address.
    pub(super) fn push(&mut self, src: IpAddr, lane: Lane, door: &Arc<str>, job: J) {
        self.lane(lane).waiting += 1;
        let waiting = Waiting {
            lane,
            door: Arc::clone(door),
            job,
        };
        if let Some(jobs) = self.waiting.get_mut(&src) {
            jobs.push_back(waiting);
        } else {
            self.waiting.insert(src, VecDeque::from([waiting]));
            self.lane(lane).is_ready(door, src);
        }
    }

    /// The next job that may start, with its door. It runs until [`ended`](Self::ended).
    pub(super) fn start(&mut self) -> Option<(IpAddr, Arc<str>, J)> {
        if self.running() >= self.places {
            return None;
        }
        let lanes = [self.turn, self.turn.other()];
        let (lane, src) = lanes
            .into_iter()
            .find_map(|lane| Some((lane, self.next(lane)?)))?;
        let Waiting { door, job, .. } = self.waiting.get_mut(&src)?.pop_front()?;
        self.turn = lane.other();
        Some((src, door, job))
    }

    fn next(&mut self, lane: Lane) -> Option<IpAddr> {
        let most = (self.places - 1).max(1);
        let of_a_door = match lane {
            Lane::Open => (self.places.saturating_sub(2)).max(1),
            // They must all run, whichever they are.
            Lane::Close => most,
        };
        let lane = self.lane(lane);
        (lane.running() < most).then(|| lane.next(of_a_door))?
    }

    /// The job of `src` that was started is over.
    pub(super) fn ended(&mut self, src: IpAddr, lane: Lane, door: &Arc<str>) {
        self.lane(lane).ended(door);
        let next = self.waiting.get(&src).and_then(|jobs| jobs.front());
        match next.map(|next| (next.lane, Arc::clone(&next.door))) {
            Some((lane, door)) => self.lane(lane).is_ready(&door, src),
            None => drop(self.waiting.remove(&src)),
        }
    }

    /// Takes out every job that waits, for good: nothing may be added any more.
    pub(super) fn clear(&mut self) -> Vec<(IpAddr, J)> {
        for lane in [&mut self.open, &mut self.close] {
            lane.ready.clear();
            lane.waiting = 0;
        }
        let waiting = self.waiting.drain();
        let jobs =
            waiting.flat_map(|(src, jobs)| jobs.into_iter().map(move |next| (src, next.job)));
        jobs.collect()
    }

    fn lane(&mut self, lane: Lane) -> &mut Progress {
        match lane {
            Lane::Open => &mut self.open,
            Lane::Close => &mut self.close,
        }
    }
}

#[cfg(test)]
#[path = "queue_test.rs"]
mod tests;

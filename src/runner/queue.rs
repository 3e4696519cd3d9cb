//! Which command may start next: order within an address, fairness between opening and closing.
//!
//! In: jobs in the order of their submission, each for one address and of one [`Lane`]. Out: jobs that
//! may start now. Two jobs of an address never run at once and never overtake each other. Of several
//! places, one is always left to the other lane: ten commands that hang while closing do not lock the
//! owner out, and a storm of opens leaves no door open.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

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

/// Jobs that wait, and a count of those that run.
#[derive(Debug)]
pub(super) struct Queue<J> {
    places: usize,
    /// The jobs of each address in order. An address with an empty list has a job that runs.
    waiting: HashMap<IpAddr, VecDeque<(Lane, J)>>,
    open: Progress,
    close: Progress,
    /// Whose turn it is when both could.
    turn: Lane,
}

/// One lane.
#[derive(Debug, Default)]
struct Progress {
    /// Addresses whose first job is of this lane and may start.
    ready: VecDeque<IpAddr>,
    waiting: usize,
    running: usize,
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
        self.open.running + self.close.running
    }

    /// Adds a job behind all others of its address.
    pub(super) fn push(&mut self, src: IpAddr, lane: Lane, job: J) {
        self.lane(lane).waiting += 1;
        if let Some(jobs) = self.waiting.get_mut(&src) {
            jobs.push_back((lane, job));
        } else {
            self.waiting.insert(src, VecDeque::from([(lane, job)]));
            self.lane(lane).ready.push_back(src);
        }
    }

    /// The next job that may start. It runs until [`ended`](Self::ended).
    pub(super) fn start(&mut self) -> Option<(IpAddr, Lane, J)> {
        if self.running() >= self.places {
            return None;
        }
        let lane = [self.turn, self.turn.other()]
            .into_iter()
            .find(|&lane| self.may_start(lane))?;
        let src = self.lane(lane).ready.pop_front()?;
        let (_, job) = self.waiting.get_mut(&src)?.pop_front()?;
        self.lane(lane).waiting -= 1;
        self.lane(lane).running += 1;
        self.turn = lane.other();
        Some((src, lane, job))
    }

    fn may_start(&mut self, lane: Lane) -> bool {
        let most = (self.places - 1).max(1);
        let lane = self.lane(lane);
        lane.running < most && !lane.ready.is_empty()
    }

    /// The job of `src` and `lane` that was started is over.
    pub(super) fn ended(&mut self, src: IpAddr, lane: Lane) {
        self.lane(lane).running -= 1;
        let next = self.waiting.get(&src).and_then(|jobs| jobs.front());
        match next.map(|&(lane, _)| lane) {
            Some(lane) => self.lane(lane).ready.push_back(src),
            None => drop(self.waiting.remove(&src)),
        }
    }

    /// Takes out every job that waits, for good: nothing may be added any more.
    pub(super) fn clear(&mut self) -> Vec<J> {
        for lane in [&mut self.open, &mut self.close] {
            lane.ready.clear();
            lane.waiting = 0;
        }
        let jobs = self.waiting.values_mut().flat_map(std::mem::take);
        let jobs = jobs.map(|(_, job)| job).collect();
        self.waiting.clear();
        jobs
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

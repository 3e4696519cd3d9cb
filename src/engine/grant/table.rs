//! Grants by number, by name and by timer, which always agree.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use super::Completed;
use crate::engine::action::GrantId;
use crate::engine::door::Door;
use crate::engine::time::Time;

/// How far a grant is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The open command has been ordered or has succeeded.
    Open,
    /// The close command has been ordered.
    Closing,
    /// The close command failed and is to be ordered again at the timer.
    Waiting,
}

/// A grant as others may see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing<'a> {
    /// Its door's name, which the config may no longer have.
    pub door: &'a Arc<str>,
    /// Its address.
    pub src: IpAddr,
    /// How far it is.
    pub phase: Phase,
    /// Its deadline, or the next try at its close command.
    pub until: Time,
    /// How often its close command failed.
    pub failed: u32,
}

#[derive(Debug)]
pub(super) struct Grant {
    pub(super) door: Arc<str>,
    pub(super) src: IpAddr,
    pub(super) phase: Phase,
    /// The deadline, or the next try.
    timer: Time,
    /// Since when its open command is known to have succeeded.
    pub(super) opened: Option<Time>,
    /// Closes that failed.
    pub(super) failed: u32,
    /// Failed closes after which it is forgotten; `None` for never.
    pub(super) tries: Option<u32>,
    /// An earlier run ended before its open command did, and nobody knows whether it opened anything.
    pub(super) in_doubt: bool,
    /// A knock that came while it was closing, to be answered once it is closed.
    pub(super) again: Option<(Arc<Door>, Completed)>,
}

impl Grant {
    /// One whose open command has just been ordered.
    pub(super) fn new(door: Arc<str>, src: IpAddr, deadline: Time) -> Self {
        Self {
            door,
            src,
            phase: Phase::Open,
            timer: deadline,
            opened: None,
            failed: 0,
            tries: None,
            in_doubt: false,
            again: None,
        }
    }

    /// The deadline, or the next try.
    pub(super) fn timer(&self) -> Time {
        self.timer
    }
}

/// All grants. Of each door and address there is one at most.
#[derive(Debug, Default)]
pub(super) struct Table {
    by_id: BTreeMap<GrantId, Grant>,
    by_name: HashMap<(Arc<str>, IpAddr), GrantId>,
    timers: BTreeSet<(Time, GrantId)>,
}

impl Table {
    pub(super) fn insert(&mut self, id: GrantId, grant: Grant) {
        self.by_name
            .insert((Arc::clone(&grant.door), grant.src), id);
        self.timers.insert((grant.timer, id));
        self.by_id.insert(id, grant);
    }

    pub(super) fn remove(&mut self, id: GrantId) -> Option<Grant> {
        let grant = self.by_id.remove(&id)?;
        self.timers.remove(&(grant.timer, id));
        self.by_name.remove(&(Arc::clone(&grant.door), grant.src));
        Some(grant)
    }

    pub(super) fn get(&self, id: GrantId) -> Option<&Grant> {
        self.by_id.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: GrantId) -> Option<&mut Grant> {
        self.by_id.get_mut(&id)
    }

    /// The grant of `src` at `door`.
    pub(super) fn id_of(&self, door: &Arc<str>, src: IpAddr) -> Option<GrantId> {
        if self.by_id.is_empty() {
            return None; // which most hits find
        }
        self.by_name.get(&(Arc::clone(door), src)).copied()
    }

    /// All, as others may see them, the oldest first.
    pub(super) fn standing(&self) -> impl Iterator<Item = Standing<'_>> {
        self.by_id.values().map(|grant| Standing {
            door: &grant.door,
            src: grant.src,
            phase: grant.phase,
            until: grant.timer,
            failed: grant.failed,
        })
    }

    /// The oldest first.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (GrantId, &mut Grant)> {
        self.by_id.iter_mut().map(|(&id, grant)| (id, grant))
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// The timer that ends first, and whose it is.
    pub(super) fn first_timer(&self) -> Option<(Time, GrantId)> {
        self.timers.first().copied()
    }

    pub(super) fn set_timer(&mut self, id: GrantId, at: Time) {
        if let Some(grant) = self.by_id.get_mut(&id) {
            self.timers.remove(&(grant.timer, id));
            grant.timer = at;
            self.timers.insert((at, id));
        }
    }

    /// Stops the timer; its time stays on the grant.
    pub(super) fn clear_timer(&mut self, id: GrantId) {
        if let Some(grant) = self.by_id.get(&id) {
            self.timers.remove(&(grant.timer, id));
        }
    }
}

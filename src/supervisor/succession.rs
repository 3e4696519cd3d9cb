//! Followers, one after another: what each is told first, and what becomes of the doors when it is gone.
//!
//! In: the supervisor as it stands. Out: the next follower, later each time the last one lived for less than
//! a minute.

use std::io;
use std::os::fd::AsFd;
use std::process::ExitStatus;
use std::time::Duration;

use super::follower::Follower;
use super::{Event, Supervisor, millis, report, sockets};
use crate::clock;
use crate::privsep::{Broken, Last, Tell, VERSION, pieces};

/// How long to wait before the follower is started again: at first, and at most.
pub(super) const PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(10);
/// A follower that has lived for so long was well.
const SETTLED: Duration = Duration::from_secs(60);

impl Supervisor {
    pub(super) fn start_follower(&mut self) -> io::Result<()> {
        self.number = self.number.wrapping_add(1);
        self.since = clock::boot_now();
        let follower = Follower::start(&self.start, self.number, &self.inbox)?;
        self.welcome(follower)
    }

    /// Tells a follower that has just been started all that it has to know.
    pub(super) fn welcome(&mut self, follower: Follower) -> io::Result<()> {
        let stdin = self
            .stdin
            .as_ref()
            .map(|stdin| stdin.as_fd().try_clone_to_owned());
        let stdin = stdin.transpose()?;
        let hello = Tell::Hello {
            version: VERSION,
            last_id: self.book.last_id(),
            alive_every: self.alive_every.map(millis),
            restarts: self.number.saturating_sub(1),
            stdin: stdin.is_some(),
        };
        follower.tell(hello, stdin);
        for grant in self.book.restored() {
            follower.tell(Tell::Grant(grant), None);
        }
        for (door, until) in self.book.used() {
            let door = door.to_string();
            follower.tell(Tell::Used { door, until }, None);
        }
        for (door, src, at, last) in self.book.answers(self.since).iter() {
            let (door, at, last) = (door.to_string(), at.as_nanos(), Last::of(last));
            let tell = Tell::Answered {
                door,
                src,
                at,
                last,
            };
            follower.tell(tell, None);
        }
        for piece in pieces(&self.text) {
            follower.tell(piece, None);
        }
        self.book.attended(true);
        self.taken = 0;
        self.follower = Some(follower);
        Ok(())
    }

    /// The follower is gone, and was not to go.
    pub(super) fn lost(&mut self, why: Broken, how: Option<ExitStatus>) {
        self.book.attended(false);
        if self.end.is_some() {
            return self.close_all();
        }
        if clock::boot_now().since(self.since) > SETTLED {
            self.pause = PAUSE;
        }
        sockets::remove(&self.sockets);
        report::lost(why, how, self.book.len(), self.pause);
        self.try_again();
    }

    /// The first follower has not followed, and perhaps none will for long: what an earlier run has left open
    /// is not left for longer than it was to be.
    pub(super) fn close_what_is_due(&mut self) {
        let end = clock::boot_now().after(self.stop_timeout);
        self.end = Some(end);
        self.book.attended(false);
        self.do_what_is_due();
        while self.book.is_closing() && clock::boot_now() < end {
            if let Some(Event::Carried(carried)) = self.next() {
                self.carried(&carried);
            }
        }
    }

    pub(super) fn try_again(&mut self) {
        self.again = Some(clock::boot_now().after(self.pause));
        self.pause = (self.pause * 2).min(MAX_PAUSE);
    }

    /// The follower has nothing more to ask.
    pub(super) fn done(&mut self) {
        if self.end.is_none() && !self.has_end {
            // Nobody has told it to, and there is more to read. What it says next is that it is gone.
            return;
        }
        self.begin_end();
        if let Some(follower) = self.follower.take() {
            follower.let_end();
        }
        self.book.attended(false);
        self.close_all();
    }
}

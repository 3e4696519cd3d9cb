//! What is due when nobody is going to follow anything.
//!
//! In: the state directory. Out: the doors closed whose time is over. A start that ends before it can follow,
//! because its configuration is wrong, knows no door; but the ledger has what closes what an earlier run has
//! left open, and whoever mends the configuration may take a day.

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use super::report;
use crate::clock;
use crate::engine::action::{Action, Command, Outcome};
use crate::runner::ledger::{Boot, Ledger};
use crate::runner::{Carried, Options, Runner};

/// Closes what is due of what the ledger in `dir` has open, once each, and waits for that for at most `within`.
/// Does nothing where there is no ledger, where it is not to be trusted, or where another process has it.
pub fn close_due(dir: &Path, within: Duration) {
    if !dir.is_dir() {
        return;
    }
    let opened = Boot::read().map(|boot| Ledger::open(dir, &boot));
    let Ok(Ok(opened)) = opened else {
        return;
    };
    opened.notice.iter().for_each(report::notice);
    let (carried, ends) = mpsc::channel();
    let carry = move |done| drop(carried.send(done));
    let Ok(runner) = Runner::start(Options::default(), opened.ledger, carry) else {
        return;
    };
    let now = clock::boot_now();
    let end = now.after(within);
    let mut due = opened.grants;
    due.retain(|grant| grant.deadline <= now);
    for grant in &due {
        runner.submit(Action::Close { grant: grant.id });
    }
    while !due.is_empty() {
        let left = end.since(clock::boot_now());
        let Ok(done) = ends.recv_timeout(left) else {
            break;
        };
        if let Carried::Finished { grant, ended, .. } = done
            && let Some(at) = due.iter().position(|known| known.id == grant)
        {
            let closed = due.swap_remove(at);
            report::finished(&closed.door, Some(Command::Close), &ended);
            if ended.outcome() == Outcome::Done {
                report::closed_unattended(&closed.door);
            }
        }
    }
    runner.stop(end.since(clock::boot_now()));
}

//! A thread for each command, and one that waits for the next.
//!
//! In: what is to be done. Out: it is done beside everything else. Making a thread takes a tenth of a
//! millisecond, which a knock need not wait for.

use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

/// What one command's thread does.
type Work = Box<dyn FnOnce() + Send>;

/// The thread that waits; none before the first [`Spare::prepare`].
#[derive(Debug, Default)]
pub(super) struct Spare(Option<SyncSender<Work>>);

impl Spare {
    /// Makes the next thread, unless it is there. Without it, one is made when it is needed.
    pub(super) fn prepare(&mut self) {
        if self.0.is_none() {
            self.0 = make().ok();
        }
    }

    /// Has `work` done on a thread of its own.
    pub(super) fn start(&mut self, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let waiting = match self.0.take() {
            Some(waiting) => waiting,
            None => make()?,
        };
        // It waits for nothing but this.
        waiting
            .send(Box::new(work))
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// A thread that does what it is given first, and ends.
fn make() -> io::Result<SyncSender<Work>> {
    let (given, work) = sync_channel::<Work>(1);
    thread::Builder::new()
        .name("command".to_owned())
        .spawn(move || work.recv().map(|work| work()))?;
    Ok(given)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn each_work_has_a_thread_of_its_own_whether_one_was_prepared_or_not() {
        let mut spare = Spare::default();
        let (done, ids) = channel();
        for prepared in [false, true, true, false] {
            if prepared {
                spare.prepare();
                spare.prepare();
            }
            let done = done.clone();
            let work = move || done.send(thread::current().id()).unwrap();
            spare.start(work).unwrap();
        }
        drop(done);
        let ids: HashSet<_> = ids.iter().collect();
        assert_eq!(ids.len(), 4);
    }
}

//! Asks on their way to the runner.
//!
//! In: asks, of any thread. Out: the same in their order, on the socket. Nobody waits to ask: what goes straight
//! into the socket goes there, as each hand through which a knock passes costs it a tenth of a millisecond; once
//! there is no room, a thread sends what waits, and what comes meanwhile waits behind it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use super::ask::Ask;
use super::channel::{Broken, Channel};

/// The way to the runner.
#[derive(Clone, Debug)]
pub struct Asks {
    channel: Arc<Channel>,
    queue: Sender<Ask>,
    /// How many are in the queue, or on their way out of it.
    queued: Arc<AtomicUsize>,
}

/// What waits for room, until somebody sends it.
#[derive(Debug)]
pub(super) struct Waiting {
    channel: Arc<Channel>,
    asks: Receiver<Ask>,
    queued: Arc<AtomicUsize>,
}

/// Nobody hears us any more.
#[derive(Debug, PartialEq, Eq)]
pub struct Gone;

impl Asks {
    /// The way through `channel`.
    pub(super) fn new(channel: Channel) -> (Self, Waiting) {
        let channel = Arc::new(channel);
        let queued = Arc::default();
        let (queue, asks) = mpsc::channel();
        let waiting = Waiting {
            channel: Arc::clone(&channel),
            asks,
            queued: Arc::clone(&queued),
        };
        let asks = Self {
            channel,
            queue,
            queued,
        };
        (asks, waiting)
    }

    /// Asks. Never waits.
    pub fn send(&self, ask: Ask) -> Result<(), Gone> {
        // The last one tells the thread that it is the last.
        if ask != Ask::Done && self.queued.load(Ordering::Acquire) == 0 {
            // What is too long is not a knock: the runner would not read it.
            let Some(bytes) = ask.encode() else {
                return Ok(());
            };
            match self.channel.try_send(&bytes) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(_) => return Err(Gone),
            }
        }
        self.queued.fetch_add(1, Ordering::AcqRel);
        self.queue.send(ask).map_err(|_| Gone)
    }
}

impl Waiting {
    /// Sends it on a thread of its own, which ends behind [`Ask::Done`], or with the runner.
    pub(super) fn start(self) -> io::Result<JoinHandle<()>> {
        thread::Builder::new()
            .name("ask".to_owned())
            .spawn(move || self.send_all())
    }

    fn send_all(&self) {
        for ask in &self.asks {
            let is_last = ask == Ask::Done;
            let sent = ask
                .encode()
                .map_or(Ok(()), |bytes| self.channel.send(&bytes));
            self.queued.fetch_sub(1, Ordering::AcqRel);
            if is_last || matches!(sent, Err(Broken::Ended | Broken::Failed(_))) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::decode_ask;
    use super::*;

    fn both() -> (Channel, Asks, Waiting) {
        let (theirs, ours) = Channel::pair().unwrap();
        let (asks, waiting) = Asks::new(Channel::new(ours));
        (theirs, asks, waiting)
    }

    fn next(channel: &Channel) -> Option<Ask> {
        let mut room = [0; super::super::MAX_ASK];
        decode_ask(channel.receive(&mut room).ok()?)
    }

    #[test]
    fn what_there_is_room_for_is_there_before_any_thread() {
        let (theirs, asks, _waiting) = both();
        asks.send(Ask::Close(7)).unwrap();
        assert_eq!(next(&theirs), Some(Ask::Close(7)));
    }

    #[test]
    fn whatever_the_room_all_arrive_in_their_order_and_nobody_waits() {
        let (theirs, asks, waiting) = both();
        // More than any socket takes.
        let many = 50_000;
        (0..many).for_each(|number| asks.send(Ask::Close(number)).unwrap());
        let writer = waiting.start().unwrap();
        for number in 0..many / 2 {
            assert_eq!(next(&theirs), Some(Ask::Close(number)));
        }
        (many..2 * many).for_each(|number| asks.send(Ask::Close(number)).unwrap());
        asks.send(Ask::Done).unwrap();
        for number in many / 2..2 * many {
            assert_eq!(next(&theirs), Some(Ask::Close(number)));
        }
        assert_eq!(next(&theirs), Some(Ask::Done));
        writer.join().unwrap();
    }

    #[test]
    fn who_has_gone_is_not_asked() {
        let (theirs, asks, waiting) = both();
        drop(theirs);
        assert_eq!(asks.send(Ask::Close(1)), Err(Gone));
        drop(waiting);
    }
}

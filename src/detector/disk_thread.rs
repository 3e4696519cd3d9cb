//! A thread that writes to a disk. The disk may be full or hang: no other thread waits for it, except for a moment at
//! the end.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use super::report;

/// How long the end waits for the disk.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// Receives what is to be written.
pub(super) struct DiskThread<T> {
    orders: SyncSender<T>,
    ended: Receiver<()>,
}

impl<T: Send + 'static> DiskThread<T> {
    /// Starts a thread called `name`, which writes until there are no more orders; the most orders that may wait.
    pub(super) fn start(
        name: &str,
        room: usize,
        write: impl FnOnce(Receiver<T>) + Send + 'static,
    ) -> io::Result<Self> {
        let (orders, to_do) = sync_channel(room);
        let (end, ended) = sync_channel::<()>(0);
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                write(to_do);
                drop(end);
            })?;
        Ok(Self { orders, ended })
    }

    /// Hands over an order; false when there is no room for it.
    pub(super) fn put(&self, order: T) -> bool {
        self.orders.try_send(order).is_ok()
    }

    /// Where orders go to as well.
    pub(super) fn sink(&self) -> impl FnMut(T) -> bool + Send + 'static {
        let orders = self.orders.clone();
        move |order| orders.try_send(order).is_ok()
    }

    /// Waits for the disk, but not for ever. Every sink must be gone.
    pub(super) fn stop(self) {
        drop(self.orders);
        if self.ended.recv_timeout(STOP_TIMEOUT) == Err(RecvTimeoutError::Timeout) {
            report::records_stuck();
        }
    }
}

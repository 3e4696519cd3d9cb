//! What all labs of the machine share, and how they take turns at it.
//!
//! The kernel's log is one ring of a few hundred lines, `/proc/kmsg` has one reader, and
//! `nf_log_all_netns` is one switch. File locks under `/run` order them between test processes;
//! they vanish with their holder, so a crash blocks nobody. The switch's own value is written down
//! before it is changed: the last lab puts it back, and after a crash the next one does.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::need::LOG_ALL_NETNS;

const SHARED: &str = "/run/logknock-lab";

/// How a lab uses the kernel's log ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ring {
    /// A few lines a second, beside other labs.
    Shared,
    /// Floods of lines, that would push the lines of others out of the ring.
    Alone,
}

/// A held lock; let go when dropped.
#[derive(Debug)]
pub(crate) struct Turn(#[expect(dead_code, reason = "held, not read")] File);

impl Turn {
    /// Waits for the right to use the kernel's log ring.
    pub(crate) fn at_ring(ring: Ring) -> Self {
        match ring {
            Ring::Shared => Self::wait("ring", FlockOperation::LockShared),
            Ring::Alone => Self::wait("ring", FlockOperation::LockExclusive),
        }
    }

    /// Waits for the right to read `/proc/kmsg`.
    pub(crate) fn at_proc_kmsg() -> Self {
        Self::wait("proc-kmsg", FlockOperation::LockExclusive)
    }

    /// Waits for the right to change what belongs to all labs.
    pub(crate) fn at_gate() -> Self {
        Self::wait("gate", FlockOperation::LockExclusive)
    }

    fn wait(name: &str, how: FlockOperation) -> Self {
        let file = lock_file(name);
        flock(&file, how).expect("the lock is granted");
        Self(file)
    }
}

/// While it lives, the kernel logs packets of all namespaces.
#[derive(Debug)]
pub(crate) struct LogAllNetns {
    live: Option<File>,
}

impl LogAllNetns {
    /// Turns the switch on; the first lab of the machine writes down what it was.
    pub(crate) fn on() -> Self {
        let _gate = Turn::at_gate();
        let live = lock_file("live");
        if flock(&live, FlockOperation::NonBlockingLockExclusive).is_ok() && !saved().exists() {
            fs::copy(LOG_ALL_NETNS, saved()).expect("the switch's value is written down");
        }
        flock(&live, FlockOperation::LockShared).expect("the lock is granted");
        fs::write(LOG_ALL_NETNS, "1").expect("the switch turns");
        Self { live: Some(live) }
    }
}

impl Drop for LogAllNetns {
    fn drop(&mut self) {
        let _gate = Turn::at_gate();
        let Some(live) = self.live.take() else { return };
        if flock(&live, FlockOperation::NonBlockingLockExclusive).is_ok() {
            // A failure here must not hide the failure that a panicking test reports.
            let _ = fs::read(saved()).and_then(|value| fs::write(LOG_ALL_NETNS, value));
            let _ = fs::remove_file(saved());
        }
    }
}

fn saved() -> PathBuf {
    Path::new(SHARED).join("nf_log_all_netns.saved")
}

fn lock_file(name: &str) -> File {
    fs::create_dir_all(SHARED).expect("/run is writable");
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(Path::new(SHARED).join(name))
        .expect("a lock file opens")
}

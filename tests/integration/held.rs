//! A process that is held still, as it may be by a debugger or a frozen container.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Stops it, and returns when its last thread stands: the signal is only the beginning.
pub(crate) fn hold(pid: Pid) {
    kill_process(pid, Signal::STOP).expect("it runs");
    let end = Instant::now() + Duration::from_secs(20);
    while !stands(pid) {
        assert!(Instant::now() < end, "{pid:?} runs on");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Lets it go on.
pub(crate) fn let_go(pid: Pid) {
    kill_process(pid, Signal::CONT).expect("it is there");
}

fn stands(pid: Pid) -> bool {
    let threads = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero()));
    threads.expect("it is there").flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // A name may hold a bracket; the state is behind the last one.
        stat.rsplit_once(") ")
            .is_some_and(|(_, state)| state.starts_with('T'))
    })
}

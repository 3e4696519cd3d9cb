//! The processes of a daemon, as `/proc` has them.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

/// A process and all that descend from it.
pub(crate) fn descendants(root: i32) -> Vec<i32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next) {
        let tasks = fs::read_dir(format!("/proc/{parent}/task"))
            .into_iter()
            .flatten();
        for task in tasks.flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(
                children
                    .split_whitespace()
                    .filter_map(|pid| pid.parse::<i32>().ok()),
            );
        }
        next += 1;
    }
    found
}

/// A process and those of its descendants that are the daemon too, not its commands. The first may just
/// be about to become one.
pub(crate) fn daemons(first: i32) -> Vec<i32> {
    let mut found = descendants(first);
    found.retain(|&pid| pid == first || is_daemon(pid));
    found
}

pub(crate) fn is_daemon(pid: i32) -> bool {
    let program = Path::new(env!("CARGO_BIN_EXE_logknock"));
    fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == program)
}

/// The process of the daemon that `monitor` began as, which reads the log; none while there is none.
pub(crate) fn detector(monitor: i32) -> Option<i32> {
    descendants(monitor).into_iter().find(|pid| {
        let name = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        name.starts_with(b"logknock-detector\0")
    })
}

pub(crate) fn send(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

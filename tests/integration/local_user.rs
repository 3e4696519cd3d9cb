//! What any local user can count does not tell a right knock from a wrong one.

use std::fs;
use std::thread;
use std::time::Duration;

use super::daemon::{Daemon, PORTS};
use super::processes;

/// Hits of each kind.
const HITS: u8 = 30;
/// What the scheduler may add or leave out in one run.
const NOISE: u64 = 10;

/// How often the threads of both processes have slept until they were woken.
fn wake_ups(daemon: &Daemon) -> u64 {
    let processes = processes::daemons(daemon.pid()).into_iter();
    let tasks = processes.flat_map(|pid| {
        let tasks = fs::read_dir(format!("/proc/{pid}/task"));
        tasks.into_iter().flatten().flatten()
    });
    let counts = tasks.filter_map(|task| {
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        let (_, count) = status.split_once("\nvoluntary_ctxt_switches:\t")?;
        count.lines().next()?.parse::<u64>().ok()
    });
    counts.sum()
}

#[test]
fn a_right_knock_wakes_the_daemon_as_often_as_a_wrong_one() {
    let daemons = [(); 2].map(|()| {
        let daemon = Daemon::start("");
        let config = daemon.config();
        daemon.set_config(&config.replace("seq_timeout = \"20s\"", "seq_timeout = \"1s\""));
        daemon.says(&["reload"]);
        daemon
    });
    let [right, wrong] = &daemons;
    // A loaded machine can disturb one run. Deadlines of attempts would add one wake-up a hit to every run.
    let mut runs = (0..3).map(|_| {
        let before = [right, wrong].map(wake_ups);
        for number in 0..HITS {
            let src = format!("203.0.113.{number}");
            // The second of the two has the machine to itself, so they take turns.
            let hits = [(right, PORTS[0]), (wrong, PORTS[0] + 1)];
            for turn in 0..2 {
                let (daemon, port) = hits[usize::from((number + turn) % 2)];
                daemon.knock(&src, &[port]);
            }
            thread::sleep(Duration::from_millis(70));
        }
        // Every attempt is over: the window, the time that a line may be late, and the next tick.
        thread::sleep(Duration::from_secs(4));
        let mut counts = before.into_iter().zip([right, wrong].map(wake_ups));
        let mut next = || counts.next().map(|(before, after)| after - before).unwrap();
        [next(), next()]
    });
    let differs = |&[right, wrong]: &[u64; 2]| right.abs_diff(wrong) > NOISE;
    let seen: Vec<_> = runs.by_ref().take_while(differs).collect();
    assert!(seen.len() < 3, "right and wrong: {seen:?}");
}

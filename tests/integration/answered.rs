//! A knock is answered once, whoever of the daemon's processes is killed after it: the log is read again
//! from a place before it, by one who remembers no packet.

use rustix::process::Signal;

use super::daemon::{Daemon, eventually};
use super::processes;

/// So often at most until a line is read again: how far the log was read is written once a second.
const TRIES: u8 = 50;

/// A daemon with a door that only runs a command, and one that is closed again at once.
fn daemon() -> Daemon {
    let mut daemon = Daemon::start("");
    daemon.stop();
    let said = daemon.dir().join("commands").display().to_string();
    daemon.set_config(&format!(
        "[log]\nprefix = \"lk-4f9a1c7e: \"\n[defaults]\nshell = true\n\
         [door.wake]\nsequence = [7301, 8402]\nstart_command = \"echo run %IP% >>{said}\"\n\
         [door.ssh]\nsequence = [7101, 8202, 9303]\ncmd_timeout = \"50ms\"\n\
         start_command = \"echo open %IP% >>{said}\"\nstop_command = \"echo close %IP% >>{said}\"\n"
    ));
    daemon.restart();
    daemon
}

fn acts(daemon: &Daemon, act: &str) -> usize {
    daemon
        .commands()
        .lines()
        .filter(|line| *line == act)
        .count()
}

/// Kills by `kill` after each of many knocks, until a line is read again.
fn every_knock_is_answered_once(kill: impl Fn(&mut Daemon)) {
    let mut daemon = daemon();
    for number in 0..TRIES {
        let src = format!("198.51.100.{number}");
        daemon.knock_stamped(&src, &[7301, 8402]);
        daemon.knock_stamped(&src, &[7101, 8202, 9303]);
        daemon.await_command("run", &src);
        daemon.await_command("close", &src);
        // A close whose end is not on disk yet is run once more, and may be.
        daemon.wait_until("it is closed", |status| status.grants.is_empty());
        kill(&mut daemon);
        let next = format!("203.0.113.{number}");
        daemon.knock_stamped(&next, &[7301, 8402]);
        daemon.await_command("run", &next);
        // What was read again has been decided before that.
        for act in ["run", "open", "close"] {
            assert_eq!(
                acts(&daemon, &format!("{act} {src}")),
                1,
                "{}",
                daemon.commands()
            );
        }
        if daemon.status().rejected.contains_key("answered") {
            return;
        }
    }
    panic!("no line was read again");
}

#[test]
fn a_knock_is_answered_once_though_the_process_that_reads_is_killed() {
    every_knock_is_answered_once(|daemon| {
        let killed = processes::detector(daemon.pid()).unwrap();
        processes::send(killed, Signal::KILL);
        eventually("there is another detector", || {
            processes::detector(daemon.pid()).is_some_and(|pid| pid != killed)
        });
        daemon.wait_until("it follows", |status| {
            status.sources[0].health == "following"
        });
    });
}

#[test]
fn a_knock_is_answered_once_though_every_process_is_killed() {
    every_knock_is_answered_once(|daemon| {
        daemon.kill();
        daemon.restart();
    });
}

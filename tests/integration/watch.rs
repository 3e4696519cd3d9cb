//! `status --watch` in a real terminal.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use logknock::protocol::{self, FrameError, Reply, Request, Status};
use rustix::process::{Pid, Signal, kill_process};

use super::daemon::{Daemon, KNOCKER, SECRETS, eventually};
use super::need;
use super::terminal::Terminal;

const WATCH: &str = "echo before; logknock status --watch --control state/control.sock; echo ended $?; stty; sleep 600";

fn watch(daemon: &Daemon, script: &str) -> Terminal {
    let terminal = Terminal::open(80, 24, daemon.dir(), script);
    terminal.awaits("q quit  s sort");
    terminal
}

/// What a terminal shows after the end, which took nothing from it: what stood there before, and its modes.
fn is_restored(terminal: &Terminal) {
    terminal.awaits("ended 0");
    terminal.awaits("speed ");
    let seen = terminal.seen();
    assert!(seen.starts_with("before\n"), "{seen}");
    assert!(
        !seen.contains("-icanon") && !seen.contains("-isig") && !seen.contains("-echo "),
        "{seen}"
    );
}

#[test]
fn a_watched_status_shows_what_happens_and_restores_the_terminal() {
    if !need::program("tmux") {
        return;
    }
    let daemon = Daemon::start("");
    let terminal = watch(&daemon, WATCH);
    assert!(terminal.seen().contains("no door is open"));
    daemon.knock("198.51.100.9", &[7101, 443]);
    daemon.open();
    terminal.awaits(&format!("{KNOCKER}  ssh   open "));
    terminal.awaits("  ssh   203.0.113.7   the door opened");
    terminal.awaits("  ssh   198.51.100.9  reset after step 1: another port");
    let seen = terminal.seen();
    assert!(
        seen.contains("following") && seen.contains("last events"),
        "{seen}"
    );
    for secret in SECRETS {
        assert!(!seen.contains(secret), "{seen}");
    }
    for sort in ["time left", "address", "door", "first opened"] {
        terminal.key("s");
        terminal.awaits(&format!("s sort: {sort}"));
    }
    terminal.resize(60, 12);
    // Fewer rows of each table, and the keys in the last line.
    terminal.awaits("…");
    assert!(
        terminal
            .seen()
            .trim_end()
            .ends_with("q quit  s sort: first opened"),
        "{}",
        terminal.seen()
    );
    terminal.resize(80, 24);
    terminal.key("q");
    is_restored(&terminal);
}

#[test]
fn the_terminal_is_restored_by_ctrl_c_and_by_signals() {
    if !need::program("tmux") {
        return;
    }
    let daemon = Daemon::start("");
    let terminal = watch(&daemon, WATCH);
    terminal.key("C-c");
    is_restored(&terminal);
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let pid = daemon.dir().join("pid");
        let script = WATCH.replace(
            "logknock status",
            "sh -c 'echo $$ >pid; exec logknock status",
        );
        let terminal = watch(&daemon, &script.replace("sock;", "sock';"));
        let pid: i32 = std::fs::read_to_string(pid)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
        is_restored(&terminal);
    }
}

#[test]
fn a_watched_status_has_colours_unless_they_are_not_wanted() {
    if !need::program("tmux") {
        return;
    }
    let daemon = Daemon::start("");
    daemon.open();
    let open = format!("{KNOCKER}  ssh   open");
    let coloured = watch(&daemon, &format!("export TERM=screen; {WATCH}"));
    coloured.awaits(&open);
    assert!(
        coloured.seen_in_colour().contains('\x1b'),
        "{}",
        coloured.seen_in_colour()
    );
    let plain = watch(&daemon, &format!("export NO_COLOR=1; {WATCH}"));
    plain.awaits(&open);
    assert!(
        !plain.seen_in_colour().contains('\x1b'),
        "{}",
        plain.seen_in_colour()
    );
}

#[test]
fn a_daemon_that_goes_is_told_and_shown_again_when_it_is_back() {
    if !need::program("tmux") {
        return;
    }
    let mut daemon = Daemon::start("");
    let terminal = watch(&daemon, WATCH);
    daemon.stop();
    terminal.awaits("no daemon answers at");
    daemon.restart();
    terminal.awaits("q quit  s sort");
    terminal.key("q");
    is_restored(&terminal);
}

#[test]
fn a_watched_status_asks_once_a_second_whatever_is_typed() {
    if !need::program("tmux") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let asked = serve(dir.path(), Status::default());
    let started = Instant::now();
    let terminal = Terminal::open(
        80,
        24,
        dir.path(),
        "logknock status --watch --control control.sock; sleep 600",
    );
    terminal.awaits("q quit  s sort");
    for _ in 0..40 {
        terminal.key("s");
    }
    terminal.resize(100, 30);
    let count = || asked.load(Ordering::Relaxed);
    eventually("it asks again", || count() >= 3);
    let (count, seconds) = (
        count(),
        usize::try_from(started.elapsed().as_secs()).unwrap(),
    );
    assert!(count <= seconds + 2, "{count} in {seconds} s");
}

/// A daemon at `control.sock` in a directory that is always so; how often it was asked.
pub(crate) fn serve(dir: &Path, status: Status) -> Arc<AtomicUsize> {
    let listener = UnixListener::bind(dir.join("control.sock")).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            count.fetch_add(1, Ordering::Relaxed);
            // One that hangs up is asked no more.
            drop(answer(stream, &status));
        }
    });
    asked
}

fn answer(mut stream: UnixStream, status: &Status) -> Result<(), FrameError> {
    let _: Request = protocol::read_frame(&mut stream, protocol::MAX_REQUEST)?;
    let reply = Reply::Status(Box::new(status.clone()));
    protocol::write_frame(&mut stream, &reply, protocol::MAX_REPLY)
}

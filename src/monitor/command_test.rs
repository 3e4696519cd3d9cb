//! One command as a real process: its end, its output, its time, what it is started with.

use std::os::unix::fs::PermissionsExt;
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};

use super::*;
use crate::engine::grant::Outcome;

const LONG: Duration = Duration::from_secs(60);

fn invocation(words: &[&str]) -> Invocation {
    Invocation {
        argv: words.iter().map(ToString::to_string).collect(),
        env: vec![("LOGKNOCK_IP".to_owned(), "192.0.2.7".to_owned())],
        account: None,
    }
}

/// Starts it and does what is to be done, as the loop of the monitor does.
fn run(invocation: &Invocation, timeout: Duration) -> Ended {
    match Command::start(
        invocation,
        clock::monotonic_now().after(timeout),
        &mut Sessions::default(),
    ) {
        Ok(command) => finish(command),
        Err(why) => Ended::not_started(Some(invocation), why),
    }
}

fn finish(mut command: Command) -> Ended {
    loop {
        if let Some(how) = command.advance() {
            return command.end(how).0;
        }
        let left = command.due().since(clock::monotonic_now());
        let mut fds: Vec<_> = command
            .descriptors()
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        poll(&mut fds, Some(&left.try_into().unwrap())).unwrap();
    }
}

fn run_within(timeout: Duration, script: &str) -> Ended {
    run(&invocation(&["/bin/sh", "-c", script]), timeout)
}

/// A script that prints a line and does not end, and how long it had: long enough for that line.
fn timed_out(script: &str) -> (Duration, Ended) {
    for millis in [200, 2_000, 20_000] {
        let within = Duration::from_millis(millis);
        let ended = run_within(within, script);
        assert_eq!(ended.how, How::TimedOut);
        if ended.output.contains(&b'\n') {
            return (within, ended);
        }
    }
    panic!("it does not come to print a line");
}

fn text(ended: &Ended) -> String {
    String::from_utf8(ended.output.to_vec()).unwrap()
}

/// Whether a process is there and not a zombie.
fn lives(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.trim().chars().next());
    state.is_some_and(|state| state != 'Z')
}

fn die_soon(pids: &str) {
    let end = clock::monotonic_now().after(Duration::from_secs(5));
    for pid in pids.split_whitespace() {
        while lives(pid) {
            assert!(clock::monotonic_now() < end, "process {pid} still lives");
            thread::yield_now();
        }
    }
}

#[test]
fn the_status_and_both_outputs_come_back() {
    let ended = run_within(LONG, "echo out; echo err >&2; exit 3");
    assert_eq!(ended.how, How::Exited(3));
    assert_eq!(text(&ended), "out\nerr\n");
    assert_eq!(
        run_within(LONG, "kill -SEGV $$").how,
        How::Signalled(Signal::SEGV.as_raw())
    );
}

#[test]
fn words_are_words_whatever_a_shell_would_make_of_them() {
    let words = invocation(&["printf", "%s|", "a b", "$(id)", "*", "", "\"'\n;"]);
    let ended = run(&words, LONG);
    assert_eq!(text(&ended), "a b|$(id)|*||\"'\n;|");
}

#[test]
fn a_child_that_hangs_is_killed_with_its_whole_group_even_if_it_ignores_sigterm() {
    let script = "trap '' TERM; sh -c 'sleep 600' & sleep 600 & echo $$ $!; while :; do wait; done";
    let (_, ended) = timed_out(script);
    assert!(
        ended.took >= GRACE,
        "SIGKILL came sooner than {GRACE:?} after SIGTERM"
    );
    assert_eq!(text(&ended).split_whitespace().count(), 2);
    die_soon(&text(&ended));
}

#[test]
fn a_child_that_obeys_sigterm_is_not_waited_for_any_longer() {
    let (within, ended) = timed_out("echo $$; exec sleep 600");
    assert!(ended.took < within + GRACE);
    die_soon(&text(&ended));
}

#[test]
fn a_clean_exit_on_sigterm_is_a_timeout_all_the_same() {
    let script = "trap 'exit 0' TERM; while :; do sleep 0.05; done";
    let ended = run_within(Duration::from_millis(100), script);
    assert_eq!(
        (ended.how, ended.outcome()),
        (How::TimedOut, Outcome::Failed)
    );
}

#[test]
fn a_member_of_the_group_that_let_go_of_the_output_dies_at_the_timeout_too() {
    let script =
        "sh -c 'trap \"\" TERM; echo $$; exec >&- 2>&-; while :; do sleep 0.1; done' & wait";
    let (_, ended) = timed_out(script);
    die_soon(&text(&ended));
}

#[test]
fn a_grandchild_that_keeps_the_pipe_is_left_alone_after_a_second() {
    let ended = run_within(LONG, "sleep 600 & echo $!");
    assert_eq!(ended.how, How::Exited(0));
    assert!(ended.took >= MAX_LINGER && ended.took < MAX_LINGER + GRACE);
    let pid = text(&ended);
    assert!(lives(pid.trim()), "it did nothing wrong");
    let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
}

#[test]
fn of_a_hundred_megabytes_the_first_four_kilobytes_are_kept() {
    let ended = run_within(LONG, "echo first; head -c 100000000 /dev/zero");
    assert_eq!(ended.how, How::Exited(0));
    assert_eq!(ended.output.len(), HEAD);
    assert!(ended.output.starts_with(b"first\n\0"));
}

#[test]
fn a_flood_without_end_does_not_hide_the_timeout() {
    let ended = run_within(Duration::from_millis(100), "exec cat /dev/zero");
    assert_eq!(ended.how, How::TimedOut);
}

#[test]
fn a_stopped_command_is_ended_at_once_with_its_group() {
    let words = invocation(&["sleep", "600"]);
    let mut command = Command::start(
        &words,
        clock::monotonic_now().after(LONG),
        &mut Sessions::default(),
    )
    .unwrap();
    command.stop();
    let ended = finish(command);
    assert_eq!(
        (ended.how, ended.outcome()),
        (How::Stopped, Outcome::Failed)
    );
    assert!(ended.took < GRACE);
}

#[test]
fn nothing_waits_for_a_command_that_runs() {
    let words = invocation(&["sleep", "600"]);
    let deadline = clock::monotonic_now().after(LONG);
    let mut command = Command::start(&words, deadline, &mut Sessions::default()).unwrap();
    assert_eq!(command.advance(), None);
    assert_eq!(
        (command.due(), command.descriptors().count()),
        (deadline, 2)
    );
    command.stop();
    finish(command);
}

#[test]
fn the_environment_is_the_fixed_one_and_the_variables_of_the_knock() {
    let mut words = invocation(&["env"]);
    words
        .env
        .push(("LD_PRELOAD".to_owned(), "evil.so".to_owned()));
    let ended = run(&words, LONG);
    let mut lines: Vec<_> = text(&ended).lines().map(str::to_owned).collect();
    lines.sort();
    let path = format!("PATH={PATH}");
    assert_eq!(lines, ["LANG=C", "LOGKNOCK_IP=192.0.2.7", &path]);
}

/// Descriptors that the parent of this process did not close on exec.
fn leaked_to_us() -> Vec<String> {
    let leaks = |fd: &String| {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
        flags.is_some_and(|flags| flags & 0o2_000_000 == 0)
    };
    let fds = fs::read_dir("/proc/self/fd").unwrap();
    let fds = fds.map(|fd| fd.unwrap().file_name().into_string().unwrap());
    fds.filter(leaks).collect()
}

#[test]
fn the_child_has_descriptors_zero_to_two_and_starts_at_the_root() {
    let leaked = leaked_to_us();
    let _open = File::open("/dev/null").unwrap();
    let script = "readlink /proc/$$/fd/0; pwd; n=0; \
        while [ $n -lt 256 ]; do [ -e /proc/$$/fd/$n ] && echo $n; n=$((n + 1)); done";
    let ended = run_within(LONG, script);
    let text = text(&ended);
    let (stdin, rest) = text.split_once('\n').unwrap();
    let (directory, fds) = rest.split_once('\n').unwrap();
    assert_eq!((stdin, directory), ("/dev/null", "/"));
    let ours = |fd: &&str| !leaked.iter().any(|leak| leak == fd) || ["0", "1", "2"].contains(fd);
    assert_eq!(
        fds.lines().filter(ours).collect::<Vec<_>>(),
        ["0", "1", "2"]
    );
}

#[test]
fn no_signal_is_blocked_and_sigpipe_is_not_ignored() {
    let ended = run_within(LONG, "exec cat /proc/self/status");
    let text = text(&ended);
    let mask = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        u64::from_str_radix(line.unwrap().trim(), 16).unwrap()
    };
    assert_eq!(mask("SigBlk:"), 0);
    let sigpipe = 1 << (Signal::PIPE.as_raw() - 1);
    assert_eq!(mask("SigIgn:") & sigpipe, 0);
}

#[test]
fn the_child_leads_a_process_group_of_its_own() {
    let ended = run_within(LONG, "read -r stat < /proc/$$/stat; echo $$ ${stat##*)}");
    let text = text(&ended);
    let words: Vec<_> = text.split_whitespace().collect();
    assert_eq!(words[0], words[3], "pid and pgrp");
}

#[test]
fn what_cannot_be_started_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str, mode: u32| {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.into_os_string().into_string().unwrap()
    };
    let cases = [
        (file("empty", "", 0o755), NotStarted::NoProgram),
        (file("bare", "exit 0\n", 0o755), NotStarted::NoProgram),
        (file("nul", "\0\0\0\0\0\0", 0o755), NotStarted::NoProgram),
        (
            "no-such-program-on-the-path".to_owned(),
            NotStarted::NotFound,
        ),
        (String::new(), NotStarted::NotFound),
        ("a\0b".to_owned(), NotStarted::NotFound),
    ];
    for (program, why) in cases {
        let ended = run(&invocation(&[&program]), LONG);
        assert_eq!(ended.how, How::NotStarted(why), "{program:?}");
    }
    let ended = run(&invocation(&[]), LONG);
    assert_eq!(ended.how, How::NotStarted(NotStarted::NoCommand));
    // What only the kernel knows, the step between says on the output.
    for program in [
        file("plain", "#!/bin/sh\n", 0o644),
        file("orphan", "#!/no/such/shell\n", 0o755),
        dir.path().to_str().unwrap().to_owned(),
        "/no/such/program".to_owned(),
    ] {
        let ended = run(&invocation(&[&program]), LONG);
        let refused = matches!(ended.how, How::Exited(126 | 127));
        assert!(refused && !ended.output.is_empty(), "{program}: {ended:?}");
    }
}

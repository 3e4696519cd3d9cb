//! The daemon on standard input: it follows a pipe, and ends well when the pipe does.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use logknock::calendar::rfc3339;
use logknock::clock;

const LIMIT: Duration = Duration::from_secs(20);

/// A daemon on a pipe whose door leaves the file `open` while it is open.
fn start(dir: &Path) -> Child {
    let config = dir.join("logknock.toml");
    let open = dir.join("open").display().to_string();
    let text = format!(
        "[log]\nprefix = \"lk-4f9a1c7e: \"\n[daemon]\nephemeral = true\n\
         [door.ssh]\nsequence = [7000, 8000]\ncmd_timeout = \"1h\"\n\
         start_command = [\"/bin/sh\", \"-c\", \"echo %IP% > {open}; echo opened >> {open}.log\"]\n\
         stop_command = [\"/bin/rm\", \"{open}\"]\n"
    );
    fs::write(&config, text).unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
    Command::new(env!("CARGO_BIN_EXE_logknock"))
        .arg("--config")
        .arg(config)
        .args(["--follow", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn line(port: u16) -> String {
    format!(
        "{} gw kernel: lk-4f9a1c7e: IN=eth0 OUT= MAC=52:54:00:12:34:56:52:54:00:65:43:21:08:00 \
         SRC=192.0.2.7 DST=192.0.2.1 LEN=60 TOS=0x00 PREC=0x00 TTL=52 ID=7 DF PROTO=TCP SPT=40000 \
         DPT={port} WINDOW=64240 RES=0x00 SYN URGP=0 \n",
        rfc3339(clock::wall_now())
    )
}

fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let limit = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < limit, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn knocks_in_a_pipe_open_and_its_end_closes_and_is_a_success() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = start(dir.path());
    let mut pipe = daemon.stdin.take().unwrap();
    for port in [7000, 8000] {
        pipe.write_all(line(port).as_bytes()).unwrap();
    }
    wait("the door opens", || dir.path().join("open").exists());
    drop(pipe);
    wait("the daemon ends", || daemon.try_wait().unwrap().is_some());
    let done = daemon.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert!(!dir.path().join("open").exists());
}

#[test]
fn a_last_line_without_newline_is_no_knock() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = start(dir.path());
    let mut pipe = daemon.stdin.take().unwrap();
    pipe.write_all(line(7000).as_bytes()).unwrap();
    pipe.write_all(line(8000).trim_end_matches('\n').as_bytes())
        .unwrap();
    drop(pipe);
    let done = daemon.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert!(!dir.path().join("open.log").exists());
}

#[test]
fn a_log_that_says_it_misses_messages_is_told_once_a_minute() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = start(dir.path());
    let mut pipe = daemon.stdin.take().unwrap();
    for count in [12, 13] {
        let said = format!("gw systemd-journald[231]: Missed {count} kernel messages");
        writeln!(pipe, "{} {said}", rfc3339(clock::wall_now())).unwrap();
    }
    drop(pipe);
    let done = daemon.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    let warnings: Vec<_> = said
        .lines()
        .filter(|line| line.contains("missing from it"))
        .collect();
    assert!(
        matches!(warnings[..], [one] if one.contains("count=12")),
        "{said}"
    );
}

#[test]
fn a_dry_run_prints_its_last_command_whenever_its_pipe_ends() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("logknock.toml");
    // Nothing is held open, so nothing happens behind the last command.
    let text = "[log]\nprefix = \"lk-4f9a1c7e: \"\n\
                [door.ssh]\nsequence = [7000, 8000]\nstart_command = [\"/bin/true\", \"%IP%\"]\n";
    fs::write(&config, text).unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
    for round in 0..30 {
        let mut daemon = Command::new(env!("CARGO_BIN_EXE_logknock"))
            .arg("--config")
            .arg(&config)
            .args(["--dry-run", "--follow", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut pipe = daemon.stdin.take().unwrap();
        pipe.write_all((line(7000) + &line(8000)).as_bytes())
            .unwrap();
        drop(pipe);
        let output = daemon.wait_with_output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(said, "would run: /bin/true 192.0.2.7\n", "round {round}");
    }
}

//! Real programs: found, run to their end, or kept running and ended with the test.
//!
//! In: an argv. Out: its output, or a [`Running`] that is killed when dropped. A started program
//! never outlives the test: the kernel ends it when the thread that started it is gone, even if
//! that was by `kill -9`.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Where a tool is, looked up in `PATH` and in the system's directories.
pub(crate) fn find(tool: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/lib/systemd"].map(PathBuf::from))
        .map(|dir| dir.join(tool))
        .find(|candidate| candidate.is_file())
}

/// The command of a tool that [`need`](crate::need::need) has found.
pub(crate) fn command(tool: &str) -> Command {
    Command::new(find(tool).unwrap_or_else(|| panic!("{tool} is not installed")))
}

/// Runs a tool to its end and returns what it printed; a failure fails the test with its words.
pub(crate) fn run<A: AsRef<OsStr>>(tool: &str, args: impl IntoIterator<Item = A>) -> String {
    finish(command(tool).args(args))
}

/// Runs a command to its end, as [`run`] does.
pub(crate) fn finish(command: &mut Command) -> String {
    let done = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(
        done.status.success(),
        "{command:?} failed with {}: {said}{}",
        done.status,
        String::from_utf8_lossy(&done.stderr)
    );
    said
}

/// Waits until `holds`, looking often; a test fails when `limit` passes before.
pub(crate) fn eventually(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within {limit:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The processes whose parent is `parent`.
pub(crate) fn children(parent: u32) -> Vec<Pid> {
    let processes = fs::read_dir("/proc").expect("/proc is there");
    let names = processes.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        name.parse::<i32>().ok()
    });
    let is_child = |pid: &i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = format!("PPid:\t{parent}");
        status.lines().any(|other| other == line)
    };
    names.filter(is_child).filter_map(Pid::from_raw).collect()
}

/// What the kernel calls the process.
pub(crate) fn name(pid: Pid) -> String {
    let name = fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero()));
    name.unwrap_or_default().trim().to_owned()
}

/// Is the process there, and not just waited for?
pub(crate) fn runs(pid: Pid) -> bool {
    let pid = pid.as_raw_nonzero();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.contains("\nState:") && !status.contains("\nState:\tZ")
}

/// A program that runs beside the test.
#[derive(Debug)]
pub(crate) struct Running {
    name: String,
    child: Child,
}

impl Running {
    /// Starts `wrapped` (an argv) so that it dies with the calling thread. `prepare` may set its
    /// environment and output.
    pub(crate) fn start<A: AsRef<OsStr>>(
        name: &str,
        argv: impl IntoIterator<Item = A>,
        prepare: impl FnOnce(&mut Command),
    ) -> Self {
        let mut command = command("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .args(argv)
            .stdin(Stdio::null());
        prepare(&mut command);
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        Self {
            name: name.to_owned(),
            child,
        }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process id"), signal)
            .unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }

    /// Its exit status, when it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Fails the test when the program has ended by itself.
    pub(crate) fn must_run(&mut self) {
        if let Some(status) = self.ended() {
            panic!("{} ended with {status}", self.name);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

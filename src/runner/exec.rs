//! Starts processes: the one place that does.
//!
//! In: an [`Invocation`]. Out: how it [`Ended`], with the head of what it wrote. No shell stands
//! between; the child gets the descriptors 0 to 2, a directory, a path and variables that are always
//! the same, and a process group of its own. The call returns within its timeout and a few seconds,
//! whatever the child does.
//!
//! What surprises: the leader of a group that must be killed stays a zombie until the last signal has
//! been sent, so that the number of the group cannot meanwhile be another's.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this is the one place that starts processes; it looks at a program's first bytes, and at \
              the signals that we were started with"
)]

use std::fs::{self, File};
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Access, OFlags, access, fcntl_setfl};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, geteuid, kill_process_group, pidfd_open, waitid,
};
use signal_hook::flag;

use super::ended::{Ended, HEAD, How, NotStarted};
use super::run_as;
use crate::clock;
use crate::engine::account::Account;
use crate::engine::command::Invocation;
use crate::engine::time::Time;

/// Where a program without a slash in its name is looked for, and the child's `PATH`.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// How long output is waited for after the child has exited: a process that it left in the background
/// may hold the pipe for ever.
const LINGER: Duration = Duration::from_secs(1);

/// How often to look where the kernel gives no pidfd (before Linux 5.3, or out of descriptors).
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Makes sure that the ends of children can be learnt. A parent may have left us SIGCHLD ignored, and
/// then the kernel reaps them itself: every close would seem to have failed, and the number of a group
/// could be another's when it is killed. A handler, even one that does nothing, undoes that.
pub(super) fn hear_of_children() -> io::Result<()> {
    let status = fs::read_to_string("/proc/self/status")?;
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let sigchld = 1 << (Signal::CHILD.as_raw() - 1);
    if ignored.is_some_and(|mask| mask & sigchld == 0) {
        return Ok(()); // no handler, no interrupted calls elsewhere
    }
    flag::register(Signal::CHILD.as_raw(), Arc::default()).map(drop)
}

/// Runs `invocation` to its end, or to the end of its whole process group once `timeout` has passed or
/// `stop` has become readable or hung up.
pub(super) fn run(invocation: &Invocation, timeout: Duration, stop: BorrowedFd<'_>) -> Ended {
    let began = clock::monotonic_now();
    let (how, output) = match Running::start(invocation) {
        Ok(running) => running.watch(began.after(timeout), stop),
        Err(why) => (How::NotStarted(why), Vec::new()),
    };
    let took = clock::monotonic_now().since(began);
    Ended::new(invocation, how, output, took)
}

/// The file that a command executes: found as the child's `PATH` says, relative to `/`, where the child starts.
pub fn locate(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(Path::new("/").join(program));
    }
    PATH.split(':')
        .map(|directory| Path::new(directory).join(program))
        .find(|path| path.is_file() && access(path, Access::EXEC_OK).is_ok())
}

/// Refuses a file that is neither ELF nor a script that names its interpreter. The C library would
/// give it to `/bin/sh`, and an empty file (an upgrade cut short) would be a close that succeeded.
fn check_format(path: &Path) -> Result<(), NotStarted> {
    if !path.is_file() {
        return Ok(()); // the kernel will say what is wrong with it
    }
    let mut head = Vec::new();
    match File::open(path).and_then(|file| file.take(4).read_to_end(&mut head)) {
        Ok(_) if head.starts_with(b"#!") || head == b"\x7fELF" => Ok(()),
        Ok(_) => Err(NotStarted::NoProgram),
        Err(_) => Ok(()), // may be executed, may not be read
    }
}

/// What starts the program at `path`, which calls itself `name`: as `account`, if that is not us.
fn command(account: Option<&Account>, path: &Path, name: &str) -> Command {
    let ourselves = geteuid().as_raw();
    let Some(account) = account.filter(|account| account.uid != ourselves) else {
        let mut command = Command::new(path);
        command.arg0(name);
        return command;
    };
    let mut command = Command::new(run_as::OURSELVES);
    command.arg0(run_as::NAME);
    command.args(run_as::words(account, path)).arg(name);
    command
}

/// The variables that say who somebody is.
fn login(account: &Account) -> [(&str, &str); 3] {
    let (home, name) = (&*account.home, &*account.name);
    [("HOME", home), ("USER", name), ("LOGNAME", name)]
}

/// A child and what it has written so far.
struct Running {
    child: Child,
    pidfd: Option<OwnedFd>,
    /// `None` once every writer has closed it.
    pipe: Option<PipeReader>,
    head: Vec<u8>,
    exited: bool,
}

/// What a wait is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    Exit,
    /// The child has exited and nobody holds its output any more.
    Silence,
}

/// What ended a wait.
enum Woken {
    Met,
    Late,
    Stopped,
}

impl Running {
    fn start(invocation: &Invocation) -> Result<Self, NotStarted> {
        let (program, arguments) = invocation.argv.split_first().ok_or(NotStarted::NoCommand)?;
        let path = locate(program).ok_or(NotStarted::NotFound)?;
        check_format(&path)?;
        let (pipe, writer) = io::pipe()?;
        fcntl_setfl(&pipe, OFlags::NONBLOCK).map_err(io::Error::from)?;
        let variables = invocation
            .env
            .iter()
            .filter(|(name, _)| name.starts_with("LOGKNOCK_"))
            .map(|(name, value)| (name, value));
        let child = command(invocation.account.as_deref(), &path, program)
            .args(arguments)
            .env_clear()
            .envs([("PATH", PATH), ("LANG", "C")])
            .envs(variables)
            .envs(invocation.account.iter().flat_map(|account| login(account)))
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .spawn()?;
        Ok(Self {
            pidfd: pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).ok(),
            child,
            pipe: Some(pipe),
            head: Vec::new(),
            exited: false,
        })
    }

    fn watch(mut self, deadline: Time, stop: BorrowedFd<'_>) -> (How, Vec<u8>) {
        let cut_short = match self.wait(Until::Exit, deadline, Some(stop)) {
            Woken::Met => None,
            Woken::Late => Some(How::TimedOut),
            Woken::Stopped => Some(How::Stopped),
        };
        if cut_short.is_none() {
            self.wait(Until::Silence, clock::monotonic_now().after(LINGER), None);
        } else {
            self.end_group();
        }
        let head = std::mem::take(&mut self.head);
        let exit = self.reap();
        (
            cut_short.unwrap_or_else(|| exit.map_or(How::TimedOut, how)),
            head,
        )
    }

    /// Ends the child and whatever it started that is still in its group.
    fn end_group(&mut self) {
        self.signal_group(Signal::TERM);
        self.wait(Until::Silence, clock::monotonic_now().after(GRACE), None);
        self.signal_group(Signal::KILL);
        self.wait(Until::Exit, clock::monotonic_now().after(LINGER), None);
    }

    fn signal_group(&self, signal: Signal) {
        // The group may already be empty of all but its zombie; there is nothing else to fail.
        let _ = kill_process_group(Pid::from_child(&self.child), signal);
    }

    /// Reads what the child writes until one of the three happens.
    fn wait(&mut self, until: Until, deadline: Time, stop: Option<BorrowedFd<'_>>) -> Woken {
        loop {
            self.look();
            if self.exited && (until == Until::Exit || self.pipe.is_none()) {
                return Woken::Met;
            }
            let left = deadline.since(clock::monotonic_now());
            if left.is_zero() {
                return Woken::Late;
            }
            if self.sleep(left, stop) {
                return Woken::Stopped;
            }
            self.read();
        }
    }

    /// Notes whether the child has exited, without reaping it.
    fn look(&mut self) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let id = WaitId::Pid(Pid::from_child(&self.child));
        self.exited = self.exited || !matches!(waitid(id, options), Ok(None));
    }

    /// Sleeps until there is something to do, `left` at most; true when it is to `stop`.
    fn sleep(&self, left: Duration, stop: Option<BorrowedFd<'_>>) -> bool {
        let watched = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let exit = self.pidfd.as_ref().filter(|_| !self.exited);
        let blind = exit.is_none() && !self.exited;
        let left = if blind { left.min(LOOK_AGAIN) } else { left };
        let mut fds: Vec<_> = [
            stop,
            exit.map(AsFd::as_fd),
            self.pipe.as_ref().map(AsFd::as_fd),
        ]
        .into_iter()
        .flatten()
        .map(watched)
        .collect();
        let left = Timespec::try_from(left).ok();
        // EINTR and the like: the caller looks and comes again.
        let ready = poll(&mut fds, left.as_ref()).is_ok_and(|ready| ready > 0);
        ready && stop.is_some() && fds.first().is_some_and(|fd| !fd.revents().is_empty())
    }

    /// Reads once: keeps what still belongs to the head, discards the rest, never blocks.
    fn read(&mut self) {
        let Some(pipe) = &mut self.pipe else { return };
        let mut buffer = [0; 16 * 1024];
        match pipe.read(&mut buffer) {
            Ok(0) => self.pipe = None,
            Ok(length) => {
                let kept = length.min(HEAD.saturating_sub(self.head.len()));
                self.head.extend(buffer.iter().take(kept));
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => {}
                _ => self.pipe = None,
            },
        }
    }

    /// The exit status; `None` when even SIGKILL has not ended it yet (a process in the kernel's
    /// uninterruptible sleep), which is then left to a thread that waits for it.
    fn reap(mut self) -> Option<ExitStatus> {
        if self.exited {
            return self.child.wait().ok();
        }
        let _ = thread::Builder::new()
            .name("reaper".to_owned())
            .spawn(move || self.child.wait());
        None
    }
}

fn how(status: ExitStatus) -> How {
    match (status.code(), status.signal()) {
        (Some(code), _) => How::Exited(code),
        (None, signal) => How::Signalled(signal.unwrap_or(0)),
    }
}

#[cfg(test)]
#[path = "exec_test.rs"]
mod tests;

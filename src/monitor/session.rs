//! A command in a session of its own: this program again, which becomes the command.
//!
//! In: a command, and the [`Account`] that runs it, if that is not our own. Out: the process that becomes it. Without
//! a session of its own a command could open the terminal that the daemon was started from, and type there. The step
//! between is there because nothing can safely be done between a fork and an exec. It takes 2 ms, most of an open's
//! time, so one is started before there is a command for it (`Sessions`). A shell takes 1 ms more, so one waits for its
//! script beside it. The process keeps its number, so its end is the end of the command. It can report a failure only
//! on its standard error and with [`REFUSED`], as env(1) and sudo(8) do.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the command takes the place of this process, and is marked with its number"
)]

use std::fmt::Write as _;
use std::io::{self, PipeReader, Read, Write as _};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::pipe::fcntl_setpipe_size;
use rustix::process::{Gid, Signal, Uid, geteuid, set_parent_process_death_signal, setsid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};
use serde::{Deserialize, Serialize};

use super::orphans;
use crate::child::Owned;
use crate::engine::account::Account;

/// The name under which this program becomes a command.
pub const NAME: &str = "logknock-command";

/// The exit status when the command was not run.
pub const REFUSED: u8 = 126;

/// What a pipe holds unless told otherwise, in bytes.
const PIPE_SIZE: usize = 64 * 1024;

/// What a pipe takes whole or not at all, in bytes (POSIX).
const PIPE_BUF: usize = 4096;

/// What a waiting shell does with its standard input: it exports a variable of each line up to an empty one, and runs
/// the rest. The values are never parsed. Without any input it ends.
const WAIT: &str = "while IFS= read -r pair && [ \"$pair\" ]; do export \"$pair\"; done; unset pair; \
                    . /proc/self/fd/0";

/// What a session becomes.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Becomes {
    /// The file that is executed.
    pub(super) path: String,
    /// The name that the program is given for itself, and its arguments.
    pub(super) argv: Vec<String>,
    /// All of its environment.
    pub(super) env: Vec<(String, String)>,
    /// The user that runs it; the daemon's own user if that is missing.
    pub(super) account: Option<Account>,
}

/// What starts sessions.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// What tells our state directory, in the environment of each of them.
    mark: Option<String>,
    /// For the next program.
    waiting: Option<Session>,
    /// For the next script.
    shell: Option<Session>,
}

impl Sessions {
    pub(super) fn new(mark: Option<String>) -> Self {
        Self {
            mark,
            ..Self::default()
        }
    }

    /// Has one of each kind wait for the next command. What keeps it from that will be said of that command.
    pub(super) fn prepare(&mut self) {
        let mark = self.mark.as_deref();
        if self.waiting.is_none() {
            self.waiting = Session::start(mark, None).ok();
        }
        if self.shell.is_none() {
            self.shell = Session::start(mark, Some(WAIT)).ok();
        }
    }

    /// Starts a command. The child, and what it writes to both of its outputs.
    pub(super) fn run(&mut self, what: &Becomes) -> io::Result<(Child, PipeReader)> {
        let order = serde_json::to_vec(what)?;
        // One that waited may have been killed meanwhile.
        let waiting = match what.script() {
            Some(script) => self.shell.take().map(|shell| shell.run(script.as_bytes())),
            None => self.waiting.take().map(|session| session.run(&order)),
        };
        match waiting {
            Some(Ok(started)) => Ok(started),
            _ => Session::start(self.mark.as_deref(), None)?.run(&order),
        }
    }
}

impl Becomes {
    /// What a waiting shell is given to run it, if it can.
    fn script(&self) -> Option<String> {
        let [shell, option, script] = self.argv.as_slice() else {
            return None;
        };
        let mut input = String::new();
        for (name, value) in &self.env {
            writeln!(input, "{name}={value}").ok()?;
        }
        let is_lines = input.lines().count() == self.env.len() && !input.contains('\0');
        let input = format!("{input}\nexec </dev/null; {script}");
        let fits = is_lines && input.len() <= PIPE_BUF;
        (shell == "/bin/sh" && option == "-c" && self.other_user().is_none() && fits)
            .then_some(input)
    }

    /// The user that runs it, if that is not our own.
    fn other_user(&self) -> Option<&Account> {
        let ourselves = geteuid().as_raw();
        self.account
            .as_ref()
            .filter(|account| account.uid != ourselves)
    }
}

/// A session that waits for its command. Dropped, it is ended.
#[derive(Debug)]
struct Session {
    child: Owned,
    order: ChildStdin,
    output: PipeReader,
}

impl Session {
    /// Starts one, which becomes a shell with `script` if there is one. It ends by itself when this process does.
    fn start(mark: Option<&str>, script: Option<&str>) -> io::Result<Self> {
        let (output, writer) = io::pipe()?;
        fcntl_setfl(&output, OFlags::NONBLOCK)?;
        let mut child = ourselves()
            .args(script)
            .env_clear()
            .envs(mark.map(|mark| (orphans::VARIABLE, mark)))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .spawn()?;
        let order = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        // A stopped session must not stop us: what does not fit is an error.
        fcntl_setfl(&order, OFlags::NONBLOCK)?;
        Ok(Self {
            child: Owned::new(child),
            order,
            output,
        })
    }

    fn run(mut self, order: &[u8]) -> io::Result<(Child, PipeReader)> {
        if order.len() > PIPE_SIZE {
            fcntl_setpipe_size(&self.order, order.len())?;
        }
        self.order.write_all(order)?;
        let child = self.child.release().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok((child, self.output))
    }
}

/// This program, whatever has become of its file.
#[cfg(not(test))]
fn ourselves() -> Command {
    let mut command = Command::new(super::detector::OURSELVES);
    command.arg0(NAME);
    command
}

/// The same where this program is the tests' own, which cannot become a command.
#[cfg(test)]
fn ourselves() -> Command {
    let mut command = Command::new("python3");
    command.args(["-c", tests::SESSION]);
    command
}

/// Begins a session, reads its command, and becomes it. Returns only when that is not possible.
pub fn run() -> io::Error {
    if let Err(error) = setsid() {
        return error.into();
    }
    if let Some(script) = std::env::args().nth(1) {
        // It ends by itself where its input does: when the monitor is killed.
        let mut shell = Command::new("/bin/sh");
        return shell
            .args(["-c", &script])
            .env_clear()
            .envs(own_mark())
            .exec();
    }
    match read_order() {
        Ok(what) => become_command(what),
        Err(error) => error,
    }
}

fn read_order() -> io::Result<Becomes> {
    // A monitor that is killed now must not leave a command that begins after its next run has.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut what = Vec::new();
    io::stdin().read_to_end(&mut what)?;
    Ok(serde_json::from_slice(&what)?)
}

/// With our number it marks the command itself, and nothing that it starts.
fn own_mark() -> Option<(&'static str, String)> {
    let mark = std::env::var(orphans::VARIABLE).ok()?;
    Some((
        orphans::VARIABLE,
        orphans::mark_of(&mark, std::process::id()),
    ))
}

fn become_command(what: Becomes) -> io::Error {
    let Some((name, arguments)) = what.argv.split_first() else {
        return io::ErrorKind::InvalidInput.into();
    };
    if let Some(Err(error)) = what.other_user().map(become_account) {
        return error;
    }
    let mut command = Command::new(what.path);
    command.env_clear().envs(what.env).envs(own_mark());
    command.arg0(name).args(arguments).stdin(Stdio::null());
    match set_parent_process_death_signal(None) {
        Ok(()) => command.exec(),
        Err(error) => error.into(),
    }
}

fn become_account(account: &Account) -> io::Result<()> {
    let numbers = account.groups.iter().chain([&account.uid, &account.gid]);
    // The kernel takes the highest number for nobody: it changes nothing.
    if numbers.into_iter().any(|&number| number == u32::MAX) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let groups: Vec<_> = account.groups.iter().copied().map(Gid::from_raw).collect();
    give_up_all_but(
        Uid::from_raw(account.uid),
        Gid::from_raw(account.gid),
        &groups,
    )
}

/// Is this user, with these groups and no right beside.
fn give_up_all_but(uid: Uid, gid: Gid, groups: &[Gid]) -> io::Result<()> {
    set_no_new_privs(true)?;
    for capability in CapabilitySet::all().iter() {
        // Not everybody may. It only counts for programs that give rights, which none does any more.
        let _ = remove_capability_from_bounding_set(capability);
    }
    clear_ambient_capability_set()?;
    set_thread_groups(groups)?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, none)?;
    if capabilities(None)? == none {
        Ok(())
    } else {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

#[cfg(test)]
#[path = "session_test.rs"]
mod tests;

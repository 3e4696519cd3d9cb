//! A command in a session of its own: this program again, which becomes the command.
//!
//! In: a command, and the [`Account`] that runs it, if that is not our own. Out: the words that start it,
//! and, in the process that they start, the command in its place. Without a session of its own a
//! command could open the terminal that the daemon was started from, and type there. The step between is
//! there because nothing can safely be done between a fork and an exec. The process keeps its number, so
//! the end of it is the end of the command. What surprises: it can say why it failed only on its standard
//! error and with [`REFUSED`], as env(1) and sudo(8) do.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the command takes the place of this process, and is marked with its number"
)]

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::process::{Gid, Uid, setsid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};

use super::orphans;
use crate::engine::account::Account;

/// The name that tells this program to become a command.
pub const NAME: &str = "logknock-command";

/// The exit status when the command was not run.
pub const REFUSED: u8 = 126;

/// This program, whatever has become of its file.
#[cfg(not(test))]
const OURSELVES: &str = "/proc/self/exe";

/// In place of an account: whoever we are.
const OURS: &str = "-";

/// What starts the program at `path`, which calls itself `name`: in a session of its own, and as `account`
/// if that is not our own.
#[cfg(not(test))]
pub(super) fn command(account: Option<&Account>, path: &Path, name: &str) -> Command {
    let mut command = Command::new(OURSELVES);
    command.arg0(NAME).args(words(account)).arg(path).arg(name);
    command
}

/// The same where this program is not ours but the tests', which can become nothing.
#[cfg(test)]
pub(super) fn command(_: Option<&Account>, path: &Path, _: &str) -> Command {
    let mut command = Command::new("setsid");
    command.arg(path);
    command
}

/// Whom the command is run as, for [`run`].
#[cfg(not(test))]
fn words(account: Option<&Account>) -> [OsString; 3] {
    let ourselves = rustix::process::geteuid().as_raw();
    let Some(account) = account.filter(|account| account.uid != ourselves) else {
        return [OURS; 3].map(OsString::from);
    };
    let groups: Vec<_> = account.groups.iter().map(ToString::to_string).collect();
    [
        account.uid.to_string().into(),
        account.gid.to_string().into(),
        groups.join(",").into(),
    ]
}

/// Begins a session, becomes whom `words` name, and what they say then. Returns only when that is not
/// possible.
pub fn run(words: &[OsString]) -> io::Error {
    let [uid, gid, groups, path, name, arguments @ ..] = words else {
        return io::ErrorKind::InvalidInput.into();
    };
    if let Err(error) = become_account(uid, gid, groups).and_then(|()| Ok(setsid().map(drop)?)) {
        return error;
    }
    let mut command = Command::new(path);
    // With our number it marks the command itself, and nothing that it starts.
    if let Some(mark) = std::env::var_os(orphans::VARIABLE).and_then(|mark| mark.into_string().ok())
    {
        command.env(
            orphans::VARIABLE,
            orphans::mark_of(&mark, std::process::id()),
        );
    }
    command.arg0(name).args(arguments).exec()
}

fn become_account(uid: &OsStr, gid: &OsStr, groups: &OsStr) -> io::Result<()> {
    if [uid, gid, groups] == [OURS; 3] {
        return Ok(());
    }
    let whom = number(uid).zip(number(gid)).zip(numbers(groups));
    let ((uid, gid), groups) = whom.ok_or(io::ErrorKind::InvalidInput)?;
    give_up_all_but(Uid::from_raw(uid), Gid::from_raw(gid), &groups)
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

fn numbers(words: &OsStr) -> Option<Vec<Gid>> {
    let words = words.to_str()?.split(',');
    let numbers = words.map(|word| Some(Gid::from_raw(word.parse().ok()?)));
    numbers.collect()
}

fn number(word: &OsStr) -> Option<u32> {
    // The kernel takes the highest number for nobody: it changes nothing.
    word.to_str()?
        .parse()
        .ok()
        .filter(|&number| number != u32::MAX)
}

#[cfg(test)]
#[path = "session_test.rs"]
mod tests;

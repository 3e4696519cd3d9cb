//! A command as another user: this program again, which becomes that user and then the command.
//!
//! In: an [`Account`] and a command. Out: the words that start it, and, in the process that they start,
//! the command in its place. The step between is there because a process has to give up its own groups
//! and rights, and nothing can be done safely between a fork and an exec. The process keeps its number, so the end
//! of it is the end of the command. What surprises: it cannot say why it failed but on its standard error and with
//! [`REFUSED`], as env(1) and sudo(8) do.
#![expect(
    clippy::disallowed_types,
    reason = "the command takes the place of this process"
)]

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::process::{Gid, Uid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};

use crate::engine::account::Account;

/// The name that tells this program to become somebody.
pub const NAME: &str = "logknock-run-as";

/// The exit status when the command was not run.
pub const REFUSED: u8 = 126;

/// This program, whatever has become of its file.
pub(super) const OURSELVES: &str = "/proc/self/exe";

/// What this program is told to run the program at `path` as `account`; the words of the command follow,
/// its name for itself the first.
pub(super) fn words(account: &Account, path: &Path) -> [OsString; 4] {
    let groups: Vec<_> = account.groups.iter().map(ToString::to_string).collect();
    [
        account.uid.to_string().into(),
        account.gid.to_string().into(),
        groups.join(",").into(),
        path.into(),
    ]
}

/// Becomes whom `words` name, and what they say then. Returns only when that is not possible.
pub fn run(words: &[OsString]) -> io::Error {
    let [uid, gid, groups, path, name, arguments @ ..] = words else {
        return io::ErrorKind::InvalidInput.into();
    };
    let whom = number(uid).zip(number(gid)).zip(numbers(groups));
    let Some(((uid, gid), groups)) = whom else {
        return io::ErrorKind::InvalidInput.into();
    };
    if let Err(error) = give_up_all_but(Uid::from_raw(uid), Gid::from_raw(gid), &groups) {
        return error;
    }
    Command::new(path).arg0(name).args(arguments).exec()
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
mod tests {
    use super::*;

    #[test]
    fn what_does_not_say_whom_is_not_run() {
        for words in [
            "",
            "0 0 0 /bin/true",
            "x 0 0 /bin/true true",
            "0 4294967295 0 /bin/true true",
            "0 0 0, /bin/true true",
        ] {
            let words: Vec<_> = words.split(' ').map(OsString::from).collect();
            assert_eq!(run(&words).kind(), io::ErrorKind::InvalidInput, "{words:?}");
        }
    }
}

//! What a process gives up for good before it reads text of strangers.
//!
//! In: the paths that it still needs. Out: what the kernel has taken away, in words. Capabilities, the rights of
//! set-uid programs, files (Landlock), and system calls (seccomp); each is done as far as this kernel can, because a
//! machine that lacks one must still be guarded. All but the filter of system calls apply only to the calling thread
//! and its children, so this is called while there is one thread.

#[cfg(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
))]
mod calls;
/// Replaces it on processors that seccompiler does not support.
#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
)))]
mod calls {
    pub(super) fn confine() -> super::Strength {
        super::Strength::None
    }
}
mod files;

use std::fmt;
use std::path::PathBuf;

use rustix::process::geteuid;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};
use serde::{Deserialize, Serialize};

/// What is still needed.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// Files and directories to be read, with all beneath them.
    pub read: Vec<PathBuf>,
    /// Whether files are to be read whatever their mode, for as long as no other right is.
    pub read_any_mode: bool,
}

/// What has been given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confined {
    /// Whether files are confined (Landlock).
    pub files: Strength,
    /// Whether system calls are (seccomp).
    pub calls: Strength,
    /// The capabilities that are left.
    pub capabilities: Vec<String>,
    /// The user that it runs as.
    pub uid: u32,
}

/// How much of it this kernel does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strength {
    /// All.
    Full,
    /// What an older kernel knows of it.
    Partial,
    /// Nothing: the kernel has it not, or has it switched off.
    None,
}

impl Confined {
    /// Whether the kernel did all of it.
    pub fn is_full(&self) -> bool {
        self.files == Strength::Full && self.calls == Strength::Full
    }
}

impl fmt::Display for Confined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |strength| match strength {
            Strength::Full => "yes",
            Strength::Partial => "as far as this kernel can",
            Strength::None => "no, this kernel lacks it",
        };
        write!(
            f,
            "files: {} (Landlock); system calls: {} (seccomp); uid {}, ",
            words(self.files),
            words(self.calls),
            self.uid
        )?;
        match self.capabilities.as_slice() {
            [] => f.write_str("no capability"),
            left => write!(f, "only {}", left.join(" ")),
        }
    }
}

/// Gives up everything but `needs`.
pub fn confine(needs: &Needs) -> Confined {
    let held = capabilities(None).map_or(CapabilitySet::empty(), |held| held.permitted);
    let kept = if needs.read_any_mode {
        held & CapabilitySet::DAC_READ_SEARCH
    } else {
        CapabilitySet::empty()
    };
    for capability in CapabilitySet::all().iter() {
        // Without the right to drop them, there are none to lose.
        let _ = remove_capability_from_bounding_set(capability);
    }
    let _ = clear_ambient_capability_set();
    let _ = set_no_new_privs(true);
    let files = files::confine(needs);
    let left = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: CapabilitySet::empty(),
    };
    let _ = set_capabilities(None, left);
    let left = capabilities(None).map_or(held, |left| left.permitted);
    // The last: nothing of the above is possible after it.
    let calls = calls::confine();
    Confined {
        files,
        calls,
        capabilities: names(left),
        uid: geteuid().as_raw(),
    }
}

fn names(set: CapabilitySet) -> Vec<String> {
    let names = set.iter_names().map(|(name, _)| name.to_owned());
    names.collect()
}

#[cfg(test)]
#[path = "mod_test.rs"]
mod tests;

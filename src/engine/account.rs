//! An account of the machine that a command is run as, as data.

use serde::{Deserialize, Serialize};

/// The user that runs a command, with all ids that the kernel needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its name.
    pub name: Box<str>,
    /// The number of the user.
    pub uid: u32,
    /// The number of its own group.
    pub gid: u32,
    /// The numbers of all of its groups, that one included.
    pub groups: Vec<u32>,
    /// Its directory.
    pub home: Box<str>,
}

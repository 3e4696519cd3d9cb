//! A door that is still looked at, by those who know its rules.

use super::problem::{DoorFlaw, Problem};
use super::schema::{DoorTable, NamedDoor};

/// A door while its rules are looked at.
pub(super) struct Draft<'a> {
    /// As it is written.
    pub(super) own: &'a NamedDoor,
    /// Its keys with the defaults.
    pub(super) table: DoorTable,
}

impl Draft<'_> {
    /// What is wrong with it.
    pub(super) fn flawed(&self, flaw: DoorFlaw) -> Problem {
        let door = self.own.name.to_string();
        Problem::Door { door, flaw }
    }
}

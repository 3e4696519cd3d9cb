//! The users and groups of this machine: the only reader of `/etc/passwd` and `/etc/group`.
//!
//! In: a name, or a number as text. Out: the account. No other database is used (no NSS, so no LDAP): a door must
//! work without the network.
#![expect(
    clippy::disallowed_methods,
    reason = "the accounts of a machine are in files"
)]

use std::fs;

use rustix::process::geteuid;
use rustix::thread::{CapabilitySet, capabilities};

use crate::engine::account::Account;

const USERS: &str = "/etc/passwd";
const GROUPS: &str = "/etc/group";

/// The rights to become another user, and to end what runs as one.
const TO_BECOME: CapabilitySet = CapabilitySet::SETUID
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::KILL);

/// The number of the user that is named, or given as a number.
pub fn user_number(name: &str) -> Option<u32> {
    name.parse().ok().or_else(|| number_of(name, &read(USERS)?))
}

/// The number of the group that is named, or given as a number.
pub fn group_number(name: &str) -> Option<u32> {
    let found = || number_of(name, &read(GROUPS)?);
    name.parse().ok().or_else(found)
}

/// All about the user that is named, or given as a number.
pub fn user(name: &str) -> Option<Account> {
    find(name, &read(USERS)?, &read(GROUPS).unwrap_or_default())
}

/// Whether this process may run a command as `account`: it is this one, or we have the rights for it.
pub fn may_become(account: &Account) -> bool {
    let may = || capabilities(None).is_ok_and(|held| held.effective.contains(TO_BECOME));
    account.uid == geteuid().as_raw() || may()
}

/// The text of a file; a name in it may be of an older encoding.
fn read(path: &str) -> Option<String> {
    let bytes = fs::read(path).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The number of the account called `name`, in lines of `name:password:number:…`.
fn number_of(name: &str, accounts: &str) -> Option<u32> {
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        fields.nth(1)?.parse().ok()
    })
}

/// The user with this name, or else with this number (passwd(5), group(5)).
fn find(name: &str, users: &str, groups: &str) -> Option<Account> {
    let users = || users.lines().filter_map(user_of);
    let number = name.parse().ok();
    let named = users().find(|user| *user.name == *name);
    let mut account = named.or_else(|| users().find(|user| Some(user.uid) == number))?;
    let others = groups.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (number, members) = (fields.nth(2)?, fields.next()?);
        let is_in = members.split(',').any(|member| *member == *account.name);
        is_in.then(|| number.parse().ok())?
    });
    let others: Vec<u32> = others.filter(|group| *group != account.gid).collect();
    account.groups.extend(others);
    Some(account)
}

fn user_of(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let name = fields.next()?.into();
    let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
    let home = fields.nth(1)?.into();
    Some(Account {
        name,
        uid,
        gid,
        groups: vec![gid],
        home,
    })
}

#[cfg(test)]
#[path = "accounts_test.rs"]
mod tests;

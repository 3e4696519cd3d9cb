//! `backend = "ipset"`: entries `address,protocol:port` with the kernel's own timeout.
//!
//! With `-exist`, an entry that is added again takes the new timeout, and deleting a missing entry succeeds. `ipset`
//! takes one entry a call, so a shell strings them together; nothing but an address gets into its script. When the
//! whole set has gone, there is nothing to close.

use super::{Family, each};
use crate::engine::command::{Template, TemplateError};
use crate::engine::sequence::Step;

/// Longest timeout that an entry can have, in seconds (the kernel's `IPSET_MAX_TIMEOUT`).
pub const MAX_TIMEOUT: u64 = 2_147_483;

/// The set of open doors.
pub(super) const fn set(family: Family) -> &'static str {
    family.pick("logknock4", "logknock6")
}

/// What `ipset` calls the family.
pub(super) const fn family(family: Family) -> &'static str {
    family.pick("inet", "inet6")
}

pub(super) fn open(family: Family, _: &str, ports: &[Step]) -> Result<Template, TemplateError> {
    let set = set(family);
    Template::from_shell(&each(ports, " && ", |proto, port| {
        format!("ipset -exist add {set} %IP%,{proto}:{port} timeout \"$LOGKNOCK_TIMEOUT\"")
    }))
}

pub(super) fn close(family: Family, _: &str, ports: &[Step]) -> Result<Template, TemplateError> {
    let set = set(family);
    let deleted = each(ports, " && ", |proto, port| {
        format!("ipset -exist del {set} %IP%,{proto}:{port}")
    });
    // Only a list that could be had proves that the set is not in it.
    Template::from_shell(&format!(
        "{{ {deleted}; }} || {{ sets=$(ipset list -name) && case $sets in *{set}*) false;; esac; }}"
    ))
}

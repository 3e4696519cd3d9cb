//! `backend = "nft"`: elements `address . protocol . port` with the kernel's own timeout.
//!
//! One argument, one transaction. An existing element keeps its timeout when it is added again, and a missing one
//! cannot be deleted (`destroy` came after nft 1.0.6); so both commands first add it and delete it, and then it
//! certainly does not exist. If the whole table has gone (`flush ruleset`, as reloading nftables.conf does), a close
//! has nothing left to do.

use super::{Family, each};
use crate::engine::command::{Template, TemplateError};
use crate::engine::sequence::Step;

/// Family and name of the table that is ours.
pub(super) const TABLE: &str = "inet logknock";

/// The set of open doors.
pub(super) const fn set(family: Family) -> &'static str {
    family.pick("open4", "open6")
}

/// The start of a TCP connection.
pub(super) const SYN: &str = "tcp flags & (syn | ack) == syn";

/// What the fields of a family's header begin with.
pub(super) const fn ip(family: Family) -> &'static str {
    family.pick("ip", "ip6")
}

/// The type of an address.
pub(super) const fn address_type(family: Family) -> &'static str {
    family.pick("ipv4_addr", "ipv6_addr")
}

/// The type of an element.
pub(super) const fn set_type(family: Family) -> &'static str {
    family.pick(
        "ipv4_addr . inet_proto . inet_service",
        "ipv6_addr . inet_proto . inet_service",
    )
}

pub(super) fn open(family: Family, _: &str, ports: &[Step]) -> Result<Template, TemplateError> {
    let added = command("add", family, ports, " timeout %TIMEOUT%s");
    Template::from_words(&["nft", &format!("{}; {added}", gone(family, ports))])
}

pub(super) fn close(family: Family, _: &str, ports: &[Step]) -> Result<Template, TemplateError> {
    // Only a list that could be had proves that the table is not in it.
    Template::from_shell(&format!(
        "nft '{}' || {{ tables=$(nft list tables) && case $tables in *'{TABLE}'*) false;; esac; }}",
        gone(family, ports)
    ))
}

fn gone(family: Family, ports: &[Step]) -> String {
    let [add, delete] = ["add", "delete"].map(|verb| command(verb, family, ports, ""));
    format!("{add}; {delete}")
}

fn command(verb: &str, family: Family, ports: &[Step], timeout: &str) -> String {
    let elements = each(ports, ", ", |proto, port| {
        format!("%IP% . {proto} . {port}{timeout}")
    });
    format!("{verb} element {TABLE} {} {{ {elements} }}", set(family))
}

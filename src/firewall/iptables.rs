//! `backend = "iptables"`: rules in chains of our own, marked with the door's name: one where packets arrive, before
//! any NAT, and one where they have arrived.
//!
//! Where they arrive a rule passes the chain that closes, which is jumped to by the last rule. A rule is looked for
//! before it is added, so there is never a second one; at the deletion, exit status 1 means that the rule or the
//! chain does not exist; any other means that it could not be deleted. No rule ends by itself: the door is closed by
//! the daemon, or by its next start.

use super::{Family, each};
use crate::engine::command::{Template, TemplateError};
use crate::engine::sequence::Step;

/// The chains of open doors, in `mangle` and in `filter`.
pub(super) const CHAIN: &str = "LOGKNOCK";
/// The chain of `mangle` for all others.
pub(super) const CLOSED: &str = "LOGKNOCK_SHUT";

/// The program for a family, told to wait for others that change rules.
pub(super) const fn tool(family: Family) -> &'static str {
    family.pick("iptables -w 5", "ip6tables -w 5")
}

/// The same for the table where packets arrive.
pub(super) const fn mangle(family: Family) -> &'static str {
    family.pick("iptables -w 5 -t mangle", "ip6tables -w 5 -t mangle")
}

/// What loads rules for a family, beside those that are there.
pub(super) const fn restore(family: Family) -> &'static str {
    family.pick("iptables-restore -n -w 5", "ip6tables-restore -n -w 5")
}

pub(super) fn open(family: Family, door: &str, ports: &[Step]) -> Result<Template, TemplateError> {
    Template::from_shell(&each(ports, " && ", |proto, port| {
        rules(family, door, proto, port, |tool, rule| {
            format!("{{ {tool} -C {rule} 2>/dev/null || {tool} -I {rule}; }}")
        })
    }))
}

pub(super) fn close(family: Family, door: &str, ports: &[Step]) -> Result<Template, TemplateError> {
    Template::from_shell(&each(ports, " && ", |proto, port| {
        rules(family, door, proto, port, |tool, rule| {
            format!("{{ {tool} -D {rule} 2>/dev/null || [ $? = 1 ]; }}")
        })
    }))
}

/// A door's name is of letters, digits and `._-` only, so it needs no quotes.
fn rules(
    family: Family,
    door: &str,
    proto: &str,
    port: u16,
    one: impl Fn(&str, &str) -> String,
) -> String {
    let rule =
        format!("{CHAIN} -s %IP% -p {proto} --dport {port} -m comment --comment logknock:{door}");
    [(mangle(family), "RETURN"), (tool(family), "ACCEPT")]
        .map(|(tool, target)| one(tool, &format!("{rule} -j {target}")))
        .join(" && ")
}

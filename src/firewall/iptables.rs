//! `backend = "iptables"`: rules in a chain of our own, marked with the door's name.
//!
//! A rule is looked for before it is added, so there is never a second one; when it is to go, exit
//! status 1 says that it is not there, or that the chain is not, and any other that it could not be
//! deleted. No rule ends by itself: the door is closed by the daemon, or by its next start.

use super::{Family, each};
use crate::engine::command::{Template, TemplateError};
use crate::engine::sequence::Step;

/// The chain of what is open.
pub(super) const CHAIN: &str = "LOGKNOCK";

/// The program for a family, told to wait for others that change rules.
pub(super) const fn tool(family: Family) -> &'static str {
    match family {
        Family::V4 => "iptables -w 5",
        Family::V6 => "ip6tables -w 5",
    }
}

/// What loads rules for a family, beside those that are there.
pub(super) const fn restore(family: Family) -> &'static str {
    match family {
        Family::V4 => "iptables-restore -n -w 5",
        Family::V6 => "ip6tables-restore -n -w 5",
    }
}

pub(super) fn open(family: Family, door: &str, ports: &[Step]) -> Result<Template, TemplateError> {
    let tool = tool(family);
    Template::from_shell(&each(ports, " && ", |proto, port| {
        let rule = rule(door, proto, port);
        format!("{{ {tool} -C {rule} 2>/dev/null || {tool} -A {rule}; }}")
    }))
}

pub(super) fn close(family: Family, door: &str, ports: &[Step]) -> Result<Template, TemplateError> {
    let tool = tool(family);
    Template::from_shell(&each(ports, " && ", |proto, port| {
        let rule = rule(door, proto, port);
        format!("{{ {tool} -D {rule} 2>/dev/null || [ $? = 1 ]; }}")
    }))
}

/// A door's name is of letters, digits and `._-` only, so it needs no quotes.
fn rule(door: &str, proto: &str, port: u16) -> String {
    format!(
        "{CHAIN} -s %IP% -p {proto} --dport {port} -m comment --comment logknock:{door} -j ACCEPT"
    )
}

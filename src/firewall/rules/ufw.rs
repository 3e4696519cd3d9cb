//! The rules for ufw: a script for `sh` that puts a block at the end of its `before.rules` and
//! `before6.rules`, which ufw loads with iptables-restore before rules of its own.
//!
//! A file of ufw can make a chain, but not one that is there already without emptying it: so a reload
//! of ufw closes what is open. It cannot make a set, so `ipset` does not go with it.

use std::fmt::Write as _;

use super::super::{Family, iptables as backend};
use super::{Rules, iptables};

const BEGIN: &str = "# logknock: begin";
const END: &str = "# logknock: end";

const HEAD: &str = "\
#!/bin/sh
# Rules for logknock, for ufw. Load:  logknock rules --for ufw | sh
# They hold the log prefix, a secret: ufw's files are root's, this text is yours to keep from others.
# ufw loads them at boot and at every reload, which closes what is open: new connections need a new knock.
# Another directory than ufw's may be given:  sh -s DIRECTORY
set -e
";

/// What both scripts do to a file.
fn forget() -> String {
    format!("sed -i '/^{BEGIN}$/,/^{END}$/d' \"$file\"")
}

/// ufw's file of a family, and its first chain in it.
const fn place(family: Family) -> (&'static str, &'static str) {
    match family {
        Family::V4 => ("before.rules", "ufw-before-input"),
        Family::V6 => ("before6.rules", "ufw6-before-input"),
    }
}

pub(super) fn load(rules: &Rules<'_>, prefix: &str) -> String {
    let mut text = HEAD.to_owned();
    for family in Family::ALL {
        let (file, hook) = place(family);
        let (main, open) = (iptables::INPUT, backend::CHAIN);
        let _ = write!(
            text,
            "\n# ---- {} ----\n\
             file=${{1:-/etc/ufw}}/{file}\n\
             {}\n\
             cat >>\"$file\" <<'END'\n\
             {BEGIN}\n*filter\n:{main} - [0:0]\n:{open} - [0:0]\n{}\
             # Before all other rules.\n-I {hook} -j {main}\nCOMMIT\n{END}\nEND\n",
            family.name(),
            forget(),
            iptables::input(rules, family, prefix)
        );
    }
    text += "\n[ $# -gt 0 ] || ufw reload\n";
    text
}

pub(super) fn remove() -> String {
    let mut text = "\
#!/bin/sh
# Takes the rules of logknock away from ufw.  logknock rules --for ufw --remove | sh
set -e
"
    .to_owned();
    for family in Family::ALL {
        let _ = write!(
            text,
            "file=${{1:-/etc/ufw}}/{}\n{}\n",
            place(family).0,
            forget()
        );
    }
    text += "[ $# -eq 0 ] || exit 0\nufw reload\n\n# ufw leaves chains that it does not know.\n";
    for family in Family::ALL {
        let tool = backend::tool(family);
        let _ = write!(
            text,
            "for chain in {} {}; do\n    \
                 {tool} -F $chain 2>/dev/null && {tool} -X $chain || true\n\
             done\n",
            iptables::INPUT,
            backend::CHAIN
        );
    }
    text
}

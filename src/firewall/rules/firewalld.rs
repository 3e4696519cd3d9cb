//! The rules for a host with firewalld: a script for `sh`, the nft table and what firewalld must know.
//!
//! firewalld leaves tables that are not its own alone, at a reload too, and has its say behind them. So
//! the table logs and guards as everywhere, and firewalld is told to let in what is guarded there. Only
//! the running one is told: after a reboot both are gone, and what a door opens is closed. Not firewalld's
//! own rich rules, since their limit is one for all addresses: a scanner would use it up for others.

use std::fmt::Write as _;

use super::{Rules, nft, of};
use crate::engine::sequence::Transport;

const HEAD: &str = "\
#!/bin/sh
# Rules for logknock beside firewalld. Load:  logknock rules --for firewalld | sh
# They hold the log prefix, a secret: keep this text from others. Loading again changes nothing that is open.
# Run it at boot, after firewalld, from a file of mode 0700, and after 'firewall-cmd --reload': until then the
# ports below are closed. What firewalld lets in for good would be open without this table, so take it away:
#   firewall-cmd --permanent --remove-service=ssh
set -e
";

pub(super) fn load(rules: &Rules<'_>, prefix: &str) -> String {
    let mut text = format!(
        "{HEAD}\nnft -f - <<'END'\n{}END\n\n# What the table guards, firewalld lets in.\n",
        nft::table(rules, prefix)
    );
    for transport in [Transport::Tcp, Transport::Udp] {
        for port in of(transport, rules.guarded) {
            let _ = writeln!(
                text,
                "firewall-cmd --quiet --add-port={port}/{}",
                transport.as_str()
            );
        }
    }
    text
}

pub(super) fn remove() -> String {
    format!(
        "\
#!/bin/sh
# Takes the rules of logknock away.  logknock rules --for firewalld --remove | sh
# The ports first, as the table has them: they must not be open for a moment.
set -e
nft list chain {table} input 2>/dev/null |
    sed -n 's/^[[:space:]]*\\([a-z]*\\) dport \\(.*\\) drop$/\\1 \\2/p' | tr -d '{{}},' |
    while read -r proto ports; do
        for port in $ports; do
            firewall-cmd --quiet --remove-port=$port/$proto
        done
    done
nft -f - <<'END'
{}END
",
        nft::remove(),
        table = nft::TABLE
    )
}

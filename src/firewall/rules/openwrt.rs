//! The rules for OpenWrt's fw4: a script for `sh`, the nft table as a file that fw4 loads behind its own,
//! and what its zones must let in.
//!
//! fw4 includes what is in `nftables.d/ruleset-post`, in the transaction of its own rules: they come and
//! go together, and a file that nft does not take leaves all as it was.

use std::fmt::Write as _;

use super::{Rules, nft, of};
use crate::engine::sequence::Transport;

/// Where fw4 looks.
const FILE: &str = "/usr/share/nftables.d/ruleset-post/logknock.nft";

const HEAD: &str = "\
#!/bin/sh
# Rules for logknock, for OpenWrt 22.03 and later (fw4). Load:  logknock rules --for openwrt | sh
# They hold the log prefix, a secret: this text is yours to keep from others.
# Another root than / may be given:  sh -s DIRECTORY
set -e
umask 077
";

pub(super) fn load(rules: &Rules<'_>, prefix: &str) -> String {
    let mut text = format!(
        "{HEAD}\nfile={FILE}\nmkdir -p \"$1${{file%/*}}\" \"$1/etc\"\ncat >\"$1$file\" <<'END'\n{}END\n\
         # Kept over a sysupgrade.\n\
         grep -qx \"$file\" \"$1/etc/sysupgrade.conf\" 2>/dev/null || echo \"$file\" >>\"$1/etc/sysupgrade.conf\"\n\
         \n# What the table guards, the zone lets in.\n",
        nft::table(rules, prefix)
    );
    for transport in [Transport::Tcp, Transport::Udp] {
        let proto = transport.as_str();
        let section = format!("firewall.logknock_{proto}");
        let ports: Vec<_> = of(transport, rules.guarded)
            .map(|port| port.to_string())
            .collect();
        if ports.is_empty() {
            let _ = writeln!(text, "uci -q delete {section} || true");
            continue;
        }
        let _ = writeln!(text, "uci set {section}=rule");
        for (option, value) in [
            ("name", "logknock"),
            ("src", "wan"),
            ("proto", proto),
            ("dest_port", &ports.join(" ")),
            ("target", "ACCEPT"),
        ] {
            let _ = writeln!(text, "uci set {section}.{option}='{value}'");
        }
    }
    text += "uci commit firewall\nfw4 check\nfw4 reload\n";
    text
}

pub(super) fn remove() -> String {
    format!(
        "\
#!/bin/sh
# Takes the rules of logknock away.  logknock rules --for openwrt --remove | sh
# The zone first: what the table guards must not be open for a moment.
uci -q delete firewall.logknock_tcp
uci -q delete firewall.logknock_udp
uci commit firewall
file={FILE}
rm -f \"$1$file\"
[ ! -f \"$1/etc/sysupgrade.conf\" ] || sed -i \"\\\\|^$file\\$|d\" \"$1/etc/sysupgrade.conf\"
fw4 reload
nft -f - <<'END'
{}END
",
        nft::remove()
    )
}

//! The rules for hosts with another firewall: scripts for `sh`.
//!
//! ufw, firewalld and OpenWrt's fw4 leave a table alone that is not their own, at a reload too. So the nft table logs
//! and guards as everywhere. They get permanent rules, under a name of ours, that let in the guarded ports: removing
//! these rules restores what they let in before. So none of them can lock a user out, or open a port that the table
//! guards. fw4 loads the table itself, in the transaction of its own rules.

use std::fmt::Write as _;

use super::{Rules, Tool, iptables, nft, of};
use crate::engine::sequence::Transport;

/// Where fw4 looks for rules to load behind its own.
const FW4_FILE: &str = "/usr/share/nftables.d/ruleset-post/logknock.nft";
/// Where ufw looks for names of ports.
const UFW_FILE: &str = "/etc/ufw/applications.d/logknock";

fn head(tool: Tool, more: &str) -> String {
    let name = tool.as_str();
    format!(
        "\
#!/bin/sh
# Rules for logknock beside {name}. Load:  logknock rules --for {name} | sh
# They contain the log prefix, a secret: do not show this text to others. Loading again keeps open doors.
{more}set -e
umask 077
"
    )
}

fn remove_head(tool: Tool) -> String {
    let name = tool.as_str();
    format!(
        "\
#!/bin/sh
# Removes the rules of logknock.  logknock rules --for {name} --remove | sh
# What {name} let in before, it lets in again.
"
    )
}

const KEEP: &str = "# To keep the table over a reboot:  logknock rules --install\n";

fn table(rules: &Rules<'_>, prefix: &str) -> String {
    format!("\nnft -f - <<'END'\n{}END\n\n", nft::table(rules, prefix))
}

fn remove_table() -> String {
    format!("nft -f - <<'END'\n{}END\n", nft::remove())
}

/// `22/tcp` and so on.
fn guarded(rules: &Rules<'_>) -> impl Iterator<Item = String> {
    let ports = rules.guarded.iter();
    ports.map(|port| format!("{}/{}", port.port, port.transport.as_str()))
}

pub(super) fn ufw(rules: &Rules<'_>, prefix: &str) -> String {
    let mut text = head(Tool::Ufw, KEEP) + &table(rules, prefix);
    // ufw wants the ports of one protocol together: `22,2022/tcp|60001/udp`.
    let each = [Transport::Tcp, Transport::Udp].map(|transport| {
        let ports: Vec<_> = of(transport, rules.guarded)
            .map(|port| port.to_string())
            .collect();
        (!ports.is_empty()).then(|| format!("{}/{}", ports.join(","), transport.as_str()))
    });
    let ports: Vec<_> = each.into_iter().flatten().collect();
    if !ports.is_empty() {
        let _ = write!(
            text,
            "# What the table guards, ufw lets in.\n\
             cat >{UFW_FILE} <<'END'\n[logknock]\ntitle=logknock\ndescription=What logknock guards\nports={}\nEND\n\
             chmod 644 {UFW_FILE}\n\
             ufw allow logknock >/dev/null\nufw app update logknock >/dev/null\n",
            ports.join("|")
        );
    }
    text
}

pub(super) fn remove_ufw() -> String {
    format!(
        "{}if [ -e {UFW_FILE} ]; then\n    ufw delete allow logknock >/dev/null\n    rm {UFW_FILE}\nfi\n\
         ! command -v nft >/dev/null || {}{}exit 0\n",
        remove_head(Tool::Ufw),
        remove_table(),
        iptables::remove_body()
    )
}

pub(super) fn firewalld(rules: &Rules<'_>, prefix: &str) -> String {
    let mut text = head(Tool::Firewalld, KEEP) + &table(rules, prefix);
    text += include_str!("firewalld.sh");
    for port in guarded(rules) {
        let _ = write!(
            text,
            "firewall-cmd --quiet --permanent --service=logknock --add-port={port}\n\
             firewall-cmd --quiet --add-port={port}\n"
        );
    }
    text += "firewall-cmd --quiet --permanent --add-service=logknock\n";
    text
}

pub(super) fn remove_firewalld() -> String {
    remove_head(Tool::Firewalld) + include_str!("remove_firewalld.sh") + &remove_table()
}

pub(super) fn openwrt(rules: &Rules<'_>, prefix: &str) -> String {
    let mut text = head(
        Tool::Openwrt,
        "# For OpenWrt 22.03 and later (fw4). Another root than / may be given:  sh -s DIRECTORY\n",
    );
    let _ = write!(
        text,
        "\nfile={FW4_FILE}\nmkdir -p \"$1${{file%/*}}\" \"$1/etc\"\ncat >\"$1$file\" <<'END'\n{}END\n\
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

pub(super) fn remove_openwrt() -> String {
    let zone = format!(include_str!("remove_openwrt.sh"), file = FW4_FILE);
    remove_head(Tool::Openwrt) + &zone + &remove_table()
}

//! The server's firewall: established first, ssh closed, everything else logged and dropped.
//!
//! In: the lab and its prefix. Out: rules in the server's namespace, in the words people really
//! write. The LOG rule stands before the drop and sees every closed port, without a limit.

use crate::lab::{Family, Lab};
use crate::process;

/// Loads the rules with `iptables` and `ip6tables`, or another pair with the same words.
pub(crate) fn iptables(lab: &Lab, [v4, v6]: [&str; 2]) {
    let prefix = &lab.prefix;
    for (tool, icmp) in [(v4, "icmp"), (v6, "ipv6-icmp")] {
        for rule in [
            "-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
            "-i lo -j ACCEPT",
            &format!("-p {icmp} -j ACCEPT"),
        ] {
            add(lab, tool, rule, &[]);
        }
        for packets in ["-p tcp --syn", "-p udp"] {
            add(lab, tool, packets, &["-j", "LOG", "--log-prefix", prefix]);
        }
        process::finish(lab.server.command(tool).args(["-w", "-P", "INPUT", "DROP"]));
    }
}

fn add(lab: &Lab, tool: &str, rule: &str, target: &[&str]) {
    let mut command = lab.server.command(tool);
    command.args(["-w", "-A", "INPUT"]);
    command.args(rule.split_whitespace()).args(target);
    process::finish(&mut command);
}

/// Loads the rules with `nft`: table `inet lab` with the sets `open4` and `open6`, whose elements
/// may connect to 22/tcp.
pub(crate) fn nft(lab: &Lab) {
    let rules = format!(
        r#"
table inet lab {{
    set open4 {{ type ipv4_addr; }}
    set open6 {{ type ipv6_addr; }}
    chain input {{
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        iif lo accept
        meta l4proto {{ icmp, ipv6-icmp }} accept
        ip saddr @open4 tcp dport 22 accept
        ip6 saddr @open6 tcp dport 22 accept
        tcp flags & (fin | syn | rst | ack) == syn log prefix "{prefix}"
        meta l4proto udp log prefix "{prefix}"
    }}
}}
"#,
        prefix = lab.prefix
    );
    let file = lab.write("rules.nft", &rules);
    process::finish(lab.server.command("nft").arg("-f").arg(file));
}

/// The rules of the family's `INPUT` chain, as `iptables -S` prints them.
pub(crate) fn listed(lab: &Lab, family: Family) -> String {
    let tool = match family {
        Family::V4 => "iptables",
        Family::V6 => "ip6tables",
    };
    process::finish(lab.server.command(tool).args(["-w", "-S", "INPUT"]))
}

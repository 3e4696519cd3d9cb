//! What `opens` becomes with nft, ipset and iptables.

use std::net::IpAddr;
use std::time::Duration;

use super::*;
use crate::engine::command::Facts;
use crate::engine::sequence::Transport;

const SSH: Step = Step {
    port: 22,
    transport: Transport::Tcp,
};
const MOSH: Step = Step {
    port: 60_001,
    transport: Transport::Udp,
};

fn facts(src: &str) -> Facts {
    let src: IpAddr = src.parse().unwrap();
    Facts {
        src,
        dst: src,
        step: Step {
            port: 47_011,
            transport: Transport::Tcp,
        },
        interface: "eth0".into(),
        door: "ssh".into(),
        hold: Some(Duration::from_millis(29_500)),
    }
}

fn argv(command: &PerFamily, src: &str) -> Vec<String> {
    let facts = facts(src);
    let template = command.of(facts.src);
    template.map_or(Vec::new(), |template| template.expand(&facts).argv)
}

#[test]
fn nft_renews_an_element_in_one_transaction() {
    let commands = commands(Backend::Nft, "ssh", &[SSH, MOSH]).unwrap();
    let element = "inet logknock open4 { 192.0.2.7 . tcp . 22, 192.0.2.7 . udp . 60001 }";
    let timed = "inet logknock open4 { 192.0.2.7 . tcp . 22 timeout 30s, 192.0.2.7 . udp . 60001 timeout 30s }";
    let gone = format!("add element {element}; delete element {element}");
    let open = format!("{gone}; add element {timed}");
    assert_eq!(argv(&commands.open, "192.0.2.7"), ["nft", &open]);
    assert_eq!(argv(&commands.refresh, "192.0.2.7"), ["nft", &open]);
    let close = format!(
        "nft '{gone}' || {{ tables=$(nft list tables) && case $tables in *'inet logknock'*) false;; esac; }}"
    );
    assert_eq!(
        argv(&commands.close, "192.0.2.7"),
        ["/bin/sh", "-c", &close]
    );
}

#[test]
fn nft_has_a_set_for_each_family() {
    let commands = commands(Backend::Nft, "ssh", &[SSH]).unwrap();
    let close = argv(&commands.close, "2001:db8::7").concat();
    assert_eq!(close.matches("open6 { 2001:db8::7 . tcp . 22 }").count(), 2);
    assert!(!close.contains("open4"));
}

#[test]
fn ipset_takes_the_timeout_from_the_environment_and_a_port_a_call() {
    let commands = commands(Backend::Ipset, "ssh", &[SSH, MOSH]).unwrap();
    let open = "ipset -exist add logknock6 2001:db8::7,tcp:22 timeout \"$LOGKNOCK_TIMEOUT\" && \
                ipset -exist add logknock6 2001:db8::7,udp:60001 timeout \"$LOGKNOCK_TIMEOUT\"";
    let close = "{ ipset -exist del logknock6 2001:db8::7,tcp:22 && \
                 ipset -exist del logknock6 2001:db8::7,udp:60001; } || \
                 { sets=$(ipset list -name) && case $sets in *logknock6*) false;; esac; }";
    assert_eq!(argv(&commands.open, "2001:db8::7"), ["/bin/sh", "-c", open]);
    assert_eq!(commands.refresh, commands.open);
    assert_eq!(
        argv(&commands.close, "2001:db8::7"),
        ["/bin/sh", "-c", close]
    );
}

#[test]
fn iptables_looks_for_each_rule_before_it_adds_it_and_renews_by_opening_again() {
    let commands = commands(Backend::Iptables, "ssh", &[SSH]).unwrap();
    let rule = "LOGKNOCK -s 192.0.2.7 -p tcp --dport 22 -m comment --comment logknock:ssh -j";
    let open = [
        ("iptables -w 5 -t mangle", "RETURN"),
        ("iptables -w 5", "ACCEPT"),
    ]
    .map(|(tool, target)| {
        format!("{{ {tool} -C {rule} {target} 2>/dev/null || {tool} -I {rule} {target}; }}")
    });
    assert_eq!(argv(&commands.open, "192.0.2.7")[2], open.join(" && "));
    assert_eq!(commands.refresh, commands.open);
    let close = &argv(&commands.close, "2001:db8::7")[2];
    assert!(
        close.starts_with("{ ip6tables -w 5 -t mangle -D LOGKNOCK"),
        "{close}"
    );
}

#[test]
fn no_command_holds_the_port_that_was_knocked_at() {
    for &backend in Backend::VARIANTS {
        let commands = commands(backend, "ssh", &[SSH]).unwrap();
        for command in [commands.open, commands.refresh, commands.close] {
            for src in ["192.0.2.7", "2001:db8::7"] {
                assert!(!argv(&command, src).concat().contains("47011"));
            }
        }
    }
}

//! What is said of rules that the real tools listed, whole and spoilt.

use super::*;

const PREFIX: &str = "lk-4f9a1c7e: ";
const SSH: Step = Step {
    port: 22,
    transport: Transport::Tcp,
};
const NFT: &str = include_str!("../../fixtures/rules/logknock.nft.json");
const IPTABLES: &str = include_str!("../../fixtures/rules/logknock.iptables-save");
const DOCKER: &str = include_str!("../../fixtures/rules/docker-fail2ban-ufw.iptables-save");

fn told(nft: &str, iptables: [&str; 2], backend: Backend) -> Vec<String> {
    told_where(None, nft, iptables, backend)
}

fn told_where(
    groups: Option<&[u16]>,
    nft: &str,
    iptables: [&str; 2],
    backend: Backend,
) -> Vec<String> {
    let step = |port, transport| Step { port, transport };
    let knock = vec![
        step(7000, Transport::Tcp),
        step(8000, Transport::Udp),
        step(9000, Transport::Tcp),
    ];
    let need = Need {
        prefix: Some(PREFIX),
        groups,
        doors: &[(knock, Duration::from_secs(15))],
        guarded: &[SSH],
        backend: Some(backend),
    };
    let faults = faults(&Kernel::read(nft, iptables), &need);
    faults.iter().map(ToString::to_string).collect()
}

/// The rules as nft lists them, and one table more.
fn beside(table: &str) -> String {
    NFT.replacen("{\"metainfo\"", &format!("{table}, {{\"metainfo\""), 1)
}

#[test]
fn the_printed_rules_are_whole_also_beside_those_of_docker_fail2ban_and_ufw() {
    assert_eq!(told(NFT, ["", ""], Backend::Nft), [""; 0]);
    assert_eq!(told("", [IPTABLES, IPTABLES], Backend::Iptables), [""; 0]);
    assert_eq!(told(NFT, [DOCKER, ""], Backend::Nft), [""; 0]);
}

#[test]
fn rules_that_were_loaded_for_another_backend_drop_what_this_one_opens() {
    let closed = IPTABLES
        .lines()
        .filter(|line| !line.contains("-s 192.0.2.7"));
    let closed = closed.collect::<Vec<_>>().join("\n");
    let both = [&*closed, &*closed];
    for (backend, place) in [
        (Backend::Iptables, "table inet logknock, chain prerouting"),
        (Backend::Nft, "table ip mangle, chain LOGKNOCK_SHUT"),
    ] {
        let told = told(NFT, both, backend);
        let said = told.iter().any(|fault| {
            fault.starts_with(place) && fault.ends_with("drops what a door lets in at 22/tcp")
        });
        assert!(said, "{backend:?} {told:?}");
    }
}

#[test]
fn no_rules_leave_the_port_open_to_everybody_and_that_is_said_once() {
    let open = "the rules are not loaded: port 22/tcp is open to everybody";
    for nothing in ["", "{\"nftables\": []}", "no json"] {
        assert_eq!(told(nothing, ["", ""], Backend::Nft), [open]);
    }
    assert_eq!(
        told("", [IPTABLES, ""], Backend::Iptables),
        [open],
        "IPv6 is open"
    );
}

#[test]
fn missing_rules_are_one_fault_also_where_a_policy_drops_the_ports_of_the_sequence() {
    let ssh = "{\"match\": {\"op\": \"==\", \"left\": {\"payload\": {\"protocol\": \"tcp\", \"field\": \"dport\"}}, \"right\": 22}}";
    let rule = format!(", {{RULE: [{ssh}, {{\"accept\": null}}]}}}}");
    let list = format!("{{\"nftables\": [{}]}}", chain("input", 0, "drop", &rule));
    let open = "the rules are not loaded: port 22/tcp is open to everybody";
    assert_eq!(told(&list, ["", ""], Backend::Nft), [open]);
}

#[test]
fn another_prefix_and_a_missing_log_rule_have_different_messages() {
    let other = told(&NFT.replace(PREFIX, "lk-other: "), ["", ""], Backend::Nft);
    assert_eq!(
        other,
        [
            "the rule in table inet logknock, chain knocks (priority -150) logs with another prefix than the configured one"
        ]
    );
    let log = "{\"log\": {\"prefix\": \"lk-4f9a1c7e: \", \"flags\": \"tcp sequence\"}}";
    assert!(NFT.contains(log));
    let none = told(
        &NFT.replace(log, "{\"counter\": null}"),
        ["", ""],
        Backend::Nft,
    );
    assert_eq!(none, ["nothing logs with the configured prefix"]);
}

#[test]
fn a_limit_counts_on_the_rule_that_logs_and_not_before_it() {
    let log = "{\"log\": {\"prefix\": \"lk-4f9a1c7e: \"";
    let limit = "{\"limit\": {\"rate\": 3, \"burst\": 5, \"per\": \"minute\"}}";
    let said = told(
        &NFT.replace(log, &format!("{limit}, {log}")),
        ["", ""],
        Backend::Nft,
    );
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("logs 3 packets a minute over all addresses; a knock needs 3 in 15s"));
    let iptables = IPTABLES.replace(
        "-j LOG --log-prefix",
        "-m limit --limit 3/min -j LOG --log-prefix",
    );
    let said = told("", [&iptables, &iptables], Backend::Iptables);
    // Once for each family.
    let all = said.iter().all(|said| said.contains("3 packets a minute"));
    assert!(said.len() == 2 && all, "{said:?}");
}

fn chain(hook: &str, priority: i64, policy: &str, rules: &str) -> String {
    let rules = rules.replace(
        "RULE",
        "\"rule\": {\"family\": \"inet\", \"table\": \"other\", \"chain\": \"c\", \"expr\"",
    );
    format!(
        "{{\"chain\": {{\"family\": \"inet\", \"table\": \"other\", \"name\": \"c\", \"type\": \"filter\", \
         \"hook\": \"{hook}\", \"prio\": {priority}, \"policy\": \"{policy}\"}}}}{rules}"
    )
}

#[test]
fn a_step_dropped_or_redirected_before_it_is_logged_is_named_by_its_number() {
    let port = "{\"match\": {\"op\": \"==\", \"left\": {\"payload\": {\"protocol\": \"tcp\", \"field\": \"dport\"}}, \"right\": 9000}}";
    for (verdict, word) in [
        ("{\"drop\": null}", "drops step 3"),
        ("{\"redirect\": {\"port\": 1}}", "redirects step 3"),
    ] {
        let rule = format!(", {{RULE: [{port}, {verdict}]}}}}");
        let early = chain("prerouting", -300, "accept", &rule);
        let said = told(&beside(&early), ["", ""], Backend::Nft);
        let place = format!("table inet other, chain c (priority -300) {word} before it is logged");
        assert_eq!(said, [place]);
        assert!(!said[0].contains("9000"));
        // Behind our rules, it does no harm to the knock.
        let late = chain("prerouting", -100, "accept", &rule);
        assert_eq!(told(&beside(&late), ["", ""], Backend::Nft), [""; 0]);
    }
}

#[test]
fn a_policy_that_drops_what_a_door_lets_in_is_named_unless_a_rule_may_let_it_in() {
    let drops = chain("input", 0, "drop", "");
    let said = told(&beside(&drops), ["", ""], Backend::Nft);
    let place =
        "table inet other, chain c (priority 0, by its policy) drops what a door lets in at 22/tcp";
    assert_eq!(said, [place]);
    for rule in [
        "{\"match\": {\"op\": \"==\", \"left\": {\"meta\": {\"key\": \"iifname\"}}, \"right\": \"eth0\"}}, {\"accept\": null}",
        "{\"vmap\": {\"key\": {\"payload\": {\"protocol\": \"tcp\", \"field\": \"dport\"}}, \"data\": {\"set\": []}}}",
    ] {
        let maybe = chain("input", 0, "drop", &format!(", {{RULE: [{rule}]}}}}"));
        assert_eq!(told(&beside(&maybe), ["", ""], Backend::Nft), [""; 0]);
    }
}

#[test]
fn a_set_that_is_not_there_is_named() {
    let without = NFT.replace("\"name\": \"open4\"", "\"name\": \"other4\"");
    let said = told(&without, ["", ""], Backend::Nft);
    assert_eq!(
        said,
        ["set open4 of table inet logknock is missing: an open door would let nobody in"]
    );
}

#[test]
fn a_rule_that_logs_elsewhere_than_to_the_group_that_is_read_is_told() {
    let to_group = |group: u16| {
        let iptables = IPTABLES.replace("-j LOG --log-prefix", "-j NFLOG --nflog-prefix");
        let group = format!(" --nflog-group {group}\n");
        let lines = iptables
            .lines()
            .map(|line| match line.split_once(" --log-tcp-sequence") {
                Some((line, rest)) if line.contains("NFLOG") => format!("{line}{rest}{group}"),
                _ if line.contains("NFLOG") => format!("{line}{group}"),
                _ => format!("{line}\n"),
            });
        lines.collect::<String>()
    };
    let told = |groups: Option<&[u16]>, iptables: &str| {
        told_where(groups, "", [iptables, iptables], Backend::Iptables)
    };
    assert_eq!(told(Some(&[5][..]), &to_group(5)), [""; 0]);
    assert_eq!(told(None, &to_group(5)), [""; 0], "a file may have it");
    for (group, iptables) in [(6, to_group(5)), (5, IPTABLES.to_owned())] {
        let told = told(Some(&[group]), &iptables);
        let end = "does not log to an NFLOG group that is a source";
        assert_eq!(told.len(), 2, "for each family: {told:?}");
        assert!(told.iter().all(|told| told.ends_with(end)), "{told:?}");
    }
    let nft = NFT.replace(
        "\"prefix\": \"lk-4f9a1c7e: \"",
        "\"prefix\": \"lk-4f9a1c7e: \", \"group\": 5",
    );
    assert_ne!(nft, NFT);
    let told = |group| told_where(Some(&[group]), &nft, ["", ""], Backend::Nft);
    assert_eq!(told(5), [""; 0]);
    assert_eq!(told(6).len(), 1);
}

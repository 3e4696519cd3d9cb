//! `logknock rules` without a daemon: what it prints, and what it refuses to print.

use super::logknock::Logknock;

const SSH: &str = "[firewall]\nbackend = \"nft\"\n[door.ssh]\nsequence = [7123, \"8456:udp\", 9789]\nopens = [\"22:tcp\"]\n";

#[test]
fn a_knocker_needs_no_prefix_and_says_that_it_holds_the_knock() {
    for form in ["nft-only", "iptables-recent"] {
        Logknock::new()
            .config(SSH)
            .run(&format!("rules --for {form}"))
            .succeeds()
            .says_nothing()
            .prints_among_others("# It contains the knock, a secret: do not show it to others.")
            .prints_among_others("8456");
    }
}

#[test]
fn what_rules_cannot_keep_is_an_error_that_names_door_and_key_and_no_port() {
    let ended = Logknock::new()
        .config(&format!("{SSH}min_gap = \"50ms\"\ncooldown = \"5s\"\n"))
        .run("rules --for nft-only")
        .fails_with(78)
        .prints_nothing()
        .says("door 'ssh', min_gap: ")
        .says("door 'ssh', cooldown: ");
    for port in ["7123", "8456", "9789"] {
        assert!(!ended.stderr.contains(port));
    }
}

#[test]
fn check_says_of_a_door_that_it_is_for_one_connection() {
    for (once, held) in [
        ("true", "open for one connection within 10s"),
        ("false", "open for 10s"),
    ] {
        Logknock::new()
            .config(&format!("{SSH}once = {once}\n"))
            .run("check")
            .prints_among_others(held);
    }
}

#[test]
fn a_network_as_one_knocker_is_what_rules_cannot_keep() {
    for form in ["nft-only", "iptables-recent"] {
        Logknock::new()
            .config(&format!("[log]\nknocker_prefix_v6 = 64\n{SSH}"))
            .run(&format!("rules --for {form}"))
            .fails_with(78)
            .prints_nothing()
            .says("remove knocker_prefix_v6");
    }
}

#[test]
fn a_sequence_that_begins_anew_within_itself_is_a_warning() {
    Logknock::new()
        .config(&SSH.replace("\"8456:udp\"", "7123"))
        .run("rules --for iptables-recent")
        .succeeds()
        .says("warning: the sequence of door 'ssh' repeats its own beginning");
}

#[test]
fn what_takes_a_knocker_away_needs_no_config() {
    for form in ["nft-only", "iptables-recent"] {
        Logknock::new()
            .run(&format!("rules --for {form} --remove"))
            .succeeds();
    }
}

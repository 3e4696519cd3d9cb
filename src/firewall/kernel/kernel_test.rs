//! Rules that need no daemon: what they are, and what they cannot keep.

use super::*;
use crate::config;

const HEAD: &str = "[firewall]\nbackend = \"nft\"\n";
const SSH: &str = "[door.ssh]\nsequence = [7000, \"8000:udp\", 9000]\nopens = [\"22:tcp\"]\n";

fn with<T>(text: &str, form: Form, see: impl FnOnce(Result<Knocker<'_>, Vec<Flaw>>) -> T) -> T {
    let config = config::parse("x.toml", &format!("{HEAD}{text}")).unwrap();
    let firewall = config.firewall.unwrap();
    let guarded = firewall.guarded();
    see(Knocker::new(form, &config.doors, &firewall.opens, &guarded))
}

fn load(text: &str, form: Form) -> String {
    with(text, form, |knocker| knocker.unwrap().load())
}

fn refused(text: &str, form: Form) -> Vec<String> {
    with(text, form, |knocker| {
        let flaws = knocker.unwrap_err();
        flaws.iter().map(Flaw::to_string).collect()
    })
}

#[test]
fn what_rules_cannot_keep_is_refused_by_door_and_key() {
    for form in [Form::Recent, Form::Nft] {
        for (key, value) in [
            ("tcpflags", "[\"fin\"]"),
            ("interface", "\"eth0+\""),
            ("lockout", "{ fails = 2, within = \"1m\", for = \"1h\" }"),
            ("cooldown", "\"5s\""),
            ("on_repeat", "\"reopen\""),
            ("min_gap", "\"50ms\""),
        ] {
            let text = format!("{SSH}{key} = {value}\n");
            let flaws = refused(&text, form);
            assert_eq!(flaws.len(), 1, "{flaws:?}");
            assert!(
                flaws[0].starts_with(&format!("door 'ssh', {key}: ")),
                "{flaws:?}"
            );
        }
    }
}

#[test]
fn every_flaw_of_every_door_is_reported_at_once() {
    let text = format!(
        "{SSH}min_gap = 1\ncooldown = 5\n[door.lamp]\nsequence = [1]\nstart_command = \"toggle\"\n"
    );
    let flaws = refused(&text, Form::Nft);
    let starts = [
        "door 'ssh', cooldown",
        "door 'ssh', min_gap",
        "door 'lamp', start_command",
    ];
    assert_eq!(flaws.len(), starts.len(), "{flaws:?}");
    for start in starts {
        assert!(flaws.iter().any(|flaw| flaw.starts_with(start)), "{start}");
    }
}

#[test]
fn recent_has_whole_seconds_and_nft_has_no_counts() {
    for key in ["seq_timeout", "knock_timeout", "cmd_timeout"] {
        let text = format!("{SSH}{key} = \"1500ms\"\n");
        let flaws = refused(&text, Form::Recent);
        assert!(flaws[0].contains(key) && flaws[0].contains("whole seconds"));
        assert!(load(&text, Form::Nft).contains("timeout 1s500ms"));
    }
    let counts = "[door.one]\ncounts = [1, 2]\nport = 443\nopens = [\"22:tcp\"]\n";
    assert!(refused(counts, Form::Nft)[0].starts_with("door 'one', counts: "));
    assert!(load(counts, Form::Recent).contains("--seconds 8 --hitcount 3"));
    let half = counts.to_owned() + "window = \"2.5s\"\n";
    let flaws = refused(&half, Form::Recent);
    assert!(
        flaws
            .iter()
            .any(|flaw| flaw.starts_with("door 'one', window: "))
    );
}

#[test]
fn a_day_and_more_is_a_time_that_nft_takes() {
    let text = load(&format!("{SSH}cmd_timeout = \"2d\"\n"), Form::Nft);
    assert!(text.contains("timeout 172800s0ms"), "{text}");
}

#[test]
fn what_was_not_seen_to_arrive_is_dropped_by_both_protocols() {
    let text = SSH.replace("\"22:tcp\"", "\"22:tcp\", \"60001:udp\"");
    let nft = load(&text, Form::Nft);
    let recent = load(&text, Form::Recent);
    for (text, rule) in [
        (
            &nft,
            "tcp dport { 22 } tcp flags & (syn | ack) == syn fib daddr type != local drop",
        ),
        (&nft, "udp dport { 60001 } fib daddr type != local drop"),
        (
            &recent,
            "-p tcp --dport 22 --tcp-flags SYN,ACK SYN -m addrtype ! --dst-type LOCAL -j DROP",
        ),
        (
            &recent,
            "-p udp --dport 60001 -m addrtype ! --dst-type LOCAL -j DROP",
        ),
    ] {
        assert!(text.contains(rule), "{rule}\n{text}");
    }
}

#[test]
fn one_connection_is_what_rules_let_in_by_tcp_and_cannot_keep_by_udp() {
    for form in [Form::Nft, Form::Recent] {
        let tcp = format!("{SSH}once = true\n");
        assert_eq!(load(&tcp, form), load(SSH, form));
        let udp = tcp.replace("22:tcp", "22:udp");
        assert!(refused(&udp, form)[0].starts_with("door 'ssh', once: "));
    }
}

#[test]
fn no_refusal_shows_a_port() {
    let text = format!("{SSH}min_gap = 1\n");
    for flaw in refused(&text, Form::Recent) {
        assert!(
            !flaw.contains(|character: char| character.is_ascii_digit()),
            "{flaw}"
        );
    }
}

#[test]
fn rules_for_addresses_that_knocked_come_before_rules_for_knocks_and_those_before_drops() {
    for (form, order) in [
        (
            Form::Nft,
            [
                "fib daddr type != local",
                "@open4_ssh",
                "@open6_ssh",
                "jump door4_ssh",
                "jump door6_ssh",
                "drop",
                "chain input",
                "ct status dnat drop",
            ],
        ),
        (
            Form::Recent,
            [
                "--dst-type LOCAL",
                "open-ssh",
                "-j RETURN",
                "-j LOGKNOCK_R1",
                "-p udp",
                "-j DROP",
                "*filter",
                "--ctstate DNAT -j DROP",
            ],
        ),
    ] {
        let text = load(SSH, form);
        let (_, input) = text
            .split_once(match form {
                Form::Nft => "    chain prerouting {",
                Form::Recent => "*mangle",
            })
            .unwrap();
        let mut lines = input.lines();
        for word in order {
            assert!(lines.any(|line| line.contains(word)), "{word}\n{text}");
        }
    }
}

#[test]
fn a_door_for_one_family_is_in_that_family_only_and_what_it_opens_is_closed_in_both() {
    for scope in ["target = \"192.0.2.1\"", "allow = [\"192.0.2.0/24\"]"] {
        let text = format!("{SSH}{scope}\n");
        let nft = load(&text, Form::Nft);
        assert!(nft.contains("door4_ssh") && !nft.contains("door6_ssh"));
        assert!(nft.contains("tcp dport { 22 } tcp flags & (syn | ack) == syn drop"));
        let recent = load(&text, Form::Recent);
        let (v4, v6) = recent.split_once("---- IPv6 ----").unwrap();
        assert!(v4.contains("LOGKNOCK_R1") && !v6.contains("LOGKNOCK_R1"));
        assert!(v6.contains("--dport 22 --tcp-flags SYN,ACK SYN -j DROP"));
    }
}

#[test]
fn a_sequence_that_begins_anew_within_itself_is_named() {
    let named = |steps: &str| {
        let text = format!("[door.ssh]\nsequence = [{steps}]\nopens = [\"22:tcp\"]\n");
        with(&text, Form::Nft, |knocker| {
            knocker.unwrap().forgetful().count()
        })
    };
    assert_eq!(named("7, 7, 8"), 1);
    assert_eq!(named("7, 8, 7, 9"), 1);
    // At the last step it is the door that opens.
    assert_eq!(named("7, 8, 7"), 0);
    assert_eq!(named("7, 8, 9"), 0);
}

#[test]
fn what_takes_a_knocker_away_names_nothing_but_ours() {
    assert!(Knocker::remove(Form::Nft).contains("delete table inet logknock_only"));
    let text = Knocker::remove(Form::Recent);
    for line in text.lines().filter(|line| line.contains(" -D ")) {
        let ours = ["INPUT", "PREROUTING"].map(|hook| format!("-D {hook} -j LOGKNOCK_RECENT"));
        assert!(ours.iter().any(|ours| line.contains(ours)), "{line}");
    }
}

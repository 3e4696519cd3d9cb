//! The base rules: their order, what they drop, and what is refused.

use strum::VariantArray as _;

use super::*;

const GUARDED: [Step; 3] = [
    step(22, Transport::Tcp),
    step(2022, Transport::Tcp),
    step(60_001, Transport::Udp),
];

const fn step(port: u16, transport: Transport) -> Step {
    Step { port, transport }
}

fn rules(backend: Backend) -> Rules<'static> {
    Rules {
        backend: Some(backend),
        guarded: &GUARDED,
        once: &[],
        always: &[],
        public: &[],
        log: &[LogTo::Kernel],
        prefix: b"lk-4f9a1c7e: ",
        tcp: Tcp::Starts,
    }
}

/// The lines that are no comments.
fn said(text: &str) -> Vec<&str> {
    let lines = text.lines().map(str::trim);
    lines.filter(|line| !line.starts_with('#')).collect()
}

/// Whether the lines that begin so come in this order.
fn in_order(text: &str, starts: &[&str]) -> bool {
    let mut lines = said(text).into_iter();
    starts
        .iter()
        .all(|start| lines.any(|line| line.contains(start)))
}

#[test]
fn what_is_connected_comes_before_what_is_logged_and_that_before_what_is_dropped() {
    let nft = rules(Backend::Nft).load(Tool::Nft).unwrap();
    let order = [
        "iif \"lo\" accept",
        "fib daddr type != local accept",
        "tcp flags & (syn | ack) != syn accept",
        "meta l4proto udp ct state established,related accept",
        "@open4 accept",
        "@open6 accept",
        "tcp flags & (syn | ack) == syn jump knocks",
        "meta l4proto udp jump knocks",
        "tcp dport { 22, 2022 } tcp flags & (syn | ack) == syn drop",
        "udp dport { 60001 } drop",
        "@open4 accept",
        "tcp dport { 22, 2022 } tcp flags & (syn | ack) == syn drop",
    ];
    assert!(in_order(&nft, &order), "{nft}");
    for (backend, accept) in [
        (Backend::Iptables, "-j LOGKNOCK"),
        (Backend::Ipset, "--match-set logknock4"),
    ] {
        let text = rules(backend).load(Tool::Iptables).unwrap();
        let order = [
            "-p tcp ! --tcp-flags SYN,ACK SYN -j RETURN",
            "-p udp -m conntrack --ctstate ESTABLISHED,RELATED -j RETURN",
            accept,
            "-p tcp --tcp-flags SYN,ACK SYN -m pkttype --pkt-type unicast -j LOGKNOCK_LOG",
            "-p udp -m pkttype --pkt-type unicast -j LOGKNOCK_LOG",
            "--dport 22 --tcp-flags SYN,ACK SYN -j DROP",
            "--dport 2022 --tcp-flags SYN,ACK SYN -j DROP",
            "-p udp --dport 60001 -j DROP",
            "*filter",
            accept,
            "--dport 22 --tcp-flags SYN,ACK SYN -j DROP",
            "ip6tables-restore",
        ];
        assert!(in_order(&text, &order), "{text}");
    }
}

#[test]
fn only_guarded_ports_are_dropped_and_no_policy_is_set() {
    let unguarded = Rules {
        backend: None,
        guarded: &[],
        ..rules(Backend::Nft)
    };
    for tool in [Tool::Nft, Tool::Iptables] {
        let text = unguarded.load(tool).unwrap();
        let lines = said(&text);
        let closes = |line: &&str| line.to_lowercase().contains("drop");
        assert!(!lines.iter().any(closes), "{text}");
        assert!(lines.iter().any(|line| line.contains("lk-4f9a1c7e: ")));
    }
    let text = rules(Backend::Iptables).load(Tool::Iptables).unwrap();
    let drops = said(&text)
        .iter()
        .filter(|line| line.contains("DROP"))
        .count();
    // Of two families, where packets arrive and where they have arrived.
    assert_eq!(drops, 4 * GUARDED.len());
    assert!(!text.contains("-P ") && !text.contains(":INPUT"));
}

#[test]
fn what_lets_in_one_connection_is_logged_before_it_is_let_in() {
    let loads = [
        (
            Backend::Nft,
            Tool::Nft,
            [
                "tcp dport { 22 } tcp flags & (syn | ack) == syn ip saddr . meta l4proto . th dport @open4 log prefix \"lk-",
                "udp dport { 60001 } ip6 saddr . meta l4proto . th dport @open6 log prefix \"lk-",
                "@open4 accept",
            ],
        ),
        (
            Backend::Ipset,
            Tool::Iptables,
            [
                "-p tcp --dport 22 --tcp-flags SYN,ACK SYN -m set --match-set logknock4 src,dst -j LOG ",
                "-p udp --dport 60001 -m set --match-set logknock4 src,dst -j LOG ",
                "-m set --match-set logknock4 src,dst -j RETURN",
            ],
        ),
        (
            Backend::Iptables,
            Tool::Iptables,
            [
                "-p tcp --dport 22 --tcp-flags SYN,ACK SYN -j LOGKNOCK_LOG",
                "-p udp --dport 60001 -j LOGKNOCK_LOG",
                "-A LOGKNOCK_PRE -j LOGKNOCK",
            ],
        ),
    ];
    for (backend, tool, order) in loads {
        let once = Rules {
            once: &[GUARDED[0], GUARDED[2]],
            ..rules(backend)
        };
        let text = once.load(tool).unwrap();
        assert!(in_order(&text, &order), "{text}");
        let plain = rules(backend).load(tool).unwrap();
        assert_ne!(text, plain);
    }
}

#[test]
fn a_door_with_flags_of_its_own_has_every_packet_logged() {
    let every = Rules {
        tcp: Tcp::Every,
        ..rules(Backend::Nft)
    };
    let text = every.load(Tool::Nft).unwrap();
    assert!(text.contains("meta l4proto tcp jump knocks"));
    let tracked = "tcp flags & (syn | ack) != syn ct state established,related accept";
    assert!(text.contains(tracked));
}

#[test]
fn rules_that_would_not_see_what_is_opened_are_refused() {
    let refused = rules(Backend::Nft).load(Tool::Iptables).unwrap_err();
    assert_eq!(refused, RulesError::OtherTool(Tool::Iptables, Backend::Nft));
    assert!(refused.to_string().contains("--for nft"));
    assert!(rules(Backend::Ipset).load(Tool::Nft).is_err());
}

#[test]
fn a_prefix_that_a_tool_would_read_as_something_else_is_refused_and_not_repeated() {
    for prefix in ["lk\" drop; x", "lk-$HOME", "lk-`id`", "lk\\", "lk'", "lké"] {
        let rules = Rules {
            prefix: prefix.as_bytes(),
            ..rules(Backend::Nft)
        };
        let refused = rules.load(Tool::Nft).unwrap_err();
        assert_eq!(refused, RulesError::Prefix);
        assert!(!refused.to_string().contains(prefix));
    }
    let long = Rules {
        prefix: &[b'x'; MAX_IPTABLES_PREFIX + 1],
        ..rules(Backend::Ipset)
    };
    assert_eq!(
        long.load(Tool::Iptables),
        Err(RulesError::LongPrefix(MAX_IPTABLES_PREFIX))
    );
}

#[test]
fn what_takes_the_rules_away_holds_no_secret_and_names_nothing_but_ours() {
    assert_eq!(
        said(&Rules::remove(Tool::Nft)),
        ["add table inet logknock", "delete table inet logknock"]
    );
    let text = Rules::remove(Tool::Iptables);
    assert!(!text.contains("lk-"));
    for line in said(&text).iter().filter(|line| line.contains(" -D ")) {
        let ours = [
            "-D INPUT -j LOGKNOCK_INPUT",
            "-D PREROUTING -j LOGKNOCK_PRE",
        ];
        assert!(ours.iter().any(|ours| line.contains(ours)), "{line}");
    }
}

#[test]
fn each_tool_has_rules_for_the_backends_that_it_can_see_and_for_no_other() {
    let tools = [
        (Tool::Nft, vec![Backend::Nft]),
        (Tool::Firewalld, vec![Backend::Nft]),
        (Tool::Openwrt, vec![Backend::Nft]),
        (Tool::Iptables, vec![Backend::Iptables, Backend::Ipset]),
        (Tool::Ufw, Backend::VARIANTS.to_vec()),
    ];
    for (tool, sees) in tools {
        for &backend in Backend::VARIANTS {
            let text = rules(backend).load(tool);
            assert_eq!(
                text.is_ok(),
                sees.contains(&backend),
                "{tool:?} {backend:?}"
            );
            if let Ok(text) = text {
                assert!(text.contains("lk-4f9a1c7e: ") && text.contains("a secret"));
            }
        }
    }
}

#[test]
fn what_never_needs_a_knock_and_what_is_public_comes_before_what_is_logged() {
    let always: Vec<IpNet> = ["198.51.100.0/24", "198.51.100.8/32", "2001:db8::/32"]
        .map(|net| net.parse().unwrap())
        .to_vec();
    let public = [step(80, Transport::Tcp), step(443, Transport::Udp)];
    let beside = |backend| Rules {
        always: &always,
        public: &public,
        ..rules(backend)
    };
    let nft = beside(Backend::Nft).load(Tool::Nft).unwrap();
    let order = [
        "ip saddr { 198.51.100.0/24 } accept",
        "ip6 saddr { 2001:db8::/32 } accept",
        "tcp dport { 80 } accept",
        "udp dport { 443 } accept",
        "jump knocks",
        "tcp dport { 22, 2022 } ip saddr { 198.51.100.0/24 } accept",
    ];
    assert!(in_order(&nft, &order), "{nft}");
    let iptables = beside(Backend::Ipset).load(Tool::Iptables).unwrap();
    let order = [
        "-A LOGKNOCK_PRE -s 198.51.100.0/24 -j RETURN",
        "-p tcp --dport 80 -j RETURN",
        "-p udp --dport 443 -j RETURN",
        "-j LOGKNOCK_LOG",
        "-A LOGKNOCK_INPUT -p tcp --dport 22 -s 198.51.100.0/24 -j ACCEPT",
        "-A LOGKNOCK_PRE -s 2001:db8::/32 -j RETURN",
    ];
    assert!(in_order(&iptables, &order), "{iptables}");
}

#[test]
fn a_group_gets_the_prefix_and_the_kernels_log_the_sequence_number() {
    let both = Rules {
        log: &[LogTo::Kernel, LogTo::Group(7)],
        ..rules(Backend::Nft)
    };
    let nft = both.load(Tool::Nft).unwrap();
    let order = [
        "log prefix \"lk-4f9a1c7e: \" flags tcp sequence",
        "log prefix \"lk-4f9a1c7e: \" group 7",
    ];
    assert!(in_order(&nft, &order), "{nft}");
    let iptables = Rules {
        backend: Some(Backend::Ipset),
        ..both
    };
    let iptables = iptables.load(Tool::Iptables).unwrap();
    let order = [
        "-j LOG --log-tcp-sequence --log-prefix \"lk-4f9a1c7e: \"",
        "-j NFLOG --nflog-group 7 --nflog-prefix \"lk-4f9a1c7e: \"",
    ];
    assert!(in_order(&iptables, &order), "{iptables}");
}

//! What the keys of a configuration become, and what holds where they are left out.

use std::net::IpAddr;

use crate::engine::command::{Facts, Invocation, Template};
use crate::engine::door::{OnRepeat, OtherPorts, Rule, Scope, SequenceRule};
use crate::engine::knock::KnockerPrefix;
use crate::engine::packet::TcpFlags;
use crate::engine::sequence::{Step, Transport};

use super::*;

const DOOR: &str =
    "[door.ssh]\nsequence = [7001, \"8002:udp\"]\nstart_command = \"/bin/open %IP%\"\n";

fn read(text: &str) -> Config {
    parse("x.toml", text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The only door of a config that has [`DOOR`] with `keys`.
fn door(keys: &str) -> Door {
    let config = read(&format!("{DOOR}{keys}"));
    Door::clone(&config.doors[0])
}

fn rule(door: &Door) -> &SequenceRule {
    let Rule::Sequence(rule) = &door.rule else {
        panic!("no sequence")
    };
    rule
}

fn argv(template: Option<&Template>) -> Vec<String> {
    let facts = Facts {
        src: IpAddr::from([192, 0, 2, 7]),
        dst: IpAddr::from([192, 0, 2, 1]),
        step: Step {
            port: 8002,
            transport: Transport::Udp,
        },
        interface: "eth0".into(),
        door: "ssh".into(),
        hold: None,
    };
    template.map_or(Vec::new(), |template| {
        let Invocation { argv, .. } = template.expand(&facts);
        argv
    })
}

#[test]
fn the_least_config_has_the_defaults_of_knockd() {
    let config = read(DOOR);
    let door = &config.doors[0];
    assert_eq!(&*door.name, "ssh");
    assert_eq!(door.scope, Scope::default());
    assert_eq!(rule(door).pace.window, Duration::from_secs(25));
    assert_eq!(rule(door).pace.knock_timeout, None);
    assert_eq!(rule(door).pace.min_gap, None);
    assert_eq!(rule(door).pace.other_ports, OtherPorts::Reset);
    assert_eq!(door.grant.hold, Duration::from_secs(10));
    assert_eq!(door.grant.on_repeat, OnRepeat::Extend);
    assert_eq!(config.warnings, []);
    let log = Log {
        own: Vec::new(),
        sources: Vec::new(),
        prefix: None,
        format: Format::Kernel,
        accept_forgeable: false,
        max_line_age: Duration::from_secs(25),
        knocker_prefix: KnockerPrefix::default(),
        udp_peers: Vec::new(),
        relay_user: None,
    };
    assert_eq!(config.log, log);
    let daemon = Daemon {
        on_exit: OnExit::Close,
        stop_timeout: Duration::from_secs(20),
        command_timeout: Duration::from_secs(10),
        max_commands: 8,
        ephemeral: false,
        control: None,
        group: None,
        metrics_file: None,
        event_log: None,
        knockd_log: None,
        knockd_syslog: false,
    };
    assert_eq!(config.daemon, daemon);
}

#[test]
fn a_source_has_a_prefix_and_doors_of_its_own() {
    let config = read(&format!(
        "[log]\nsources = [\"kmsg\"]\nprefix = \"lk-4f9a1c7e: \"\n\
         [[log.source]]\npath = \"/var/log/gw2.log\"\nprefix = \"lk-77aa1c7e: \"\ndoors = [\"ssh\"]\n\
         [[log.source]]\npath = \"/var/log/gw3.log\"\n{DOOR}"
    ));
    let log = &config.log;
    let of = |path: &str| -> SourceSpec { path.parse().unwrap() };
    let prefix = |path: &str| log.prefix_of(&of(path)).unwrap().as_bytes();
    let doors = |path: &str| log.doors_of(&of(path)).map(<[_]>::len);
    assert_eq!(log.sources.len(), 3);
    assert_eq!(
        (prefix("/var/log/gw2.log"), doors("/var/log/gw2.log")),
        (&b"lk-77aa1c7e: "[..], Some(1))
    );
    assert_eq!(
        (prefix("/var/log/gw3.log"), doors("/var/log/gw3.log")),
        (&b"lk-4f9a1c7e: "[..], None)
    );
    assert_eq!(
        (prefix("kmsg"), doors("kmsg")),
        (&b"lk-4f9a1c7e: "[..], None)
    );
}

#[test]
fn every_key_of_the_firewall_reaches_it() {
    let config = read(
        "[firewall]\nbackend = \"nft\"\nalways_allow = [\"192.0.2.0/24\"]\npublic = [\"443:udp\", 80]\nheal = true\n\
         [door.x]\nsequence = [7001, 8002]\nopens = [22]\n",
    );
    let firewall = config.firewall.as_ref().unwrap();
    let always: [IpNet; 1] = ["192.0.2.0/24".parse().unwrap()];
    assert_eq!(firewall.always_allow, always);
    let public = [(80, Transport::Tcp), (443, Transport::Udp)];
    let public = public.map(|(port, transport)| Step { port, transport });
    assert_eq!(*firewall.public, public);
    assert_eq!(*config.doors[0].scope.public, public);
    assert!(firewall.heal);
}

#[test]
fn every_key_reaches_the_door() {
    let door = door(
        "seq_timeout = \"15s\"\nknock_timeout = 5\nmin_gap = 0.1\ntcpflags = [\"fin\", \"!ACK\"]\n\
         interface = \"eth0\"\ntarget = \"::ffff:192.0.2.1\"\nallow = [\"192.0.2.7\"]\n\
         deny = [\"2001:db8::/32\"]\nstrict = false\nstop_command = [\"/bin/close\", \"%IP%\"]\n\
         cmd_timeout = \"1m\"\non_repeat = \"reopen\"\n",
    );
    let scope = Scope {
        flags_set: TcpFlags::FIN,
        flags_clear: TcpFlags::ACK,
        interface: Some("eth0".into()),
        target: Some(IpAddr::from([192, 0, 2, 1])),
        allow: vec!["192.0.2.7/32".parse().unwrap()],
        deny: vec!["2001:db8::/32".parse().unwrap()],
        public: Box::default(),
    };
    assert_eq!(door.scope, scope);
    let steps = [(7001, Transport::Tcp), (8002, Transport::Udp)];
    let steps = steps.map(|(port, transport)| Step { port, transport });
    assert_eq!(rule(&door).sequence.steps(), steps);
    assert_eq!(rule(&door).pace.window, Duration::from_secs(15));
    assert_eq!(rule(&door).pace.knock_timeout, Some(Duration::from_secs(5)));
    assert_eq!(rule(&door).pace.min_gap, Some(Duration::from_millis(100)));
    assert_eq!(rule(&door).pace.other_ports, OtherPorts::Ignore);
    assert_eq!(door.grant.hold, Duration::from_secs(60));
    assert_eq!(door.grant.on_repeat, OnRepeat::Reopen);
    assert_eq!(
        argv(door.grant.open.v4.as_ref()),
        ["/bin/open", "192.0.2.7"]
    );
    assert_eq!(
        argv(door.grant.close.v4.as_ref()),
        ["/bin/close", "192.0.2.7"]
    );
}

#[test]
fn a_step_is_read_in_every_form() {
    for text in [
        "7001",
        "\"7001\"",
        "\"7001:tcp\"",
        "\" 7001 : TCP\"",
        "0x1B59",
    ] {
        let text = format!("[door.x]\nsequence = [{text}, 1]\nstart_command = \"/bin/true\"\n");
        let door = Door::clone(&read(&text).doors[0]);
        let step = Step {
            port: 7001,
            transport: Transport::Tcp,
        };
        assert_eq!(rule(&door).sequence.steps()[0], step, "{text}");
    }
}

#[test]
fn flags_that_are_given_replace_the_default_wholly() {
    let scope = door("tcpflags = []\n").scope;
    assert_eq!(scope.flags_set, TcpFlags::NONE);
    assert_eq!(scope.flags_clear, TcpFlags::NONE);
}

#[test]
fn a_missing_command_for_ipv6_is_that_of_ipv4() {
    let grant = door("stop_command = \"/bin/close\"\n").grant;
    assert_eq!(grant.open.v6, grant.open.v4);
    assert_eq!(grant.close.v6, grant.close.v4);
    assert!(grant.open.v6.is_some() && grant.close.v6.is_some());
}

#[test]
fn an_empty_command_for_ipv6_is_none() {
    for empty in ["\"\"", "[]", "\"  \""] {
        let grant = door(&format!(
            "start_command_6 = {empty}\nstop_command = \"/bin/close\"\n"
        ))
        .grant;
        assert!(grant.open.v4.is_some() && grant.close.v4.is_some());
        assert_eq!(grant.open.v6, None);
        assert_eq!(grant.close.v6, None, "what is not opened is not closed");
    }
}

#[test]
fn a_door_may_be_for_ipv6_alone() {
    let config = read(
        "[door.x]\nsequence = [1, 3]\nstart_command_6 = \"/bin/open\"\nstop_command_6 = \"/bin/close\"\n",
    );
    let grant = &config.doors[0].grant;
    assert_eq!((&grant.open.v4, &grant.close.v4), (&None, &None));
    assert!(grant.open.v6.is_some() && grant.close.v6.is_some());
    assert_eq!(config.warnings, []);
}

#[test]
fn a_command_string_is_split_unless_a_shell_is_asked_for() {
    let split = read("[door.x]\nsequence = [1, 3]\nstart_command = \"/bin/a 'b c' %IP%\"\n");
    assert_eq!(
        argv(split.doors[0].grant.open.v4.as_ref()),
        ["/bin/a", "b c", "192.0.2.7"]
    );
    let shell =
        read("[door.x]\nsequence = [1, 3]\nshell = true\nstart_command = \"a 'b c' %IP% | d\"\n");
    assert_eq!(
        argv(shell.doors[0].grant.open.v4.as_ref()),
        ["/bin/sh", "-c", "a 'b c' 192.0.2.7 | d"]
    );
}

#[test]
fn defaults_hold_where_the_door_says_nothing() {
    let text = format!(
        "[defaults]\nseq_timeout = 7\nstrict = false\ncmd_timeout = 30\n{DOOR}seq_timeout = 9\n"
    );
    let config = read(&text);
    let door = &config.doors[0];
    assert_eq!(rule(door).pace.window, Duration::from_secs(9));
    assert_eq!(rule(door).pace.other_ports, OtherPorts::Ignore);
    assert_eq!(door.grant.hold, Duration::from_secs(30));
    assert_eq!(config.warnings, [], "a default is meant for other doors");
}

#[test]
fn lines_are_fresh_for_the_longest_window_but_not_for_ever() {
    let two = |first: u32, second: u32| {
        let text = format!(
            "{DOOR}seq_timeout = {first}\n[door.b]\nsequence = [1, 3]\nstart_command = \"/b\"\n\
             seq_timeout = {second}\n"
        );
        read(&text).log.max_line_age
    };
    assert_eq!(two(5, 12), Duration::from_secs(12));
    assert_eq!(two(5, 1200), Duration::from_secs(30));
    let given = read(&format!("[log]\nmax_line_age = \"5m\"\n{DOOR}"));
    assert_eq!(given.log.max_line_age, Duration::from_secs(300));
}

#[test]
fn doors_come_in_the_order_of_the_file() {
    let door = |name: &str, port: u16| {
        format!("[door.{name}]\nsequence = [{port}, 1]\nstart_command = \"/b\"\n")
    };
    let config = read(&[door("z", 1), door("a", 2), door("m", 3)].concat());
    let names: Vec<&str> = config.doors.iter().map(|door| &*door.name).collect();
    assert_eq!(names, ["z", "a", "m"]);
}

#[test]
fn inclusive_limits_are_not_impossible() {
    let door = door("min_gap = 2\nknock_timeout = 2\nseq_timeout = 2\n");
    assert_eq!(rule(&door).pace.min_gap, Some(Duration::from_secs(2)));
}

#[test]
fn debug_shows_no_secret() {
    let text = format!("[log]\nprefix = \"lk-4f9a1c7e: \"\n{DOOR}");
    let debug = format!("{:?}", read(&text));
    for secret in ["7001", "8002", "4f9a1c7e"] {
        assert!(!debug.contains(secret), "{debug}");
    }
}

#[test]
fn a_file_full_of_mistakes_is_answered_shortly() {
    let doors: Vec<String> = (0..3000).map(|n| format!("[door.d{n}]\nx = 1\n")).collect();
    let errors = parse("x.toml", &doors.concat()).unwrap_err();
    assert_eq!(errors.diagnostics.len(), 100);
    assert_eq!(errors.suppressed, 3 * 3000 - 100);
    assert!(errors.to_string().ends_with("… and 8900 more"));
}

#[test]
fn arrays_are_bounded() {
    for (key, item, most) in [
        ("sequence", "7001", 32),
        ("allow", "\"192.0.2.1\"", 256),
        ("tcpflags", "\"syn\"", 18),
    ] {
        let array = |count: usize| format!("{key} = [{}]\n", vec![item; count].join(", "));
        let others = if key == "sequence" {
            ""
        } else {
            "sequence = [1, 3]\n"
        };
        let text = |count| format!("[door.a]\n{others}start_command = \"/b\"\n{}", array(count));
        assert!(parse("x.toml", &text(most)).is_ok(), "{key}");
        let errors = parse("x.toml", &text(most + 1)).unwrap_err().to_string();
        assert!(errors.contains(&format!("more than {most} ")), "{errors}");
    }
}

#[test]
fn a_mistake_in_the_defaults_is_reported_once() {
    let door = |name: &str| format!("[door.{name}]\nsequence = [{}, 9]\n", name.len());
    let text = format!(
        "[defaults]\nstart_command = [\"%WHO%\"]\n{}{}",
        door("a"),
        door("bb")
    );
    let errors = parse("x.toml", &text).unwrap_err();
    assert_eq!(errors.diagnostics.len(), 1, "{errors}");
}

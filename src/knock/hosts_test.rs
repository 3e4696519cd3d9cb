//! hosts.toml: what a host may be, and all its mistakes without a port.

use super::*;
use std::time::Duration;

use crate::config::one_time::{Code, Form};
use crate::engine::sequence::Step;

const HOME: &str = r#"
[host.home]
address = "192.0.2.1"
knock   = [7000, "8000:UDP", "ssh"]
delay   = "200ms"
wait    = 22

[host.work]
address = "gw.example"
knock   = [0x1f40]
"#;

fn read(text: &str) -> Result<Vec<Host>, HostsError> {
    parse("hosts.toml", text, &Services::of("ssh 22/tcp\n"))
}

/// The one host of a text that is right.
fn host(text: &str) -> Host {
    let [host] = &read(text).unwrap()[..] else {
        panic!("no host, or several");
    };
    host.clone()
}

/// What is wrong, as it is said.
fn said(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

fn steps(host: &Host) -> &[Step] {
    match &host.knock {
        Knock::Steps(steps) => steps,
        Knock::Totp(..) => panic!("it has no steps of its own"),
    }
}

#[test]
fn a_host_has_an_address_and_a_knock() {
    let hosts = read(HOME).unwrap();
    let [home, _] = &hosts[..] else {
        panic!("{hosts:?}")
    };
    assert_eq!(home.name, "home");
    assert_eq!(home.address, "192.0.2.1");
    let knock: Vec<_> = steps(home)
        .iter()
        .map(|step| (step.port, step.transport))
        .collect();
    let expected = [
        (7000, Transport::Tcp),
        (8000, Transport::Udp),
        (22, Transport::Tcp),
    ];
    assert_eq!(knock, expected);
    assert_eq!(home.delay, Some(Duration::from_millis(200)));
    assert_eq!(home.wait, Some(22));
}

#[test]
fn delay_and_wait_may_be_left_out() {
    let hosts = read(HOME).unwrap();
    let [_, work] = &hosts[..] else {
        panic!("{hosts:?}")
    };
    assert_eq!(work.name, "work");
    assert_eq!(
        (steps(work)[0].port, work.delay, work.wait),
        (8000, None, None)
    );
}

#[test]
fn an_empty_file_has_no_hosts() {
    assert!(read("# nothing yet\n").unwrap().is_empty());
}

#[test]
fn all_mistakes_are_told_by_their_places() {
    let text = r#"
port = 1
[host.home]
address = 7
knock = [7001, "8002:xyz", 90030, true]
delay = 200
wait = "53:udp"
user = "me"
[host.work]
knock = []
"#;
    assert_eq!(
        said(text),
        "\
hosts.toml:2:1: unknown section; hosts are written [host.NAME]
hosts.toml:4:11: must be a name or an address, but is an integer
hosts.toml:5:16: step 2: the protocol is 'tcp' or 'udp', as in 8000:udp
hosts.toml:5:28: step 3: ports are 1 to 65535, written as 8000 or 8000:udp
hosts.toml:5:35: must be a port, as 7000 or \"8000:udp\", but is a boolean
hosts.toml:6:9: must be a delay with its unit, as \"200ms\", but is an integer
hosts.toml:7:8: only a TCP port shows whether it is open
hosts.toml:8:1: unknown key; valid are address, knock, totp, delay, wait, once
hosts.toml:9:7: this host has no 'address'
hosts.toml:10:9: a knock has at least one step"
    );
}

#[test]
fn a_secret_stands_in_place_of_a_knock_in_short_or_with_its_form() {
    let totp =
        |value: &str| host(&format!("[host.home]\naddress = \"gw\"\ntotp = {value}\n")).knock;
    let usual = Form::default();
    assert_eq!(
        totp("\"a.key\""),
        Knock::Totp("a.key".into(), usual, Vec::new())
    );
    let long =
        "{ secret_file = \"/b\", knocks = 6, ports = \"1-9\", step = \"1m\", proto = \"udp\" }";
    let form = Form {
        knocks: Some(6),
        ports: Some((1, 9)),
        step: Some(60),
        transport: Transport::Udp,
        code: None,
    };
    assert_eq!(totp(long), Knock::Totp("/b".into(), form, Vec::new()));
}

#[test]
fn a_code_is_knocked_behind_its_beginning() {
    let written = |code: &str| {
        let code = format!("{{ secret_file = \"/b\", code = {code} }}");
        format!("[host.h]\naddress = \"gw\"\nknock = [7, \"8:udp\"]\ntotp = {code}\n")
    };
    let step = |port, transport| Step { port, transport };
    for (form, code) in [
        ("{}", Code::default()),
        (
            "{ digits = 8, per_knock = 4, base = 30000 }",
            Code {
                digits: 8,
                per_knock: 4,
                base: 30_000,
            },
        ),
    ] {
        let Knock::Totp(_, form, beginning) = host(&written(form)).knock else {
            panic!("no totp");
        };
        assert_eq!(form.code, Some(code));
        let before = [step(7, Transport::Tcp), step(8, Transport::Udp)];
        assert_eq!(beginning, before);
    }
    for wrong in ["{ digits = 7 }", "{ base = 65437 }", "{ window = 1 }", "6"] {
        assert!(read(&written(wrong)).is_err(), "{wrong}");
    }
    let without = written("{}").replace("knock =", "delay = \"1s\" #");
    assert!(read(&without).is_err(), "a code without a beginning");
}

#[test]
fn a_totp_that_is_none_is_told() {
    let text = r#"
[host.a]
address = "a"
totp = 7
[host.b]
address = "b"
totp = { knocks = 4 }
[host.c]
address = "c"
totp = { secret_file = "c", step = "1.5s", skew = 1 }
[host.d]
address = "d"
totp = "d"
knock = [1]
"#;
    assert_eq!(
        said(text),
        "\
hosts.toml:4:8: must be a table such as { secret_file = \"FILE\" }, but is an integer
hosts.toml:7:8: 'totp' names no 'secret_file'
hosts.toml:10:36: must be whole seconds, from 1 to 86400
hosts.toml:10:44: unknown key; valid are secret_file, code, knocks, ports, step, proto
hosts.toml:11:7: a host has 'knock', 'totp', or a 'totp' with a 'code' behind its 'knock'"
    );
}

#[test]
fn a_syntax_error_is_shown_at_its_place() {
    let said = said("[host.home]\nknock = [7001, \"8002:udp]\n");
    assert!(said.starts_with("hosts.toml:2:"), "{said}");
}

/// Every file that one lost character makes of a right one, searched for what must not be shown.
#[test]
fn no_mistake_shows_a_port() {
    let text =
        "[host.home]\naddress = \"192.0.2.1\"\nknock = [7001, \"8002:udp\", 9003]\nwait = 22\n";
    let mut wrong = 0;
    for at in 0..text.len() {
        for put in ["", "x", "\"", "]", "=", "9"] {
            let damaged = format!("{}{put}{}", &text[..at], &text[at + 1..]);
            let Err(mistakes) = read(&damaged) else {
                continue;
            };
            wrong += 1;
            let said = mistakes.to_string();
            for secret in ["7001", "8002", "9003", "001", "002", "003"] {
                assert!(!said.contains(secret), "{said}");
            }
        }
    }
    assert!(wrong > 100, "{wrong}");
}

#[test]
fn debug_says_nothing_of_the_ports() {
    let debug = format!("{:?}", read(HOME));
    assert!(
        !debug.contains("7000") && !debug.contains("8000"),
        "{debug}"
    );
}

#[test]
fn the_file_is_where_xdg_says_or_in_the_home_directory() {
    let home = || Some(PathBuf::from("/home/me"));
    let at = |config_home: Option<&str>, home| path(config_home.map(OsString::from), home);
    let in_home = Some(PathBuf::from("/home/me/.config/logknock/hosts.toml"));
    assert_eq!(at(None, home()), in_home);
    assert_eq!(at(Some(""), home()), in_home);
    assert_eq!(at(Some("relative"), home()), in_home);
    let elsewhere = Some(PathBuf::from("/etc/me/logknock/hosts.toml"));
    assert_eq!(at(Some("/etc/me"), home()), elsewhere);
    assert_eq!(at(Some("/etc/me"), None), elsewhere);
    assert_eq!(at(None, None), None);
}

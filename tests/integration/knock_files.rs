//! The client's files: hosts by name, and the settings of Open Sesamy's client.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use tempfile::TempDir;

use super::knock::{code, datagram_socket, knock, port, run, said, unread};

/// A configuration directory with a `hosts.toml` of this mode.
fn hosts(text: &str, mode: u32) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("logknock/hosts.toml");
    fs::create_dir(dir.path().join("logknock")).unwrap();
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    dir
}

fn run_at(hosts: &TempDir, line: &str) -> Output {
    knock(line)
        .env("XDG_CONFIG_HOME", hosts.path())
        .output()
        .unwrap()
}

#[test]
fn a_named_host_is_knocked_as_hosts_toml_says() {
    let socket = datagram_socket();
    let door = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!(
        "[host.home]\naddress = \"127.0.0.1\"\nknock = [\"{0}:udp\", \"{0}:udp\"]\ndelay = \"10ms\"\nwait = {1}\n",
        port(&socket),
        door.local_addr().unwrap().port()
    );
    let output = run_at(&hosts(&text, 0o600), "home");
    assert_eq!(code(&output), 0, "{output:?}");
    assert_eq!(unread(&socket), 2);
    door.set_nonblocking(true).unwrap();
    assert!(door.accept().is_ok(), "the port waited for was tried");
}

const KEY: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZA\n";

/// The same with the file of a secret beside it.
/// The one connection would be spent by looking whether the port is open.
#[test]
fn a_host_that_lets_in_one_connection_is_waited_for_with_proxy_alone() {
    let (socket, door) = (datagram_socket(), TcpListener::bind("127.0.0.1:0").unwrap());
    let door = door.local_addr().unwrap().port();
    let text = format!(
        "[host.home]\naddress = \"127.0.0.1\"\nknock = [\"{0}:udp\", \"{0}:udp\"]\nonce = true\n",
        port(&socket)
    );
    let hosts = hosts(&text, 0o600);
    let refused = run_at(&hosts, &format!("home --wait {door}"));
    assert_eq!((code(&refused), unread(&socket)), (2, 0));
    let line = format!("ProxyCommand logknock knock home --wait {door} --proxy");
    assert!(said(&refused.stderr).contains(&line), "{refused:?}");
    assert_eq!(code(&run_at(&hosts, "home")), 0);
    assert_eq!(unread(&socket), 2);
    let wrong = text.replace("true", "1");
    let refused = run_at(&self::hosts(&wrong, 0o600), "home");
    assert!(
        said(&refused.stderr).contains("must be true or false"),
        "{refused:?}"
    );
}

fn with_secret(text: &str, mode: u32) -> TempDir {
    let dir = hosts(text, 0o600);
    let path = dir.path().join("logknock/home.key");
    fs::write(&path, KEY).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    dir
}

#[test]
fn a_named_host_with_a_secret_is_knocked_at_the_ports_of_the_moment() {
    let socket = datagram_socket();
    // A range of one port: the same at every moment.
    let text = format!(
        "[host.home]\naddress = \"127.0.0.1\"\ndelay = \"10ms\"\n\
         totp = {{ secret_file = \"home.key\", knocks = 3, ports = \"{0}-{0}\", proto = \"udp\" }}\n",
        port(&socket)
    );
    let output = run_at(&with_secret(&text, 0o600), "home");
    assert_eq!(code(&output), 0, "{output:?}");
    assert_eq!(unread(&socket), 3);

    let text = "[host.home]\naddress = \"127.0.0.1\"\ntotp = \"home.key\"\n";
    let dir = with_secret(text, 0o600);
    // A step of a day: the two agree but at midnight.
    let named = run_at(&dir, "home --step 86400 -u --dry-run");
    let secret = dir.path().join("logknock/home.key");
    let line = "127.0.0.1 --step 86400 -u --dry-run --totp";
    let given = run(&format!("{line} {}", secret.display()));
    assert_eq!(said(&named.stdout).lines().count(), 4);
    assert_eq!(named.stdout, given.stdout);
}

const OTHERS_MAY_READ_OR_WRITE: [u32; 3] = [0o640, 0o604, 0o620];

/// What is said of a file of this mode, which is refused with what to do about it.
fn refused(output: &Output, mode: u32) -> String {
    assert_eq!(code(output), 77, "{mode:o}");
    assert_eq!(output.stdout, b"");
    let said = said(&output.stderr);
    assert!(said.contains("chmod 600"), "{said}");
    said
}

#[test]
fn a_secret_that_others_can_read_is_refused() {
    let text = "[host.home]\naddress = \"127.0.0.1\"\ntotp = \"home.key\"\n";
    for mode in OTHERS_MAY_READ_OR_WRITE {
        let output = run_at(&with_secret(text, mode), "home --dry-run");
        let said = refused(&output, mode);
        assert!(
            said.contains("home.key: ") && !said.contains("GEZD"),
            "{said}"
        );
    }
}

#[test]
fn the_command_line_overrides_what_hosts_toml_says() {
    let text = "[host.home]\naddress = \"127.0.0.1\"\nknock = [7001, 8002]\ndelay = \"10ms\"\n";
    let output = run_at(&hosts(text, 0o600), "home -d 300 -u --dry-run --wait ssh");
    assert_eq!(
        said(&output.stdout),
        "  0.000s  would hit udp 127.0.0.1:7001\n  0.300s  would hit udp 127.0.0.1:8002\n\
         would wait for tcp 127.0.0.1:22\n"
    );
}

#[test]
fn hosts_that_others_can_read_are_refused() {
    let text = "[host.home]\naddress = \"127.0.0.1\"\nknock = [7001]\n";
    for mode in OTHERS_MAY_READ_OR_WRITE {
        let output = run_at(&hosts(text, mode), "home --dry-run");
        let said = refused(&output, mode);
        assert!(!said.contains("7001"), "{said}");
    }
}

#[test]
fn a_broken_hosts_file_is_told_without_its_ports() {
    let text = "[host.home]\naddress = \"127.0.0.1\"\nknock = [7001, \"8002:xyz\"]\n";
    let output = run_at(&hosts(text, 0o600), "home");
    assert_eq!(code(&output), 78);
    let said = said(&output.stderr);
    assert!(
        said.contains("hosts.toml:3:16: step 2: the protocol"),
        "{said}"
    );
    assert!(!said.contains("7001") && !said.contains("8002"), "{said}");
}

#[test]
fn an_unknown_name_is_an_error_with_the_fix() {
    let text = "[host.home]\naddress = \"127.0.0.1\"\nknock = [7001]\n";
    for output in [run_at(&hosts(text, 0o600), "hoem"), run("hoem")] {
        assert_eq!(code(&output), 2);
        let said = said(&output.stderr);
        assert!(said.contains("[host.hoem]"), "{said}");
        assert!(!said.contains("7001"), "{said}");
    }
}

#[test]
fn portknockers_settings_are_counts_over_udp() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("knocksettings.txt");
    fs::write(&path, "127.0.0.1 4433\r\n1111 3000 1 00:00:5E:00:53:01\r\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let output = run(&format!("--settings {} --dry-run", path.display()));
    assert_eq!(
        said(&output.stdout),
        "  0.000s  would hit udp 127.0.0.1:4433\n  3.375s  would hit udp 127.0.0.1:4433\n  \
         6.750s  would hit udp 127.0.0.1:4433\n 10.125s  would hit udp 127.0.0.1:4433\n"
    );
}

//! `totp` and `knock --totp`: a secret is made, its ports are shown, and they are what the door takes.

use super::logknock::Logknock;

const RFC: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZA\n";

#[test]
fn the_ports_of_a_secret_at_a_time_are_those_of_the_vectors() {
    let logknock = Logknock::new().file("key", RFC);
    logknock
        .run("totp --secret-file key --at 1700000000")
        .succeeds()
        .prints("26632 23562 25984 24664\n10 s left\n")
        .says_nothing();
    logknock
        .run("totp --secret-file key --knocks 8 --ports 1-65535 --step 60 --at 2023-11-14T22:13:20Z --udp --json")
        .succeeds()
        .prints(
            "{\"time\":\"2023-11-14T22:13:20Z\",\"until\":\"2023-11-14T22:14:00Z\",\"seconds_left\":40,\
             \"ports\":[\"62566:udp\",\"2544:udp\",\"3716:udp\",\"60637:udp\",\"41813:udp\",\"63723:udp\",\
             \"2264:udp\",\"60756:udp\"]}\n",
        );
}

#[test]
fn a_new_secret_is_its_owners_alone_fits_a_config_and_is_overwritten_by_none() {
    use std::os::unix::fs::MetadataExt as _;
    let logknock = Logknock::new();
    let made = logknock.run("totp --new key").succeeds().says_nothing();
    let rights = std::fs::metadata(logknock.path("key")).unwrap().mode();
    assert_eq!(rights & 0o777, 0o600);
    let key = logknock.read("key");
    assert!(key.trim_end().len() == 52 && !made.stdout.contains(key.trim_end()));
    logknock.run("totp --new key").fails_with(1);
    assert_eq!(logknock.read("key"), key);

    let logknock = logknock.config(&format!(
        "[log]\nprefix = \"lk-4f9a1c7e: \"\n[door.ssh]\n{}start_command = \"/bin/true\"\n[door.web]\nsequence = [7001, 9002]\n\
         start_command = \"/bin/true\"\n",
        made.stdout
    ));
    logknock.run("check").succeeds();
    let at = "--at 1700000000";
    let by_door = logknock.run(&format!("totp --door ssh {at}")).succeeds();
    logknock
        .run(&format!("totp --secret-file key {at}"))
        .prints(&by_door.stdout);
    logknock.run("totp --door web").fails_with(1);
    logknock.run("totp --door none").fails_with(1);
    logknock.run("totp").fails_with(2);
}

#[test]
fn the_client_knocks_the_ports_of_this_moment() {
    let logknock = Logknock::new().file("key", RFC);
    // A step of a day: the two agree but at midnight.
    let shown = logknock
        .run("totp --secret-file key --step 86400")
        .succeeds();
    let ports: Vec<_> = shown.stdout.lines().next().unwrap().split(' ').collect();
    let knocked = logknock
        .run("knock 127.0.0.1 --totp key --step 86400 --dry-run")
        .succeeds();
    assert_eq!(knocked.stdout.lines().count(), ports.len());
    for (line, port) in knocked.stdout.lines().zip(ports) {
        assert!(line.contains(port), "{line}");
    }
    logknock.write("key", "no key: 0189");
    logknock
        .run("knock 127.0.0.1 --totp key --dry-run")
        .fails_with(78)
        .says("not base32");
}

//! A knockd.conf on the command line: every command takes it as it is, and `convert` prints TOML.

use super::logknock::Logknock;

const PREFIX: &str = "lk-4f9a1c7e: ";

/// A knockd.conf with a door for 7000, 8000 and 9000 that notes in `acts` what was done, and a `LogFile`.
fn knockd() -> Logknock {
    let logknock = Logknock::new();
    std::fs::create_dir(logknock.path("log")).unwrap();
    let [log, acts] =
        ["log/knockd.log", "acts"].map(|name| logknock.path(name).display().to_string());
    logknock.write("prefix", format!("{PREFIX}\n"));
    let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(logknock.path("prefix"), owner_only).unwrap();
    let prefix = logknock.path("prefix").display().to_string();
    let text = format!(
        "#logknock: prefix-file = {prefix}\n[options]\n\tLogFile = {log}\n[ssh]\n\tSequence = 7000,8000,9000\n\tTCPFlags = syn\n\
         \tStart_Command = echo open %IP% >> {acts}\n\tCmd_Timeout = 1\n\
         \tStop_Command = echo close %IP% >> {acts}\n"
    );
    logknock
        .file("knockd.conf", text)
        .set("LOGKNOCK_CONFIG", "knockd.conf")
}

// ── as it is ──

#[test]
fn a_knockd_conf_opens_and_closes_and_its_log_file_tells_in_knockds_words() {
    let logknock = knockd();
    let daemon = logknock.follow("");
    logknock.knock("203.0.113.7");
    logknock.awaits_act("close 203.0.113.7");
    daemon.signal(rustix::process::Signal::TERM);
    assert_eq!(daemon.ends(), 0);
    let log = logknock.read("log/knockd.log");
    let lines: Vec<_> = log.lines().map(|line| &line[19..]).collect();
    let acts = logknock.path("acts").display().to_string();
    let expected = [
        format!(
            "starting up, listening on {}",
            logknock.path("kern.log").display()
        ),
        "203.0.113.7: ssh: Stage 1".to_owned(),
        "203.0.113.7: ssh: Stage 2".to_owned(),
        "203.0.113.7: ssh: Stage 3".to_owned(),
        "203.0.113.7: ssh: OPEN SESAME".to_owned(),
        format!("ssh: running command: echo open 203.0.113.7 >> {acts}"),
        "203.0.113.7: ssh: command timeout".to_owned(),
        format!("ssh: running command: echo close 203.0.113.7 >> {acts}"),
        "shutting down".to_owned(),
    ];
    assert_eq!(lines, expected);
    assert!(!log.contains("7000") && !log.contains(PREFIX), "{log}");
}

#[test]
fn a_knockd_conf_without_a_prefix_is_refused_for_every_source() {
    let logknock = knockd().file("kern.log", "");
    let text = logknock.read("knockd.conf").replace("#logknock:", "#");
    logknock.write("knockd.conf", text);
    for source in ["kern.log", "kmsg"] {
        let daemon = logknock.run(&format!("--follow {source} --dry-run"));
        let check = logknock.run(&format!("check --follow {source}"));
        for ended in [daemon.prints_nothing(), check] {
            ended.fails_with(78).says("#logknock: prefix-file = ");
        }
    }
    let check = logknock.run("check").fails_with(78);
    check.says("#logknock: prefix-file = ");
}

#[test]
fn a_dry_run_leaves_the_log_file_alone() {
    let logknock = knockd();
    let daemon = logknock.follow("--dry-run");
    daemon.signal(rustix::process::Signal::TERM);
    assert_eq!(daemon.ends(), 0);
    assert!(!logknock.path("log/knockd.log").exists());
}

#[test]
fn check_replay_explain_and_rules_take_a_knockd_conf() {
    let logknock = knockd();
    logknock.knock("203.0.113.7");
    let checked = logknock.run("check").succeeds();
    checked.prints_among_others("ssh       3 knocks within 25s, not strict, one in about 6 port scans in random order opens it, open for 1s");
    let replayed = logknock.run("replay kern.log").succeeds();
    replayed.prints_among_others("open");
    let explained = logknock
        .run("explain 203.0.113.7 --log kern.log")
        .succeeds();
    explained.prints_among_others("open");
    let rules = logknock
        .run("rules --for nft --prefix lk-4f9a1c7e:")
        .succeeds();
    rules.prints_among_others("log prefix \"lk-4f9a1c7e:\"");
}

// ── convert ──

#[test]
fn what_is_converted_is_checked_as_good() {
    let logknock = knockd();
    let converted = logknock
        .run("convert knockd.conf")
        .succeeds()
        .says_nothing();
    logknock.write("new.toml", &converted.stdout);
    let checked = logknock.run("check --config new.toml").succeeds();
    checked.prints_among_others("ssh       3 knocks within 25s, not strict, one in about 6 port scans in random order opens it, open for 1s");
}

#[test]
fn convert_reads_standard_input_too_and_warns_on_stderr() {
    let text = b"[A]\nsequence = 7001,8002 # mine\ncommand = /bin/true\ntcpflags = syn\n";
    let ended = Logknock::new().run_on("convert -", text).succeeds();
    let ended =
        ended.says("warning: step 2: knockd does not read what is behind the port\n --> -:2:17\n");
    ended.prints_among_others("sequence = [7001, 8002]");
}

#[test]
fn convert_prints_nothing_when_it_fails() {
    let logknock = Logknock::new()
        .file("knockd.conf", "[A]\nsequence = 7001:icmp\n")
        .file(
            "logknock.toml",
            "[door.a]\nsequence = [7001, 8002]\nstart_command = \"x\"\n",
        );
    for (arguments, code, says) in [
        ("convert knockd.conf", 78, " --> knockd.conf:2:12\n"),
        ("convert logknock.toml", 78, "TOML already"),
        (
            "convert nowhere.conf",
            69,
            "nowhere.conf: there is no such file",
        ),
    ] {
        logknock
            .run(arguments)
            .fails_with(code)
            .prints_nothing()
            .says(says);
    }
}

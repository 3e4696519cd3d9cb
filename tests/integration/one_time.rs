//! Doors whose sequences open once, as the real binary: replayed, from elsewhere, after a crash, from a
//! list that somebody else has changed.

use logknock::clock;
use logknock::engine::sequence::{Step, Transport};
use logknock::engine::totp::{MAX_SKEW, Secret, Totp, TotpKeys};
use rustix::process::Signal;

use super::logknock::{Logknock, PREFIX, Running};

const KEY: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
/// A day, so that no test runs from one step into the next but by its own skew.
const STEP: u32 = 86_400;

/// A door that notes in `acts` what was done.
fn door(keys: &str) -> Logknock {
    let logknock = Logknock::new();
    let acts = logknock.path("acts").display().to_string();
    let list = logknock.path("list").display().to_string();
    let keys = keys.replace("LIST", &list);
    logknock.config(&format!(
        "[log]\nprefix = \"{PREFIX}\"\n[door.ssh]\n{keys}\n\
         start_command = [\"/bin/sh\", \"-c\", \"echo open $1 >> $2\", \"sh\", \"%IP%\", \"{acts}\"]\n\
         stop_command = [\"/bin/sh\", \"-c\", \"echo close $1 >> $2\", \"sh\", \"%IP%\", \"{acts}\"]\n"
    ))
}

fn totp_door() -> Logknock {
    door(&format!(
        "totp = {{ secret = \"{KEY}\", step = \"24h\" }}\ncmd_timeout = \"1h\""
    ))
}

/// The ports of the step `later` than this one.
fn ports(later: i64) -> Vec<u16> {
    let totp = Totp::new(TotpKeys {
        secret: Secret::new(b"12345678901234567890".to_vec()).unwrap(),
        knocks: 4,
        ports: (20_000, 29_999),
        transport: Transport::Tcp,
        step: STEP,
        skew: 1,
        beginning: None,
    });
    let (totp, now) = (totp.unwrap(), clock::wall_now().as_nanos() / 1_000_000_000);
    let number = totp.number_at(now + later * i64::from(STEP)).unwrap();
    let sequence = totp.sequence(number).unwrap();
    sequence.steps().iter().map(|step| step.port).collect()
}

fn knock(logknock: &Logknock, src: &str, ports: &[u16]) {
    let lines = ports.iter().map(|&port| logknock.packet(src, port));
    logknock.append("kern.log", &lines.collect::<String>());
}

/// Waits for the next event of this kind, with what is said of it.
fn event(daemon: &mut Running, kind: &str) -> serde_json::Value {
    serde_json::from_str(&daemon.says(&format!("\"event\":\"{kind}\""))).unwrap()
}

/// Waits until a knock of `src` is refused. A daemon that was killed may leave lines to be read again,
/// and refused again, by the next one.
fn refused(daemon: &mut Running, src: &str) {
    loop {
        let event = event(daemon, "refused");
        assert_eq!(event["reason"], "used");
        if event["src"] == src {
            return;
        }
    }
}

#[test]
fn a_captured_totp_knock_is_refused_at_once_from_elsewhere_and_after_a_crash() {
    let logknock = totp_door();
    let mut daemon = logknock.follow("--json");
    let captured = ports(0);
    knock(&logknock, "203.0.113.7", &captured);
    logknock.awaits_act("open 203.0.113.7");
    knock(&logknock, "203.0.113.7", &captured);
    refused(&mut daemon, "203.0.113.7");
    knock(&logknock, "198.51.100.66", &captured);
    refused(&mut daemon, "198.51.100.66");
    daemon.signal(Signal::KILL);
    assert_eq!(daemon.ends(), -9);

    let mut daemon = logknock.follow("--json");
    knock(&logknock, "198.51.100.67", &captured);
    refused(&mut daemon, "198.51.100.67");
    knock(&logknock, "198.51.100.68", &ports(-1));
    refused(&mut daemon, "198.51.100.68");
    knock(&logknock, "192.0.2.9", &ports(1));
    logknock.awaits_act("open 192.0.2.9");
    assert_eq!(logknock.read("acts"), "open 203.0.113.7\nopen 192.0.2.9\n");
}

#[test]
fn a_used_step_stays_used_over_a_reload_that_takes_the_door_away_and_brings_it_back() {
    let logknock = totp_door();
    let mut daemon = logknock.follow("--json");
    knock(&logknock, "203.0.113.7", &ports(0));
    logknock.awaits_act("open 203.0.113.7");
    let config = logknock.read("logknock.toml");
    logknock.write(
        "logknock.toml",
        config.replace("[door.ssh]", "[door.other]"),
    );
    daemon.signal(Signal::HUP);
    daemon.says("reloaded");
    logknock.write("logknock.toml", config);
    daemon.signal(Signal::HUP);
    daemon.says("reloaded");
    knock(&logknock, "198.51.100.66", &ports(0));
    refused(&mut daemon, "198.51.100.66");
}

#[test]
fn explain_tells_why_a_used_sequence_did_not_open() {
    let logknock = totp_door().file("old.log", "");
    for src in ["203.0.113.7", "198.51.100.66"] {
        let lines = ports(0).into_iter().map(|port| logknock.packet(src, port));
        logknock.append("old.log", &lines.collect::<String>());
    }
    logknock
        .run("replay old.log")
        .succeeds()
        .prints_among_others("refused (used)");
    logknock
        .run("explain 198.51.100.66 --log old.log")
        .prints_among_others("refused: this sequence or code was used before");
}

/// The ports of the code of so many steps later than now, which a door with the greatest `skew` takes as well.
fn code_ports(later: i64) -> Vec<u16> {
    let step = |port| Step {
        port,
        transport: Transport::Tcp,
    };
    let totp = Totp::new(TotpKeys {
        secret: Secret::new(b"12345678901234567890".to_vec()).unwrap(),
        knocks: 3,
        ports: (21_000, 21_099),
        transport: Transport::Tcp,
        step: 30,
        skew: MAX_SKEW,
        beginning: Some([7001, 8002].map(step).into()),
    });
    let (totp, now) = (totp.unwrap(), clock::wall_now().as_nanos() / 1_000_000_000);
    let number = totp.number_at(now + later * 30).unwrap();
    let sequence = totp.sequence(number).unwrap();
    sequence.steps().iter().map(|step| step.port).collect()
}

#[test]
fn twenty_failed_codes_are_reported_and_shut_the_door_for_an_hour_even_over_a_crash() {
    let logknock = door(&format!(
        "sequence = [7001, 8002]\ncmd_timeout = \"1h\"\n\
         totp = {{ secret = \"{KEY}\", code = {{ skew = {MAX_SKEW} }} }}"
    ));
    let acts = logknock.path("acts").display().to_string();
    let notify = format!("echo $LOGKNOCK_EVENT $LOGKNOCK_DOOR >> {acts}");
    let notify = format!(
        "[notify]\non = [\"codes_refused\"]\ncommand = [\"/bin/sh\", \"-c\", \"{notify}\"]\n"
    );
    logknock.append("logknock.toml", &notify);
    let mut daemon = logknock.follow("--json");
    knock(&logknock, "203.0.113.7", &code_ports(0));
    logknock.awaits_act("open 203.0.113.7");
    // None of the codes that are right meanwhile, or were, begins with these digits.
    let begins = |later| code_ports(later)[2];
    let right: Vec<_> = (-15..=15).map(begins).collect();
    let wrong = (21_000..21_100).find(|port| !right.contains(port)).unwrap();
    for number in 1..=20 {
        let src = format!("198.51.100.{number}");
        knock(&logknock, &src, &[7001, 8002, wrong, wrong, wrong]);
    }
    let told = event(&mut daemon, "codes_refused");
    assert_eq!(
        (&told["door"], &told["src"]),
        (&"ssh".into(), &"198.51.100.20".into())
    );
    knock(&logknock, "203.0.113.8", &code_ports(2));
    assert_eq!(event(&mut daemon, "refused")["reason"], "failed_codes");

    let replayed = logknock.run("replay kern.log --json").succeeds();
    let events: Vec<serde_json::Value> = (replayed.stdout.lines())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let words = events.iter().map(|event| event["event"].as_str().unwrap());
    let words: Vec<_> = words
        .filter(|word| !["stage", "reset"].contains(word))
        .collect();
    assert_eq!(words, ["open", "codes_refused", "refused", "close"]);

    let ask = "status --control state/control.sock";
    let says = "ssh refuses every code for ";
    logknock.run(ask).succeeds().prints_among_others(says);
    daemon.signal(Signal::KILL);
    assert_eq!(daemon.ends(), -9);
    let mut daemon = logknock.follow("--json");
    knock(&logknock, "203.0.113.9", &code_ports(4));
    loop {
        let refused = event(&mut daemon, "refused");
        if refused["src"] == "203.0.113.9" {
            assert_eq!(refused["reason"], "failed_codes");
            break;
        }
    }
    logknock.run(ask).succeeds().prints_among_others(says);
    logknock.awaits_act("codes_refused ssh");
    let acts = logknock.read("acts");
    assert_eq!(acts, "open 203.0.113.7\ncodes_refused ssh\n");
    logknock
        .run("explain 203.0.113.9 --control state/control.sock")
        .prints_among_others("too many codes failed");
}

const LIST: &str = "# ours\n7001,7002:udp,7003\n8001,8002\n 9001,9002\n8001,8003\n";

#[test]
fn a_line_of_a_list_opens_once_and_is_marked_before_the_command_runs() {
    let logknock = door("one_time_sequences = \"LIST\"\ncmd_timeout = \"1h\"").file("list", LIST);
    // The command shows the list as it is when it runs.
    let config = logknock.read("logknock.toml");
    let list = logknock.path("list").display().to_string();
    let look = format!("echo open $1 >> $2; cp {list} {list}.then");
    logknock.write("logknock.toml", config.replace("echo open $1 >> $2", &look));
    let mut daemon = logknock.follow("--json");
    knock(&logknock, "203.0.113.7", &[8001, 8002]);
    logknock.awaits_act("open 203.0.113.7");
    let marked = "# ours\n#001,7002:udp,7003\n#001,8002\n 9001,9002\n8001,8003\n";
    super::logknock::eventually(
        || logknock.read("list.then") == marked,
        || logknock.read("list"),
    );
    knock(&logknock, "198.51.100.66", &[8001, 8002]);
    refused(&mut daemon, "198.51.100.66");
    daemon.signal(Signal::KILL);
    assert_eq!(daemon.ends(), -9);

    let mut daemon = logknock.follow("--json");
    knock(&logknock, "198.51.100.66", &[8001, 8002]);
    // The last knock of it might begin the next line, but for its port.
    assert_eq!(event(&mut daemon, "reset")["reason"], "wrong_port");
    knock(&logknock, "192.0.2.9", &[8001, 8003]);
    daemon.says("no one-time sequence is left");
    logknock.awaits_act("open 192.0.2.9");
    assert_eq!(
        logknock.read("list"),
        "# ours\n#001,7002:udp,7003\n#001,8002\n#9001,9002\n#001,8003\n"
    );
    knock(&logknock, "192.0.2.9", &[8001, 8003]);
    refused(&mut daemon, "192.0.2.9");
    assert_eq!(logknock.read("acts"), "open 203.0.113.7\nopen 192.0.2.9\n");
}

#[test]
fn a_dry_run_marks_no_line_of_a_list() {
    let logknock = door("one_time_sequences = \"LIST\"\ncmd_timeout = \"1h\"").file("list", LIST);
    let mut daemon = logknock.follow("--dry-run");
    knock(&logknock, "203.0.113.7", &[8001, 8002]);
    daemon.says("would run: ");
    assert_eq!(logknock.read("list"), LIST);
    assert!(!logknock.path("acts").exists() && !logknock.path("state").exists());
}

#[test]
fn neighbouring_ports_in_a_line_of_a_list_are_warned_of() {
    let warning = "neighbouring ports in order";
    for (list, warned) in [("7001,9002\n8001,8002\n", true), ("7001,9002\n", false)] {
        let logknock = door("one_time_sequences = \"LIST\"").file("list", list);
        let ended = logknock.run("check").succeeds();
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert_eq!(said.contains(warning), warned, "{said}");
    }
}

#[test]
fn a_line_that_is_no_longer_in_its_file_opens_nothing() {
    let logknock = door("one_time_sequences = \"LIST\"").file("list", LIST);
    let mut daemon = logknock.follow("--json");
    let taken = LIST.replace("8001,8002", "#001,8002");
    logknock.write("list", &taken);
    knock(&logknock, "203.0.113.7", &[8001, 8002]);
    daemon.says("opening failed");
    std::fs::remove_file(logknock.path("list")).unwrap();
    knock(&logknock, "203.0.113.7", &[9001, 9002]);
    daemon.says("cannot be marked as used");
    assert_eq!(logknock.read("acts"), "");
}

#[test]
fn beyond_the_lines_that_may_be_knocked_next_nothing_opens() {
    let list = "1001,1002\n2001,2002\n3001,3002\n";
    let logknock = door("one_time_sequences = \"LIST\"\nlook_ahead = 2\ncmd_timeout = \"1h\"")
        .file("list", list);
    let _daemon = logknock.follow("--json");
    knock(&logknock, "203.0.113.7", &[3001, 3002]);
    knock(&logknock, "203.0.113.8", &[2001, 2002]);
    logknock.awaits_act("open 203.0.113.8");
    knock(&logknock, "203.0.113.9", &[3001, 3002]);
    logknock.awaits_act("open 203.0.113.9");
    assert_eq!(
        logknock.read("acts"),
        "open 203.0.113.8\nopen 203.0.113.9\n"
    );
}

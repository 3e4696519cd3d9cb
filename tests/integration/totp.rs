//! `totp` and `knock --totp`: a secret is made, its ports are shown, and they are what the door takes.

use logknock::clock;

use super::logknock::{Logknock, PREFIX};

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

/// RFC 6238's own key for SHA-1; at 59 s the code is 94287082.
const CODE: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

/// A door with a code behind two steps, and its key in a file.
fn code_door(code: &str) -> Logknock {
    let logknock = Logknock::new().file("key", CODE);
    let key = logknock.path("key").display().to_string();
    logknock.config(&format!(
        "[log]\nprefix = \"{PREFIX}\"\n[door.ssh]\nsequence = [7001, \"8002:udp\"]\n\
         totp = {{ secret_file = \"{key}\", code = {code} }}\nstart_command = \"/bin/true\"\n"
    ))
}

#[test]
fn the_ports_of_a_code_are_its_groups_above_the_base_behind_the_beginning() {
    let at = "--at 59";
    code_door("{}")
        .run(&format!("totp --door ssh {at}"))
        .succeeds()
        .prints("7001 8002:udp 21028 21070 21082\n1 s left\n");
    code_door("{ digits = 8, per_knock = 4, base = 40000 }")
        .run(&format!("totp --door ssh {at}"))
        .succeeds()
        .prints("7001 8002:udp 49428 47082\n1 s left\n");
    let logknock = code_door("{}");
    logknock
        .run(&format!("totp --secret-file key --code-base 21000 {at}"))
        .succeeds()
        .prints("21028 21070 21082\n1 s left\n");
    logknock
        .run("totp --secret-file key --code-base 21000 --digits 7")
        .fails_with(2)
        .says("6 digits (2 in each knock)");
}

#[test]
fn the_client_knocks_a_code_behind_its_beginning() {
    let hosts = "[host.gw]\naddress = \"127.0.0.1\"\nknock = [7001, \"8002:udp\"]\n\
                 totp = { secret_file = \"KEY\", code = { base = 31000 } }\n";
    let logknock = code_door("{}").file("key", CODE);
    let key = logknock.path("key").display().to_string();
    let home = logknock.path("logknock").display().to_string();
    std::fs::create_dir(&home).unwrap();
    let logknock = logknock.file("logknock/hosts.toml", hosts.replace("KEY", &key));
    let above = logknock.path("").display().to_string();
    let logknock = logknock.set("XDG_CONFIG_HOME", above);
    for (base, knock) in [
        (
            21_000,
            "knock 127.0.0.1 7001 8002:udp --totp key --code-base 21000 --dry-run",
        ),
        (31_000, "knock gw --dry-run"),
    ] {
        // The code may become another one between the two; one of them is the one that was knocked.
        let shown = |later: i64| {
            // The code's own first knock comes a little after the beginning.
            let at = clock::wall_now().as_nanos() / 1_000_000_000 + later;
            let line = format!("totp --secret-file key --code-base {base} --at {at}");
            let shown = logknock.run(&line);
            let ports = shown.succeeds().stdout;
            let ports = ports.lines().next().unwrap();
            ports.split(' ').map(str::to_owned).collect::<Vec<_>>()
        };
        let before = shown(0);
        let plan = logknock.run(knock).succeeds().stdout;
        let after = shown(1);
        let lines: Vec<_> = plan.lines().collect();
        let is = |ports: &[String]| {
            let all = ["7001", "8002"]
                .into_iter()
                .chain(ports.iter().map(String::as_str));
            lines.len() == 5
                && lines
                    .iter()
                    .zip(all)
                    .all(|(line, port)| line.contains(port))
        };
        assert!(is(&before) || is(&after), "{plan} {before:?} {after:?}");
    }
    logknock
        .run("knock 127.0.0.1 7001 --totp key")
        .fails_with(2)
        .says("--code-base");
}

#[test]
fn check_states_the_odds_of_a_guess() {
    for (code, odds) in [
        (
            "{}",
            "one guessed code in 200000 opens it, and 20 an hour may fail: 58.4 % in a year",
        ),
        ("{ skew = 1 }", "one guessed code in 66667 opens it"),
        (
            "{ digits = 8 }",
            "one guessed code in 6666667 opens it, and 20 an hour may fail: 2.6 %",
        ),
        (
            "{ digits = 8, per_knock = 4 }",
            "one guessed code in 50000000 opens it",
        ),
    ] {
        code_door(code)
            .run("check")
            .succeeds()
            .prints_among_others(odds);
    }
}

#[test]
fn a_new_secret_is_drawn_for_an_authenticator_app_to_scan() {
    for (options, digits) in [("", ""), ("--code-base 30000 --digits 8", "&digits=8")] {
        let logknock = Logknock::new();
        let made = logknock
            .run(&format!("totp --new key --qr {options}"))
            .succeeds();
        let key = logknock.read("key");
        let key = key.trim_end();
        assert_eq!(key.len(), 32, "160 bits, as many as SHA-1 has");
        let (line, picture) = made.stdout.split_once('\n').unwrap();
        assert!(line.contains(", code = { digits = ") && !line.contains(key));
        assert!(picture.lines().count() < 24, "it does not fit on a screen");
        let read = scanned(picture);
        assert!(read.starts_with("otpauth://totp/logknock:"), "{read}");
        assert!(
            read.ends_with(&format!("?secret={key}&issuer=logknock{digits}")),
            "{read}"
        );

        let config = format!(
            "[log]\nprefix = \"{PREFIX}\"\n[door.ssh]\nsequence = [7001, 8002]\n{line}\n\
             start_command = \"/bin/true\"\n"
        );
        logknock.config(&config).run("check").succeeds();
    }
}

/// What the picture says: light blocks on a dark ground.
fn scanned(picture: &str) -> String {
    const SCALE: usize = 4;
    let lines: Vec<Vec<char>> = picture.lines().map(|line| line.chars().collect()).collect();
    let size = lines[0].len();
    let mut image = rqrr::PreparedImage::prepare_from_bitmap(size * SCALE, size * SCALE, |x, y| {
        let (x, y) = (x / SCALE, y / SCALE);
        match lines[y / 2][x] {
            '█' => false,
            '▀' => y % 2 == 1,
            '▄' => y % 2 == 0,
            _ => true,
        }
    });
    let [grid] = &image.detect_grids()[..] else {
        panic!("no code in {picture}");
    };
    grid.decode().unwrap().1
}

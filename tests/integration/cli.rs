//! The command line as its users meet it: what is printed where, and how it ends.

use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::cli_logs::{LINES, log};
use super::logknock::{Logknock, files};
use super::need;

// ── check ──

#[test]
fn check_shows_the_doors_without_their_secrets() {
    let checked = log().run("check").succeeds();
    let checked = checked.prints_among_others("logknock.toml: configuration ok\n");
    let checked = checked.prints_among_others("ssh");
    assert!(!checked.stdout.contains("7000") && !checked.stdout.contains("8000"));
}

#[test]
fn check_says_all_that_is_wrong_at_once_and_where() {
    let config = "[door.ssh]\nsequence = [70000]\nseq_timeout = \"x\"\nno_such_key = 1\nstart_command = \"/bin/true\"\n";
    let ended = Logknock::new()
        .config(config)
        .run("check")
        .fails_with(78)
        .prints_nothing();
    let ended = ended
        .says("logknock: error: step 1 is out of range; ports are 1 to 65535\n --> logknock.toml:2:13\n")
        .says(" --> logknock.toml:3:15\n");
    let ended = ended.says(" --> logknock.toml:4:1\n");
    assert_eq!(
        ended.stderr.matches("logknock: ").count(),
        1,
        "{}",
        ended.stderr
    );
}

#[test]
fn check_as_json_has_an_object_for_each_mistake_and_says_nothing_else() {
    let config = "[door.ssh]\nsequence = [70000]\nno_such_key = 1\n";
    let ended = Logknock::new().config(config).run("check --json");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(78), ""));
    let severities = ended.stdout.lines().map(|line| {
        let object: Value = serde_json::from_str(line).unwrap();
        object["severity"].as_str().unwrap().to_owned()
    });
    assert!(severities.filter(|severity| severity == "error").count() >= 2);
}

// ── what is installed beside it ──

#[test]
fn the_manual_is_in_the_program() {
    let logknock = Logknock::new();
    let page = logknock.run("man").succeeds();
    page.prints_among_others(".Dt LOGKNOCK 8\n");
    let page = logknock.run("man logknock.toml").succeeds();
    page.prints_among_others(".Dt LOGKNOCK.TOML 5\n");
}

#[test]
fn bash_completes_options_by_what_is_printed_for_it() {
    let script = Logknock::new().run("completions bash").succeeds().stdout;
    let asked = "COMP_WORDS=(logknock --fol) COMP_CWORD=1
        _logknock logknock --fol logknock; echo \"${COMPREPLY[@]}\"";
    let bash = Command::new("bash")
        .args(["-c", &format!("{script}\n{asked}")])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&bash.stdout),
        "--follow\n",
        "{bash:?}"
    );
}

// ── how it ends ──

#[test]
fn a_file_that_is_not_there_is_69() {
    for arguments in ["parse none", "replay none", "replay --expect none kern.log"] {
        let ended = log().run(arguments).fails_with(69).prints_nothing();
        ended.says("logknock: none: there is no such file\n");
    }
}

#[test]
fn without_a_configuration_it_says_what_writes_one() {
    let logknock = Logknock::new().set("LOGKNOCK_CONFIG", "none.toml");
    let ended = logknock.run("").fails_with(78).prints_nothing();
    ended.says("logknock init").says("logknock demo");
}

#[test]
fn a_published_sequence_is_warned_of() {
    let warns = |sequence: &str| {
        let config = format!(
            "[log]\nprefix = \"lk-4f9a1c7e: \"\n[door.a]\nsequence = {sequence}\nstart_command = \"true\"\n"
        );
        let ended = Logknock::new().config(&config).run("check").succeeds();
        let words = "door 'a' has the published sequence";
        ended.stderr.contains(words)
    };
    assert!(warns("[7000, \"8000:udp\", 9000]") && warns("[9000, 8000, 7000]"));
    assert!(!warns("[7000, 9000, 8000]"));
}

#[test]
fn where_the_journal_reads_it_an_error_has_its_priority() {
    let place = tempfile::NamedTempFile::new().unwrap();
    let data = place.as_file().metadata().unwrap();
    let ours = format!("{}:{}", data.dev(), data.ino());
    let said = |stream: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_logknock"));
        command
            .args(["--config", "/nowhere.toml"])
            .env("JOURNAL_STREAM", stream);
        command.stderr(place.reopen().unwrap()).status().unwrap();
        let text = std::fs::read_to_string(place.path()).unwrap();
        place.as_file().set_len(0).unwrap();
        text
    };
    let lines = said(&ours);
    assert!(
        lines.lines().count() > 1 && lines.lines().all(|line| line.starts_with("<3>")),
        "{lines}"
    );
    assert!(!said("1:1").contains("<3>"));
}

#[test]
fn a_file_that_cannot_be_read_is_69_and_named() {
    for arguments in ["parse /proc/self", "replay /proc/self"] {
        log()
            .run(arguments)
            .fails_with(69)
            .says("logknock: /proc/self: ");
    }
}

#[test]
fn a_file_that_may_not_be_read_is_77() {
    if !need::program("setpriv") {
        return;
    }
    let logknock = log().file("secret.log", LINES).run_by_nobody();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o0);
    std::fs::set_permissions(logknock.path("secret.log"), mode).unwrap();
    logknock
        .run("parse secret.log")
        .fails_with(77)
        .says("logknock: secret.log: permission denied");
}

#[test]
fn a_config_that_others_may_write_is_77() {
    let logknock = log();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    std::fs::set_permissions(logknock.path("logknock.toml"), mode).unwrap();
    for arguments in ["check", "replay kern.log"] {
        logknock.run(arguments).fails_with(77).prints_nothing();
    }
}

#[test]
fn a_bad_config_is_78_whatever_was_asked() {
    let logknock = log().config("[door.ssh]\nsequence = []\n");
    for arguments in ["check", "replay kern.log", "--follow kern.log"] {
        logknock.run(arguments).fails_with(78).prints_nothing();
    }
    logknock
        .run("check --config none.toml")
        .fails_with(78)
        .says("there is no such file\n--> none.toml\n = fix: 'logknock init' writes one");
}

#[test]
fn options_that_a_command_takes_may_stand_before_it() {
    log().run("--config logknock.toml --json check").succeeds();
}

#[test]
fn a_command_takes_the_options_that_it_uses_and_no_others() {
    let logknock = log();
    for command in [
        "completions bash",
        "man",
        "demo",
        "parse kern.log",
        "init",
        "replay kern.log",
    ] {
        for option in ["--accept-forgeable", "--state-dir x", "--control x"] {
            let refused = logknock.run(&format!("{command} {option}"));
            refused.fails_with(2).prints_nothing();
            let refused = logknock.run(&format!("{option} {command}"));
            refused.fails_with(2).prints_nothing();
        }
        let (name, _) = command.split_once(' ').unwrap_or((command, ""));
        let help = logknock.run(&format!("{name} --help")).succeeds().stdout;
        assert!(
            !help.contains("--accept-forgeable") && !help.contains("--state-dir"),
            "{help}"
        );
    }
    let help = logknock.run("check --help").succeeds().stdout;
    assert!(
        help.contains("--accept-forgeable") && help.contains("--follow"),
        "{help}"
    );
    let completions = logknock.run("completions bash").succeeds().stdout;
    assert!(completions.contains("--accept-forgeable"), "of the daemon");
}

#[test]
fn mistakes_in_the_config_have_colour_on_a_terminal_only() {
    let errors = logknock::config::parse("x.toml", "[door.x]\nsequence = []\n").unwrap_err();
    assert!(errors.styled().contains('\u{1b}') && !errors.to_string().contains('\u{1b}'));
    let ended = Logknock::new()
        .config("[door.ssh]\nsequence = []\n")
        .run("check");
    assert!(!ended.fails_with(78).stderr.contains('\u{1b}'));
}

#[test]
fn an_option_of_the_daemon_means_nothing_before_a_command() {
    for arguments in [
        "--follow kern.log check",
        "--dry-run replay kern.log",
        "-v parse kern.log",
    ] {
        let ended = log().run(arguments).fails_with(2).prints_nothing();
        ended.says("is for the daemon");
    }
}

#[test]
fn a_wrong_command_line_is_2() {
    for arguments in [
        "bogus",
        "parse --bogus",
        "replay",
        "--follow",
        "--prefix",
        "--follow udp:x",
    ] {
        let ended = log().run(arguments).fails_with(2).prints_nothing();
        ended.says("--help");
    }
}

#[test]
fn a_reader_who_goes_is_no_failure() {
    let big = LINES.repeat(20_000);
    let logknock = log().file("big.log", big);
    for arguments in [
        "parse big.log",
        "parse --json big.log",
        "replay big.log",
        "--help",
    ] {
        let ended = logknock.run_for_one_line(arguments).succeeds();
        assert!(
            !ended.stdout.is_empty() && !ended.stderr.contains("panicked"),
            "{ended:?}"
        );
        assert!(!ended.stderr.contains("logknock: "), "{ended:?}");
    }
}

// ── help, colours ──

#[test]
fn every_command_has_help_with_examples() {
    let definitions = logknock::cli::definitions();
    let commands = definitions.get_subcommands().map(clap::Command::get_name);
    for command in commands.chain([""]) {
        let help = Logknock::new()
            .run(&format!("{command} --help"))
            .succeeds()
            .says_nothing();
        let example = format!("Examples:\n  logknock {command}");
        help.prints_among_others(example.trim_end());
    }
    let version = Logknock::new().run("--version").succeeds();
    version.prints(&format!("logknock {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_help_names_every_exit_status() {
    let help = Logknock::new().run("--help").succeeds();
    let (_, statuses) = help.stdout.split_once("Exit status:\n").unwrap();
    let codes = statuses.lines().map(|line| line.split_whitespace().next());
    let codes: Vec<_> = codes.map(Option::unwrap_or_default).collect();
    assert_eq!(codes, ["0", "1", "2", "69", "70", "75", "77", "78"]);
}

#[test]
fn a_pipe_gets_no_colours() {
    for arguments in [
        "parse kern.log",
        "replay kern.log",
        "check",
        "bogus",
        "--help",
    ] {
        let ended = log().run(arguments);
        assert!(
            !ended.stdout.contains('\x1b') && !ended.stderr.contains('\x1b'),
            "{ended:?}"
        );
    }
}

#[test]
fn a_terminal_gets_colours_unless_no_color_is_set() {
    if !need::program("script") {
        return;
    }
    for arguments in ["parse kern.log", "replay kern.log"] {
        let coloured = log().run_on_terminal(arguments);
        assert!(coloured.stdout.contains("\x1b["), "{coloured:?}");
        let plain = log().set("NO_COLOR", "1").run_on_terminal(arguments);
        assert!(!plain.stdout.contains("\x1b["), "{plain:?}");
        assert!(plain.stdout.contains("203.0.113.7"), "{plain:?}");
    }
}

// ── demo ──

#[test]
fn the_demonstration_opens_and_closes_a_door_for_anybody_and_leaves_nothing_behind() {
    if !need::program("setpriv") {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o1777);
    std::fs::set_permissions(place.path(), mode).unwrap();
    let logknock = Logknock::new().run_by_nobody();
    let logknock = logknock.set("TMPDIR", place.path().display().to_string());
    let started = Instant::now();
    let ended = logknock.run("demo").succeeds();
    assert!(started.elapsed() < Duration::from_secs(15));
    let ended = ended
        .prints_among_others("203.0.113.7    open")
        .prints_among_others("203.0.113.7    close");
    assert!(
        !ended.stdout.contains("198.51.100.66  open"),
        "{}",
        ended.stdout
    );
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn a_demonstration_that_is_interrupted_leaves_nothing_behind() {
    let place = tempfile::tempdir().unwrap();
    let logknock = Logknock::new().set("TMPDIR", place.path().display().to_string());
    let mut demo = logknock.start("demo");
    demo.says("You knock");
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
    demo.signal(Signal::INT);
    assert_eq!(demo.ends(), 1);
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn the_published_example_is_never_run_by_mistake() {
    // Its secrets are published, so it says so itself; but it must be a config.
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/examples");
    for example in files(examples.as_ref(), "toml") {
        let text = std::fs::read_to_string(&example).unwrap();
        assert!(
            text.contains("DO NOT USE IT AS IT IS"),
            "{}",
            example.display()
        );
        Logknock::new().config(&text).run("check").succeeds();
    }
}

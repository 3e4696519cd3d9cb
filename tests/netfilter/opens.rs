//! Doors with `opens`, behind the rules that `logknock rules` prints, loaded as printed.
//!
//! What must hold of each backend: the rules load twice and leave nothing behind, who knocked gets in
//! and nobody else, and the door closes in time; of nft and ipset also without the daemon.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::daemon::Daemon;
use crate::host::Reach;
use crate::kmsg::Kmsg;
use crate::knockd::Knockd;
use crate::lab::{Family, Hit, Lab, PATIENCE, ssh};
use crate::process::{Running, eventually, find, finish, run};
use crate::rsyslog::{Module, Rsyslog};
use crate::turn::Ring;

const KNOCKS: [Hit; 3] = [Hit::Tcp(7000), Hit::Udp(8000), Hit::Tcp(9000)];
const PUBLIC: u16 = 8022;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Nft,
    Ipset,
    Iptables,
}

impl Backend {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nft => "nft",
            Self::Ipset => "ipset",
            Self::Iptables => "iptables",
        }
    }

    /// What `--for` is to name, and what loads the text.
    fn tool(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Nft => ("nft", &["nft", "-f"]),
            Self::Ipset | Self::Iptables => ("iptables", &["sh"]),
        }
    }

    pub(crate) fn needs(self) -> &'static [&'static str] {
        match self {
            Self::Nft => &["rsyslogd"],
            Self::Ipset => &[
                "rsyslogd",
                "iptables",
                "ip6tables",
                "iptables-restore",
                "ipset",
            ],
            Self::Iptables => &["rsyslogd", "iptables", "ip6tables", "iptables-restore"],
        }
    }
}

#[test]
fn printed_nft_rules_open_to_a_knock_and_leave_nothing_behind() {
    lets_in_who_knocks(Backend::Nft);
}

#[test]
fn printed_iptables_rules_with_ipset_open_to_a_knock_and_leave_nothing_behind() {
    lets_in_who_knocks(Backend::Ipset);
}

#[test]
fn printed_iptables_rules_open_to_a_knock_and_leave_nothing_behind() {
    lets_in_who_knocks(Backend::Iptables);
}

#[test]
fn after_kill_9_the_kernel_closes_an_nft_element_at_the_deadline() {
    closes_without_a_daemon(Backend::Nft);
}

#[test]
fn after_kill_9_the_kernel_closes_an_ipset_entry_at_the_deadline() {
    closes_without_a_daemon(Backend::Ipset);
}

#[test]
fn another_knock_renews_the_timeout_of_the_one_nft_element() {
    renews_the_timeout(Backend::Nft);
}

#[test]
fn another_knock_renews_the_timeout_of_the_one_ipset_entry() {
    renews_the_timeout(Backend::Ipset);
}

#[test]
fn an_address_that_floods_the_nft_rules_leaves_room_for_another() {
    leaves_room(Backend::Nft);
}

#[test]
fn an_address_that_floods_the_iptables_rules_leaves_room_for_another() {
    leaves_room(Backend::Ipset);
}

fn lets_in_who_knocks(backend: Backend) {
    let Some(lab) = Lab::new(Ring::Shared, backend.needs()) else {
        return;
    };
    let _public = lab.server.listen(PUBLIC);
    configure(&lab, backend, "3s");
    let before = ruleset(&lab, backend);
    load(&lab, backend, &[]);
    let loaded = ruleset(&lab, backend);
    load(&lab, backend, &[]);
    assert_eq!(ruleset(&lab, backend), loaded, "twice is once");

    let (syslog, daemon) = start(&lab);
    for family in [Family::V4, Family::V6] {
        assert_eq!(ssh(&lab.near, family), Reach::Closed);
        let public = family.server(PUBLIC);
        assert_eq!(lab.near.connect(public), Reach::Open, "no other is closed");
        let knocked = Instant::now();
        knock_until_open(&lab, family);
        assert_eq!(ssh(&lab.far, family), Reach::Closed);
        load(&lab, backend, &[]);
        assert_eq!(
            ssh(&lab.near, family),
            Reach::Open,
            "what is open stays open"
        );
        closes_in_time(&lab, family, knocked, Duration::from_secs(3));
    }
    assert_eq!(
        without_logged(&ruleset(&lab, backend)),
        without_logged(&loaded)
    );
    assert!(daemon.stop().success());
    drop(syslog);
    for _ in 0..2 {
        load(&lab, backend, &["--remove"]);
        assert_eq!(ruleset(&lab, backend), before, "nothing is left behind");
    }
}

fn closes_without_a_daemon(backend: Backend) {
    let Some(lab) = Lab::new(Ring::Shared, backend.needs()) else {
        return;
    };
    configure(&lab, backend, "3s");
    load(&lab, backend, &[]);
    let (_syslog, daemon) = start(&lab);
    let knocked = Instant::now();
    knock_until_open(&lab, Family::V4);
    daemon.kill();
    assert_eq!(ssh(&lab.near, Family::V4), Reach::Open);
    closes_in_time(&lab, Family::V4, knocked, Duration::from_secs(3));
}

fn renews_the_timeout(backend: Backend) {
    let Some(lab) = Lab::new(Ring::Shared, backend.needs()) else {
        return;
    };
    configure(&lab, backend, "30s");
    load(&lab, backend, &[]);
    let (_syslog, daemon) = start(&lab);
    knock_until_open(&lab, Family::V4);
    let left = || remaining(&lab, backend).expect("it is open");
    eventually("time passes", PATIENCE, || left() < 28.0);
    lab.hit(&lab.near, Family::V4, &KNOCKS);
    eventually("the timeout is renewed", PATIENCE, || left() > 28.5);
    let held = set(&lab, backend);
    assert_eq!(held.matches(entry(backend)).count(), 1, "{held}");
    assert!(daemon.stop().success());
    assert_eq!(remaining(&lab, backend), None);
    assert_eq!(ssh(&lab.near, Family::V4), Reach::Closed);
}

#[test]
fn what_a_flushed_nft_ruleset_took_along_counts_as_closed() {
    counts_as_closed(Backend::Nft, &["nft", "flush", "ruleset"]);
}

#[test]
fn what_a_removed_ipset_took_along_counts_as_closed() {
    counts_as_closed(
        Backend::Ipset,
        &[
            "sh",
            "-c",
            "for tool in iptables ip6tables; do $tool -F && $tool -t mangle -F || exit; done && ipset destroy",
        ],
    );
}

/// A stop succeeds only when every door is closed.
fn counts_as_closed(backend: Backend, wipe: &[&str]) {
    let Some(lab) = Lab::new(Ring::Shared, backend.needs()) else {
        return;
    };
    configure(&lab, backend, "60s");
    load(&lab, backend, &[]);
    let (_syslog, daemon) = start(&lab);
    knock_until_open(&lab, Family::V4);
    finish(lab.server.command(wipe[0]).args(&wipe[1..]));
    assert!(daemon.stop().success());
}

/// An nft that takes longer to open than a door stays open.
const SLOW_NFT: &str =
    "#!/bin/sh\ncase $* in *'add element'*) sleep 4 ;; esac\nexec @NFT@ \"$@\"\n";

#[test]
fn rules_that_are_loaded_at_the_last_moment_leave_nothing_open_behind_the_deadline() {
    let Some(lab) = Lab::new(Ring::Shared, &["rsyslogd", "unshare"]) else {
        return;
    };
    configure(&lab, Backend::Nft, "3s");
    load(&lab, Backend::Nft, &[]);
    let (_syslog, _daemon) = start(&lab);
    let nft = find("nft").expect("the lab needs it");
    let real = lab.path("nft");
    fs::copy(&nft, &real).expect("a copy");
    let slow = SLOW_NFT.replace("@NFT@", real.to_str().expect("plain"));
    let slow = lab.write("slow-nft", &slow);
    fs::set_permissions(&slow, Permissions::from_mode(0o755)).expect("it is ours");
    knock_until_open(&lab, Family::V4);
    let script = "mount --bind \"$1\" \"$2\" && shift 2 && exec \"$@\" rules --for nft --load";
    let mut loaded = lab.server.command("unshare");
    loaded.args(["--mount", "sh", "-c", script, "sh"]);
    loaded.args([&slow, &nft]);
    loaded.args([env!("CARGO_BIN_EXE_logknock"), "--state-dir"]);
    loaded.arg(lab.path("state")).arg("--config");
    finish(loaded.arg(lab.path("logknock.toml")));
    eventually("the door's time ends", PATIENCE, || {
        !Daemon::status(&lab).contains("192.0.2.2")
    });
    assert_eq!(remaining(&lab, Backend::Nft), None);
}

/// A command for all rules of logknock, where what this host itself has of it cannot be reached.
fn apart(lab: &Lab, before: &str, words: &[&str]) -> String {
    let script = format!(
        "cp -a /etc \"$1\" && mount --bind \"$1\" /etc && mount -t tmpfs none /run && {before}; \
         shift && \"$@\" 2>&1; echo status $?"
    );
    let mut command = lab.server.command("unshare");
    command.args(["--mount", "sh", "-c", &script, "sh"]);
    command.arg(lab.path("etc"));
    command.args([env!("CARGO_BIN_EXE_logknock"), "--state-dir"]);
    command.arg(lab.path("state")).arg("--config");
    finish(command.arg(lab.path("logknock.toml")).args(words))
}

#[test]
fn rules_are_removed_where_the_tool_of_another_firewall_fails() {
    let needs = ["unshare", "iptables", "ip6tables", "iptables-restore"];
    let Some(lab) = Lab::new(Ring::Shared, &needs) else {
        return;
    };
    configure(&lab, Backend::Iptables, "3s");
    let before = ruleset(&lab, Backend::Iptables);
    load(&lab, Backend::Iptables, &[]);
    let broken = lab.write("nft", "#!/bin/sh\necho not supported >&2\nexit 1\n");
    fs::set_permissions(&broken, Permissions::from_mode(0o755)).expect("it is ours");
    let nft = find("nft").expect("the lab needs it");
    let hide = format!("mount --bind {} {}", broken.display(), nft.display());
    let said = apart(&lab, &hide, &["rules", "--remove"]);
    assert!(said.ends_with("nft: not supported\nstatus 1\n"), "{said}");
    assert_eq!(ruleset(&lab, Backend::Iptables), before);
}

#[test]
fn rules_are_loaded_and_removed_on_a_read_only_disk() {
    let Some(lab) = Lab::new(Ring::Shared, &["unshare"]) else {
        return;
    };
    configure(&lab, Backend::Nft, "3s");
    let before = ruleset(&lab, Backend::Nft);
    let loading = ["rules", "--load"];
    apart(&lab, "true", &loading);
    let loaded = ruleset(&lab, Backend::Nft);
    let reboot = ["delete", "table", "inet", "logknock"];
    finish(lab.server.command("nft").args(reboot));
    let state = lab.path("state");
    let state = state.display();
    let stiff = format!("mount --bind {state} {state} && mount -o remount,bind,ro {state}");
    let said = apart(&lab, &stiff, &loading);
    assert_eq!(ruleset(&lab, Backend::Nft), loaded, "{said}");
    let said = apart(&lab, &stiff, &["rules", "--remove"]);
    assert_eq!(ruleset(&lab, Backend::Nft), before, "{said}");
}

#[test]
fn an_undone_trial_leaves_what_was_there_whatever_was_tried() {
    for (before, tried) in [
        (Backend::Iptables, Backend::Nft),
        (Backend::Nft, Backend::Iptables),
    ] {
        let Some(lab) = Lab::new(Ring::Shared, Backend::Ipset.needs()) else {
            return;
        };
        configure(&lab, before, "3s");
        load(&lab, before, &[]);
        // The order of chains is the tool's affair, and so are the tables that it has made.
        let both = || {
            let tables = finish(lab.server.command("nft").args(["list", "tables"]));
            let all = tables + "\n" + &ruleset(&lab, Backend::Iptables);
            let ours = all
                .lines()
                .filter(|line| line.to_lowercase().contains("logknock"));
            let mut lines: Vec<_> = ours.map(str::to_owned).collect();
            lines.sort_unstable();
            lines
        };
        let loaded = both();
        configure(&lab, tried, "3s");
        let tool = if tried == Backend::Nft { "nft" } else { "ufw" };
        let said = apart(&lab, "true", &["rules", "--for", tool, "--try", "2s"]);
        assert_ne!(both(), loaded, "{said}");
        eventually("the trial is undone", PATIENCE, || both() == loaded);
    }
}

#[test]
fn a_flushed_nft_set_is_filled_again_by_the_next_knock() {
    let line = "nft flush set inet logknock open4";
    opens_again_when_flushed(Backend::Nft, line);
}

#[test]
fn a_flushed_ipset_is_filled_again_by_the_next_knock() {
    opens_again_when_flushed(Backend::Ipset, "ipset flush logknock4");
}

#[test]
fn rules_of_iptables_that_somebody_deleted_are_added_again_by_the_next_knock() {
    let line = "for table in mangle filter; do { echo \"*$table\"; iptables-save -t $table | \
                sed -n 's/^-A \\(LOGKNOCK .*192[.]0[.]2[.]2.*\\)/-D \\1/p'; echo COMMIT; } | \
                iptables-restore -n || exit; done";
    opens_again_when_flushed(Backend::Iptables, line);
}

/// What is not there is closed, so nothing is owed that could take the next opening along.
fn opens_again_when_flushed(backend: Backend, line: &str) {
    let Some(lab) = Lab::new(Ring::Shared, backend.needs()) else {
        return;
    };
    configure(&lab, backend, "3s");
    load(&lab, backend, &[]);
    let (_syslog, _daemon) = start(&lab);
    for _ in 0..2 {
        let knocked = Instant::now();
        knock_until_open(&lab, Family::V4);
        closes_in_time(&lab, Family::V4, knocked, Duration::from_secs(3));
        nothing_is_owed(&lab);
        knock_until_open(&lab, Family::V4);
        finish(lab.server.command("sh").args(["-c", line]));
        assert_eq!(ssh(&lab.near, Family::V4), Reach::Closed);
        nothing_is_owed(&lab);
    }
}

/// Waits until no door is open and none is to be closed; none was given up.
pub(crate) fn nothing_is_owed(lab: &Lab) {
    eventually("nothing is owed", PATIENCE, || {
        let status = Daemon::status_of(lab, &["--json"]);
        let status: serde_json::Value = serde_json::from_str(&status).expect("an object");
        assert!(status["given_up"].is_null(), "{status}");
        status["grants"].as_array().is_some_and(Vec::is_empty)
    });
}

/// The rule is gone when its command comes to delete it: the close is owed and told, and holds up no open.
#[test]
fn a_rule_of_ones_own_command_that_was_flushed_comes_back_and_one_close_is_owed() {
    let Some(lab) = Lab::new(Ring::Shared, &["iptables"]) else {
        return;
    };
    let path = format!(
        "{}/fixtures/config/ok/flushed-while-open.toml",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(path).expect("the fixture is there");
    lab.write("logknock.toml", &text.replace("lk-4f9a1c7e: ", &lab.prefix));
    crate::firewall::iptables(&lab, ["iptables", "ip6tables"]);
    let _daemon = Daemon::restart(&lab);
    let flush = "iptables -w -S INPUT | sed -n 's/^-A \\(INPUT .*192[.]0[.]2[.]2.*\\)/-w -D \\1/p' | xargs iptables";
    let owed = || {
        let status = Daemon::status_of(&lab, &["--json"]);
        let status: serde_json::Value = serde_json::from_str(&status).expect("an object");
        let grants = status["grants"].as_array().cloned().unwrap_or_default();
        let failed = grants
            .iter()
            .filter(|grant| grant["failed"].as_u64() > Some(0));
        let failed = failed.map(|grant| grant["words"].to_string());
        (failed.collect::<Vec<_>>(), status["grants_open"].as_u64())
    };
    for times in 1..=2 {
        knock_until_open(&lab, Family::V4);
        finish(lab.server.command("sh").args(["-c", flush]));
        eventually("its close fails", PATIENCE, || {
            let (failed, open) = owed();
            failed.len() == times && open == Some(0)
        });
    }
    let knocked = Instant::now();
    knock_until_open(&lab, Family::V4);
    closes_in_time(&lab, Family::V4, knocked, Duration::from_secs(2));
    eventually("this one is closed", PATIENCE, || owed().1 == Some(0));
    let (failed, _) = owed();
    assert_eq!(failed.len(), 2);
    assert!(
        failed.iter().all(|words| words.contains("ptables")),
        "{failed:?}"
    );
}

/// Who waits at the door while knocking is a stranger to no step: a client that connects again and again to the
/// port that the door opens, and one that sends datagrams to another.
#[test]
fn clients_that_try_the_opened_ports_meanwhile_get_in_as_with_knockd() {
    let tools = ["nc", "bash", "knockd", "rsyslogd"];
    let Some(lab) = Lab::new(Ring::Shared, &tools) else {
        return;
    };
    configure(&lab, Backend::Nft, "30s");
    load(&lab, Backend::Nft, &[]);
    let (_syslog, _daemon) = start(&lab);
    let knockd = Knockd::start(&lab, "7000,8000:udp,9000");
    let script = "trap 'kill 0' EXIT; (while echo x > /dev/udp/192.0.2.1/60001; do sleep 0.2; done) & \
                  until nc -z -w 1 192.0.2.1 22; do sleep 0.1; done; echo in";
    let mut kernel = Kmsg::from_now();
    let said = lab.path("client");
    let argv = ["ip", "netns", "exec", lab.near.namespace()];
    let argv = argv
        .into_iter()
        .chain(["setsid", "timeout", "60", "bash", "-c", script]);
    let _client = Running::start("the client", argv, |command| {
        command.stdout(std::fs::File::create(&said).expect("a file"));
    });
    let mut seen = String::new();
    eventually("both are trying", PATIENCE, || {
        seen += &kernel.lines(&lab.prefix).concat();
        seen.contains(" DPT=22 ") && seen.contains(" DPT=60001 ")
    });
    lab.hit(&lab.near, Family::V4, &KNOCKS);
    eventually("the client is in", PATIENCE, || {
        std::fs::read_to_string(&said).is_ok_and(|said| said == "in\n")
    });
    eventually("knockd opens", PATIENCE, || knockd.opened() == 1);
}

fn leaves_room(backend: Backend) {
    let Some(lab) = Lab::new(Ring::Alone, backend.needs()) else {
        return;
    };
    configure(&lab, backend, "30s");
    load(&lab, backend, &[]);
    let (_syslog, _daemon) = start(&lab);
    // As the kernel logs them.
    let near = [
        (Family::V4, " SRC=192.0.2.2 "),
        (Family::V6, " SRC=2001:0db8:0000:000a:0000:0000:0000:0002 "),
    ];
    let ports: Vec<u16> = (20_000..20_300).collect();
    for (family, source) in near {
        let (mut kernel, began) = (Kmsg::from_now(), Instant::now());
        let server = family.server(0).ip();
        lab.near.scan(server, &ports, ports.len(), || ());
        lab.hit(&lab.far, family, &KNOCKS);
        let lines = kernel.lines(&lab.prefix);
        let flood = lines.iter().filter(|line| line.contains(source)).count();
        let allowed = 41.0 + 10.0 * began.elapsed().as_secs_f64();
        let logged = f64::from(u16::try_from(flood).expect("a few"));
        assert!(logged >= 40.0 && logged <= allowed, "{logged} logged");
        eventually("ssh opens", PATIENCE, || {
            ssh(&lab.far, family) == Reach::Open
        });
    }
}

/// Writes a configuration with a door that opens 22/tcp and another port.
pub(crate) fn configure(lab: &Lab, backend: Backend, hold: &str) {
    let configuration = format!(
        r#"
[log]
sources = ["{log}"]
prefix = "{prefix}"

[firewall]
backend = "{backend}"

[door.ssh]
sequence = [7000, "8000:udp", 9000]
seq_timeout = "5s"
opens = ["22:tcp", "60001:udp"]
cmd_timeout = "{hold}"
"#,
        log = lab.path("kern.log").display(),
        prefix = lab.prefix,
        backend = backend.name(),
    );
    lab.write("logknock.toml", &configuration);
}

/// Loads in the server what `logknock rules` prints.
pub(crate) fn load(lab: &Lab, backend: Backend, options: &[&str]) {
    let (firewall, loader) = backend.tool();
    let configuration = lab.path("logknock.toml");
    let words = ["rules", "--for", firewall, "--config"].into_iter();
    let words = words.chain([configuration.to_str().expect("a plain path")]);
    let logknock = env!("CARGO_BIN_EXE_logknock");
    let text = run(logknock, words.chain(options.iter().copied()));
    let file = lab.write("rules", &text);
    let (tool, arguments) = loader.split_first().expect("a tool");
    finish(lab.server.command(tool).args(arguments).arg(file));
}

pub(crate) fn start(lab: &Lab) -> (Rsyslog, Daemon) {
    let syslog = Rsyslog::start(lab, Module::Imkmsg);
    (syslog, Daemon::restart(lab))
}

pub(crate) fn knock_until_open(lab: &Lab, family: Family) {
    lab.hit(&lab.near, family, &KNOCKS);
    eventually("ssh opens", PATIENCE, || {
        ssh(&lab.near, family) == Reach::Open
    });
}

fn closes_in_time(lab: &Lab, family: Family, knocked: Instant, hold: Duration) {
    eventually("ssh closes", hold + PATIENCE, || {
        ssh(&lab.near, family) == Reach::Closed
    });
    // The kernel's clock of the log and this one may differ by a little.
    assert!(
        knocked.elapsed() + Duration::from_millis(100) >= hold,
        "closed too early"
    );
}

/// All rules of the server, without counters.
pub(crate) fn ruleset(lab: &Lab, backend: Backend) -> String {
    let print = |tool: &str, options: &[&str]| finish(lab.server.command(tool).args(options));
    let saved = || {
        let tables = ["iptables-save", "ip6tables-save"].map(|tool| {
            let said = ["mangle", "filter"].map(|table| print(tool, &["-t", table]));
            said.concat()
        });
        let lines = tables.concat();
        let lines = lines.lines().filter(|line| !line.starts_with('#'));
        lines.collect::<Vec<_>>().join("\n")
    };
    match backend {
        Backend::Nft => print("nft", &["list", "ruleset"]),
        Backend::Iptables => saved(),
        Backend::Ipset => saved() + &print("ipset", &["list", "-name"]),
    }
}

/// Without the addresses that have been logged lately.
fn without_logged(ruleset: &str) -> String {
    let lines = ruleset
        .lines()
        .filter(|line| !line.contains("limit rate over") || line.contains("update @"));
    lines.collect::<Vec<_>>().join("\n")
}

/// What is open for IPv4, as the tool lists it.
fn set(lab: &Lab, backend: Backend) -> String {
    let words: &[&str] = match backend {
        Backend::Nft => &["nft", "list", "set", "inet", "logknock", "open4"],
        Backend::Ipset | Backend::Iptables => &["ipset", "list", "logknock4"],
    };
    finish(lab.server.command(words[0]).args(&words[1..]))
}

/// How the tool lists that 22/tcp is open for the near client.
fn entry(backend: Backend) -> &'static str {
    match backend {
        Backend::Nft => "192.0.2.2 . tcp . 22 ",
        Backend::Ipset | Backend::Iptables => "192.0.2.2,tcp:22 ",
    }
}

/// How many seconds 22/tcp stays open for the near client, as the kernel has it.
fn remaining(lab: &Lab, backend: Backend) -> Option<f64> {
    let word = match backend {
        Backend::Nft => "expires ",
        Backend::Ipset | Backend::Iptables => "timeout ",
    };
    let held = set(lab, backend);
    let (_, behind) = held.split_once(entry(backend))?;
    let (_, time) = behind.split_once(word)?;
    let time = time.split([',', ' ', '\n']).next()?;
    // `27s760ms`, `760ms`, or `27`.
    let (seconds, rest) = time.split_once('s').unwrap_or((time, ""));
    if let Some(millis) = seconds.strip_suffix('m') {
        return Some(millis.parse::<f64>().expect("a number") / 1000.0);
    }
    let millis = rest.strip_suffix("ms").unwrap_or("0");
    let number = |text: &str| text.parse::<f64>().expect("a number");
    Some(number(seconds) + number(millis) / 1000.0)
}

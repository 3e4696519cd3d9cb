//! A knock that two gateways see in part: each sends its packet lines to the other as `docs/fleet.md` says, with
//! the rsyslog configuration and the certificates that stand there.

use std::fs;
use std::net::SocketAddr;

use crate::fleet::{Fleet, Gateway, run_in};
use crate::host::Reach;
use crate::lab::PATIENCE;
use crate::process::{Running, eventually, find, finish};
use crate::rsyslog::{self, Module};

const RECIPE: &str = include_str!("../../docs/fleet.md");
const MODULES: [&str; 2] = ["imrelp", "omrelp"];

/// The code block of the recipe in this language that holds `text`.
fn block(language: &str, text: &str) -> &'static str {
    let fence = format!("```{language}\n");
    let blocks = RECIPE.split(fence.as_str()).skip(1);
    let mut blocks = blocks.filter_map(|rest| rest.split("```").next());
    blocks
        .find(|block| block.contains(text))
        .expect("the recipe has it")
}

/// A block that stands there for gw1 and its peer gw2, for `own` and its peer `other`.
fn meant_for(block: &str, own: &Gateway, other: &Gateway) -> String {
    let dir = |path: &str| own.path(path).display().to_string();
    block
        .replace("gw1", "OWN")
        .replace("gw2", other.name)
        .replace("OWN", own.name)
        .replace("lk-gateway1: ", &own.prefix)
        .replace("lk-gateway2: ", &other.prefix)
        .replace("192.0.2.12", &other.address.to_string())
        .replace("/etc/rsyslog-fleet", &dir("tls"))
        .replace("/var/log/gateways", &dir("logs"))
        // /proc/kmsg has one reader; /dev/kmsg has any number of them.
        .replace("imklog", "imkmsg")
}

/// The certificates, by the commands of the recipe.
fn certificates(fleet: &Fleet) {
    let commands = block("sh", "openssl").replace("\\\n", " ");
    let (authority, gateway): (Vec<_>, Vec<_>) =
        commands.lines().partition(|line| !line.contains("gw1"));
    for line in &authority {
        run_in(
            fleet.dir(),
            "openssl",
            line.strip_prefix("openssl ").expect("a command of openssl"),
        );
    }
    for own in &fleet.gateways {
        let tls = own.path("tls");
        fs::create_dir(&tls).expect("a directory");
        for line in &gateway {
            let line = line.replace("gw1", own.name);
            run_in(
                fleet.dir(),
                "openssl",
                line.strip_prefix("openssl ").expect("a command of openssl"),
            );
        }
        for file in [
            "ca.pem".to_owned(),
            format!("{}.pem", own.name),
            format!("{}.key", own.name),
        ] {
            fs::copy(fleet.dir().join(&file), tls.join(&file)).expect("it is there");
        }
    }
}

fn start_rsyslog(own: &Gateway, other: &Gateway) -> Running {
    let recipe = meant_for(block("rsyslog", "imrelp"), own, other);
    let spool = own.path("spool");
    fs::create_dir_all(&spool).expect("a directory");
    let text = format!("global(workDirectory=\"{}\")\n{recipe}", spool.display());
    let conf = own.write("rsyslog.conf", &text).display().to_string();
    let pid = own.path("rsyslogd.pid").display().to_string();
    let rsyslogd = find("rsyslogd")
        .expect("need() found it")
        .display()
        .to_string();
    let words = [
        "ip",
        "netns",
        "exec",
        own.host.namespace(),
        &rsyslogd,
        "-n",
        "-f",
        &conf,
        "-i",
        &pid,
    ];
    let argv: Vec<_> = words.iter().map(Into::into).collect();
    rsyslog::started(&argv, Module::Imkmsg)
}

/// The configuration of the recipe, with two doors.
fn configure(own: &Gateway, other: &Gateway, log: &str) {
    let text = format!(
        "{}\n[firewall]\nbackend = \"nft\"\n\n\
         [door.ssh]\nsequence = [7000, 8000, 9000]\nseq_timeout = \"20s\"\nopens = [22]\ncmd_timeout = \"60s\"\n\n\
         [door.web]\nsequence = [6001, 6003]\nseq_timeout = \"20s\"\nopens = [80]\ncmd_timeout = \"60s\"\n",
        meant_for(log, own, other)
    );
    own.write("logknock.toml", &text);
}

/// Sends one SYN and waits until the other gateway has decided about the line: a packet that comes sooner after it
/// may overtake it there.
fn hit_and_see(fleet: &Fleet, at: usize, port: u16, seen_by: usize) {
    let (own, other) = (&fleet.gateways[at], &fleet.gateways[seen_by]);
    let to = SocketAddr::from((own.address, port));
    let log = other.path("logs").join(format!("{}.log", own.name));
    let lines = |port: &str| {
        let text = fs::read(&log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        text.lines().filter(|line| line.contains(port)).count()
    };
    let port = format!(" DPT={port} ");
    let before = lines(&port);
    fleet.client.syn(to);
    eventually("the other gateway has the line", PATIENCE, || {
        lines(&port) > before
    });
    let written = lines("");
    eventually("it has read the line", PATIENCE, || {
        let status = other.status().unwrap_or_default();
        let read = status["sources"][1]["lines"].as_u64().unwrap_or(0);
        read >= u64::try_from(written).expect("a count")
    });
}

#[test]
fn a_knock_that_two_gateways_see_in_part_opens_both_and_a_revoked_one_opens_nothing() {
    let Some(mut fleet) = Fleet::new(&["rsyslogd", "openssl"]) else {
        return;
    };
    let has_relp = |module: &&str| {
        let found = std::process::Command::new("find")
            .args(["/usr/lib", "-name", &format!("{module}.so")])
            .output();
        found.is_ok_and(|found| !found.stdout.is_empty())
    };
    if !MODULES.iter().all(has_relp) {
        return crate::need::lacks("rsyslog-relp");
    }
    certificates(&fleet);
    let recipe = block("toml", "log.source");
    let [gw1, gw2, _] = &mut fleet.gateways;
    configure(gw1, gw2, recipe);
    configure(gw2, gw1, recipe);
    let _syslogs = [start_rsyslog(gw1, gw2), start_rsyslog(gw2, gw1)];
    for gateway in [&mut *gw1, &mut *gw2] {
        gateway.load_rules();
        gateway.start();
        let checked = gateway.ask(&["check"]);
        assert!(checked.contains("only ssh"), "{checked}");
    }
    // Both ways carry lines before anything depends on it.
    for (at, seen_by) in [(0, 1), (1, 0)] {
        hit_and_see(&fleet, at, 5999, seen_by);
    }
    let opened = |fleet: &Fleet, at: usize, door: &str| {
        let status = fleet.gateways[at].status().expect("it answers");
        let grants = status["grants"].as_array().expect("an array").clone();
        grants.iter().any(|grant| grant["door"] == door)
    };
    let close = |fleet: &Fleet| {
        for gateway in &fleet.gateways[..2] {
            gateway.ask(&["close", "--all"]);
        }
        for gateway in &fleet.gateways[..2] {
            eventually("it closes", PATIENCE, || {
                fleet.reach(gateway) == Reach::Closed
            });
        }
    };
    for gateway in &fleet.gateways[..2] {
        eventually("ssh is shut", PATIENCE, || {
            fleet.reach(gateway) == Reach::Closed
        });
    }

    // A split knock opens at both.
    for (at, port, seen_by) in [(0, 7000, 1), (1, 8000, 0), (0, 9000, 1)] {
        hit_and_see(&fleet, at, port, seen_by);
    }
    for gateway in &fleet.gateways[..2] {
        eventually("it opens at both", PATIENCE, || {
            fleet.reach(gateway) == Reach::Open
        });
    }
    close(&fleet);

    // A wrong port that only the other gateway saw resets the attempt at both; the knock after it opens.
    for (at, port, seen_by) in [(0, 7000, 1), (0, 8000, 1), (1, 5998, 0), (0, 9000, 1)] {
        hit_and_see(&fleet, at, port, seen_by);
    }
    // A whole knock at a door that gw1 does not take from gw2: it opens at gw2 alone.
    for port in [6001, 6003] {
        hit_and_see(&fleet, 1, port, 0);
    }
    eventually("web opens at gw2", PATIENCE, || opened(&fleet, 1, "web"));
    assert!(!opened(&fleet, 0, "ssh"), "a wrong port resets");
    assert!(!opened(&fleet, 1, "ssh"), "a wrong port resets");
    for (at, port, seen_by) in [(1, 7000, 0), (0, 8000, 1), (1, 9000, 0)] {
        hit_and_see(&fleet, at, port, seen_by);
    }
    eventually("ssh opens at gw1", PATIENCE, || opened(&fleet, 0, "ssh"));
    eventually("ssh opens at gw2", PATIENCE, || opened(&fleet, 1, "ssh"));
    assert!(!opened(&fleet, 0, "web"), "gw2 may not knock at web here");
    close(&fleet);

    // Without its table gw2 counts for nothing at gw1, before any restart.
    let [gw1, gw2, _] = &mut fleet.gateways;
    let revoked = recipe
        .split("[[log.source]]")
        .next()
        .expect("the first table");
    configure(gw1, gw2, revoked);
    gw1.ask(&["reload"]);
    for (at, port, seen_by) in [(0, 7000, 1), (1, 8000, 0), (0, 9000, 1)] {
        hit_and_see(&fleet, at, port, seen_by);
    }
    eventually("ssh opens at gw2", PATIENCE, || opened(&fleet, 1, "ssh"));
    for port in [7000, 8000, 9000] {
        hit_and_see(&fleet, 1, port, 0);
    }
    // What gw1 sees itself still counts, and by then it has decided about all that came before.
    for port in [6001, 6003] {
        hit_and_see(&fleet, 0, port, 1);
    }
    eventually("web opens at gw1", PATIENCE, || opened(&fleet, 0, "web"));
    assert!(!opened(&fleet, 0, "ssh"), "gw2 is revoked");
    let status = finish(&mut fleet.gateways[0].logknock(&["status"]));
    assert!(status.contains("no door"), "{status}");
}

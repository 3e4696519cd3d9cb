//! `logknock rules` for ufw, firewalld and OpenWrt's fw4, loaded by the real nft.
//!
//! Scripts that write down what they are asked stand for ufw, firewall-cmd, uci and fw4.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::host::Reach;
use crate::lab::{Family, Lab, ssh};
use crate::opens::{Backend, configure, knock_until_open, ruleset, start};
use crate::process::{finish, run};
use crate::turn::Ring;

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

#[test]
fn the_script_for_ufw_names_guarded_ports_once_and_a_knock_opens_them() {
    let Some(lab) = Lab::new(Ring::Shared, Backend::Nft.needs()) else {
        return;
    };
    configure(&lab, Backend::Nft, "30s");
    let asked = stub(&lab, "ufw", "");
    let before = ruleset(&lab, Backend::Nft);
    let files = lab.path("ufw-files");
    let script = |options: &[&str]| {
        let script = print(&lab, "ufw", options);
        let text = fs::read_to_string(&script).expect("it is there");
        let text = text.replace("/etc/ufw/applications.d", &files.display().to_string());
        sh(&lab, &lab.write("script", &text), &[]);
    };
    fs::create_dir(&files).expect("a directory");
    for _ in 0..2 {
        script(&[]);
    }
    let profile = fs::read_to_string(files.join("logknock")).expect("it is there");
    assert!(profile.contains("\nports=22/tcp|60001/udp\n"), "{profile}");
    assert_eq!(said(&asked)[..2], ["allow logknock", "app update logknock"]);
    lets_in(&lab);
    fs::remove_file(&asked).expect("it is there");
    script(&["--remove"]);
    assert_eq!(said(&asked), ["delete allow logknock"]);
    assert!(!files.join("logknock").exists());
    assert_eq!(
        ruleset(&lab, Backend::Nft),
        before,
        "nothing is left behind"
    );
}

#[test]
fn the_script_for_firewalld_lets_in_guarded_ports_for_good_and_a_knock_opens_them() {
    let Some(lab) = Lab::new(Ring::Shared, Backend::Nft.needs()) else {
        return;
    };
    configure(&lab, Backend::Nft, "30s");
    // As firewalld answers where there is no such service, and then where there is.
    let asked = stub(&lab, "firewall-cmd", "");
    let before = ruleset(&lab, Backend::Nft);
    let script = print(&lab, "firewalld", &[]);
    sh(&lab, &script, &[]);
    let words = said(&asked).join("\n");
    for port in ["22/tcp", "60001/udp"] {
        let forever = format!("--quiet --permanent --service=logknock --add-port={port}");
        let now = format!("--quiet --add-port={port}");
        assert!(words.contains(&forever) && words.contains(&now), "{words}");
    }
    assert!(words.ends_with("--quiet --permanent --add-service=logknock"));
    lets_in(&lab);
    stub(
        &lab,
        "firewall-cmd",
        "case $* in *--get-ports) echo 22/tcp 60001/udp ;; *--get-services) echo dns logknock ;; \
         *--query-port=22/tcp) exit 0 ;; *--query-port*) exit 1 ;; esac",
    );
    let script = print(&lab, "firewalld", &["--remove"]);
    fs::remove_file(&asked).expect("it is there");
    sh(&lab, &script, &[]);
    let words = said(&asked);
    let has = |word: &str| words.iter().any(|said| said == word);
    assert!(
        has("--quiet --remove-port=60001/udp")
            && has("--quiet --permanent --delete-service=logknock")
    );
    assert!(
        !has("--quiet --remove-port=22/tcp"),
        "it was let in without us"
    );
    assert_eq!(
        ruleset(&lab, Backend::Nft),
        before,
        "nothing is left behind"
    );
}

#[test]
fn the_file_for_openwrt_loads_behind_a_table_that_drops_and_a_knock_opens() {
    let Some(lab) = Lab::new(Ring::Shared, Backend::Nft.needs()) else {
        return;
    };
    configure(&lab, Backend::Nft, "30s");
    let asked = stub(&lab, "uci", "");
    let root = lab.path("root");
    let file = root.join("usr/share/nftables.d/ruleset-post/logknock.nft");
    let table = lab.write(
        "fw4.nft",
        "add table inet fw4\nflush table inet fw4\ntable inet fw4 { chain input { \
         type filter hook input priority filter; policy drop; iif lo accept; \
         ct state established,related accept; meta l4proto { icmp, ipv6-icmp } accept; tcp dport 22 accept; }; }\n",
    );
    // What it includes is in the transaction of its own rules.
    let loads = format!(
        "[ \"$1\" != reload ] || cat '{}' $(ls '{}' 2>/dev/null) | nft -f -",
        table.display(),
        file.display()
    );
    stub(&lab, "fw4", &loads);
    let root = root.display().to_string();
    let script = print(&lab, "openwrt", &[]);
    for _ in 0..2 {
        sh(&lab, &script, &[&root]);
    }
    let mode = file.metadata().expect("it is there").permissions().mode();
    assert_eq!(mode & 0o077, 0, "the prefix is a secret");
    let words = said(&asked).join("\n");
    for word in [
        "set firewall.logknock_tcp.dest_port=22",
        "set firewall.logknock_udp.dest_port=60001",
        "commit firewall",
    ] {
        assert!(words.contains(word), "{words}");
    }
    let kept = Path::new(&root).join("etc/sysupgrade.conf");
    assert_eq!(said(&kept).len(), 1, "twice is once");
    lets_in(&lab);
    let script = print(&lab, "openwrt", &["--remove"]);
    sh(&lab, &script, &[&root]);
    assert!(!file.exists() && said(&kept).is_empty());
    let left = finish(lab.server.command("nft").args(["list", "tables"]));
    assert!(!left.contains("inet logknock"), "{left}");
}

/// Who knocks gets in, and nobody else, over both protocols.
fn lets_in(lab: &Lab) {
    let (_syslog, daemon) = start(lab);
    for family in FAMILIES {
        assert_eq!(ssh(&lab.near, family), Reach::Closed);
        knock_until_open(lab, family);
        assert_eq!(ssh(&lab.far, family), Reach::Closed);
    }
    assert!(daemon.stop().success());
}

/// What `logknock rules` prints, as a file.
fn print(lab: &Lab, firewall: &str, options: &[&str]) -> PathBuf {
    let configuration = lab.path("logknock.toml");
    let words = ["rules", "--for", firewall, "--config"].into_iter();
    let words = words.chain([configuration.to_str().expect("a plain path")]);
    let logknock = env!("CARGO_BIN_EXE_logknock");
    let text = run(logknock, words.chain(options.iter().copied()));
    lab.write("script", &text)
}

/// Runs a script in the server, with the lab's directory before all others that have programs.
fn sh(lab: &Lab, script: &Path, arguments: &[&str]) {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut sh = lab.server.command("sh");
    sh.env(
        "PATH",
        format!("{}:{path}:/usr/sbin:/sbin", lab.dir().display()),
    );
    finish(sh.arg(script).args(arguments));
}

/// A program that writes down what it is asked, in the file that is returned, and does `more`.
fn stub(lab: &Lab, name: &str, more: &str) -> PathBuf {
    let asked = lab.path(format!("{name}.asked"));
    let text = format!("#!/bin/sh\necho \"$*\" >>'{}'\n{more}\n", asked.display());
    let program = lab.write(name, &text);
    fs::set_permissions(program, PermissionsExt::from_mode(0o700)).expect("it is the owner's");
    asked
}

fn said(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

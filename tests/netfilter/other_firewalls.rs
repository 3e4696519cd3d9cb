//! `logknock rules` for ufw, firewalld and OpenWrt's fw4, loaded by the real iptables-restore and nft.
//!
//! Their own programs are not there: a skeleton of ufw's files stands for ufw, and scripts that write
//! down what they are asked for firewall-cmd, uci and fw4.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::host::Reach;
use crate::lab::{Family, Lab, ssh};
use crate::opens::{Backend, configure, knock_until_open, start};
use crate::process::{finish, run};
use crate::turn::Ring;

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

#[test]
fn the_block_for_ufw_loads_with_its_files_and_lets_in_who_knocks() {
    let Some(lab) = Lab::new(Ring::Shared, Backend::Iptables.needs()) else {
        return;
    };
    configure(&lab, Backend::Iptables, "30s");
    let files = [
        ("iptables", "before.rules", "ufw-before-input"),
        ("ip6tables", "before6.rules", "ufw6-before-input"),
    ];
    let skeleton =
        |chain: &str| format!("*filter\n:{chain} - [0:0]\n-A {chain} -i lo -j ACCEPT\nCOMMIT\n");
    for (_, file, chain) in files {
        lab.write(file, &skeleton(chain));
    }
    let script = print(&lab, "ufw", &[]);
    let directory = lab.dir().display().to_string();
    let reload = || {
        for (tool, file, _) in files {
            let mut restore = lab.server.command(&format!("{tool}-restore"));
            finish(restore.arg("-n").arg(lab.path(file)));
        }
    };
    for _ in 0..2 {
        sh(&lab, &script, &[&directory]);
        reload();
    }
    let block = fs::read_to_string(lab.path("before.rules")).expect("it is there");
    assert_eq!(
        block.matches("# logknock: begin").count(),
        1,
        "twice is once"
    );
    let rules = finish(
        lab.server
            .command("iptables")
            .args(["-S", "ufw-before-input"]),
    );
    assert_eq!(rules.matches("-j LOGKNOCK_INPUT").count(), 1, "{rules}");
    // As ufw's own start does.
    for (tool, _, chain) in files {
        finish(lab.server.command(tool).args(["-A", "INPUT", "-j", chain]));
    }
    lets_in(&lab);
    let script = print(&lab, "ufw", &["--remove"]);
    sh(&lab, &script, &[&directory]);
    for (_, file, chain) in files {
        let text = fs::read_to_string(lab.path(file)).expect("it is there");
        assert_eq!(text, skeleton(chain), "nothing is left behind");
    }
}

#[test]
fn the_script_for_firewalld_tells_it_what_the_table_guards_and_lets_in_who_knocks() {
    let Some(lab) = Lab::new(Ring::Shared, Backend::Nft.needs()) else {
        return;
    };
    configure(&lab, Backend::Nft, "30s");
    let asked = stub(&lab, "firewall-cmd", "");
    let before = finish(lab.server.command("nft").args(["list", "ruleset"]));
    let script = print(&lab, "firewalld", &[]);
    sh(&lab, &script, &[]);
    let ports = ["22/tcp", "60001/udp"];
    assert_eq!(
        said(&asked),
        ports.map(|port| format!("--quiet --add-port={port}"))
    );
    lets_in(&lab);
    let script = print(&lab, "firewalld", &["--remove"]);
    fs::remove_file(&asked).expect("it is there");
    sh(&lab, &script, &[]);
    assert_eq!(
        said(&asked),
        ports.map(|port| format!("--quiet --remove-port={port}"))
    );
    let after = finish(lab.server.command("nft").args(["list", "ruleset"]));
    assert_eq!(after, before, "nothing is left behind");
}

#[test]
fn the_file_for_openwrt_loads_behind_a_table_that_drops_and_lets_in_who_knocks() {
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

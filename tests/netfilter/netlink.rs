//! The nft backend over netlink, when what it changes is gone.

use crate::daemon::Daemon;
use crate::lab::{Lab, PATIENCE};
use crate::opens::{Backend, load};
use crate::process::{self, eventually, finish};
use crate::turn::Ring;

const SRC: &str = "192.0.2.2";
const GONE: &str =
    "the kernel does not have the table 'logknock' or its sets; load the rules again";

fn nft(lab: &Lab, words: &str) -> String {
    finish(lab.server.command("nft").args(words.split(' ')))
}

/// Whether a request succeeds, and what is said of it.
fn ask(lab: &Lab, words: &[&str]) -> (bool, String) {
    let mut command = process::command(env!("CARGO_BIN_EXE_logknock"));
    command.args(words);
    command.arg("--config").arg(lab.path("logknock.toml"));
    command.arg("--state-dir").arg(lab.path("state"));
    let done = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    (done.status.success(), said)
}

fn start(lab: &Lab) -> Daemon {
    let text = format!(
        "[log]\nsources = [\"kmsg\"]\nprefix = \"{}\"\n[firewall]\nbackend = \"nft\"\n[door.ssh]\n\
         sequence = [7000, 8000, 9000]\nopens = [\"22:tcp\"]\ncmd_timeout = \"1h\"\n",
        lab.prefix
    );
    lab.write("logknock.toml", &text);
    load(lab, Backend::Nft, &[]);
    Daemon::restart(lab)
}

fn has_nothing_open(lab: &Lab) {
    eventually("nothing is open or owed", PATIENCE, || {
        !Daemon::status(lab).contains(SRC)
    });
}

#[test]
fn an_open_into_a_set_that_is_gone_fails_with_its_own_words_and_works_once_it_is_back() {
    let Some(lab) = Lab::new(Ring::Shared, &[]) else {
        return;
    };
    let _daemon = start(&lab);
    let open = || ask(&lab, &["open", "ssh", SRC]);
    for gone in [
        "delete set inet logknock open4",
        "delete table inet logknock",
    ] {
        assert!(open().0);
        assert!(nft(&lab, "list set inet logknock open4").contains(SRC));
        nft(&lab, "flush table inet logknock");
        nft(&lab, gone);
        // Nothing is left to be closed, and that is no failure.
        assert!(ask(&lab, &["close", SRC]).0, "{gone}");
        has_nothing_open(&lab);
        let (is_open, said) = open();
        assert!(!is_open && said.contains(GONE), "{gone}: {said}");
        has_nothing_open(&lab);
        load(&lab, Backend::Nft, &[]);
        assert!(open().0, "{gone}");
        assert!(ask(&lab, &["close", SRC]).0, "{gone}");
        has_nothing_open(&lab);
    }
}

#[test]
fn a_set_that_is_flushed_while_a_door_is_open_leaves_nothing_owed() {
    let Some(lab) = Lab::new(Ring::Shared, &[]) else {
        return;
    };
    let daemon = start(&lab);
    assert!(ask(&lab, &["open", "ssh", SRC]).0);
    nft(&lab, "flush set inet logknock open4");
    assert!(ask(&lab, &["close", SRC]).0);
    has_nothing_open(&lab);
    assert!(!daemon.said().contains("ERROR"), "{}", daemon.said());
    assert!(ask(&lab, &["open", "ssh", SRC]).0);
    assert!(nft(&lab, "list set inet logknock open4").contains(SRC));
}

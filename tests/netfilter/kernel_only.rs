//! Knockers without a daemon, as `logknock rules --for iptables-recent` and `nft-only` print them.
//!
//! What must hold of both: they load twice as once and leave nothing behind, who knocked gets in once
//! and nobody else, and what is late is forgotten. A table beside them logs each packet before they see
//! it, so that [`Lab::hit`] keeps the order.

use std::thread;
use std::time::{Duration, Instant};

use crate::host::Reach;
use crate::lab::{Family, Hit, Lab, PATIENCE, ssh};
use crate::opens::{Backend, ruleset};
use crate::process::{eventually, finish, run};
use crate::scan;
use crate::turn::Ring;

const KNOCKS: [Hit; 3] = [Hit::Tcp(7000), Hit::Udp(8000), Hit::Tcp(9000)];

/// What in the kernel remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Recent,
    Nft,
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Self::Recent => "iptables-recent",
            Self::Nft => "nft-only",
        }
    }

    /// What the test needs beside nft.
    pub(crate) fn needs(self) -> &'static [&'static str] {
        match self {
            Self::Recent => &["iptables", "ip6tables", "iptables-restore"],
            Self::Nft => &[],
        }
    }

    /// Loads in the server what is printed for the doors, or takes it away.
    pub(crate) fn load(self, lab: &Lab, doors: &str) {
        let text = format!("[firewall]\nbackend = \"nft\"\n{doors}");
        let configuration = lab.write("kernel.toml", &text);
        let configuration = configuration.to_str().expect("a plain path");
        let logknock = env!("CARGO_BIN_EXE_logknock");
        let text = run(
            logknock,
            ["rules", "--for", self.name(), "--config", configuration],
        );
        self.feed(lab, &text);
    }

    /// Takes away what was loaded.
    pub(crate) fn remove(self, lab: &Lab) {
        let logknock = env!("CARGO_BIN_EXE_logknock");
        let text = run(logknock, ["rules", "--for", self.name(), "--remove"]);
        self.feed(lab, &text);
    }

    fn feed(self, lab: &Lab, text: &str) {
        let file = lab.write("rules", text);
        let words: &[&str] = match self {
            Self::Recent => &["sh"],
            Self::Nft => &["nft", "-f"],
        };
        finish(lab.server.command(words[0]).args(&words[1..]).arg(file));
    }

    /// All rules of the server, and who is in which set or list.
    fn ruleset(self, lab: &Lab) -> String {
        let print = |tool: &str, options: &[&str]| finish(lab.server.command(tool).args(options));
        match self {
            Self::Nft => print("nft", &["-s", "list", "ruleset"]),
            Self::Recent => ruleset(lab, Backend::Iptables),
        }
    }
}

/// Logs the start of every connection and every datagram, before any other rule.
pub(crate) fn witness(lab: &Lab) {
    let rules = format!(
        "table inet witness {{ chain before {{ type filter hook prerouting priority -350; \
         tcp flags & (syn | ack) == syn log prefix \"{prefix}\"; \
         meta l4proto udp log prefix \"{prefix}\"; }}; }}",
        prefix = lab.prefix
    );
    finish(lab.server.command("nft").arg(rules));
}

fn door(window: &str, hold: &str) -> String {
    format!(
        "[door.ssh]\nsequence = [7000, \"8000:udp\", 9000]\nseq_timeout = \"{window}\"\n\
         cmd_timeout = \"{hold}\"\nopens = [\"22:tcp\", \"60001:udp\"]\n"
    )
}

/// A lab with a knocker.
fn guarded(form: Form, window: &str, hold: &str) -> Option<Lab> {
    let lab = Lab::new(Ring::Shared, form.needs())?;
    witness(&lab);
    form.load(&lab, &door(window, hold));
    Some(lab)
}

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

#[test]
fn recent_lets_an_address_that_knocked_in_once_and_no_other() {
    lets_in_once(Form::Recent);
}

#[test]
fn nft_lets_an_address_that_knocked_in_once_and_no_other() {
    lets_in_once(Form::Nft);
}

fn lets_in_once(form: Form) {
    let Some(lab) = guarded(form, "5s", "30s") else {
        return;
    };
    let _public = lab.server.listen(8022);
    for family in FAMILIES {
        assert_eq!(ssh(&lab.near, family), Reach::Closed);
        let public = family.server(8022);
        assert_eq!(lab.near.connect(public), Reach::Open, "no other is closed");
        lab.hit(&lab.near, family, &KNOCKS);
        assert_eq!(ssh(&lab.far, family), Reach::Closed);
        lab.hit(&lab.near, family, &[Hit::Tcp(4444)]);
        assert_eq!(
            ssh(&lab.near, family),
            Reach::Open,
            "who is in is not shut out"
        );
        assert_eq!(ssh(&lab.near, family), Reach::Closed, "once");
        lab.hit(&lab.near, family, &KNOCKS);
        assert_eq!(ssh(&lab.near, family), Reach::Open, "a new knock");
    }
}

#[test]
fn recent_forgets_a_late_knock() {
    forgets_who_is_late(Form::Recent);
}

#[test]
fn nft_forgets_a_late_knock() {
    forgets_who_is_late(Form::Nft);
}

/// The time itself is what is tested.
fn forgets_who_is_late(form: Form) {
    let Some(lab) = guarded(form, "2s", "2s") else {
        return;
    };
    let late = Duration::from_millis(2200);
    let closed = |what: &str| {
        for family in FAMILIES {
            assert_eq!(ssh(&lab.near, family), Reach::Closed, "{what} {family:?}");
        }
    };
    let hit = |hits: &[Hit]| {
        for family in FAMILIES {
            lab.hit(&lab.near, family, hits);
        }
    };
    hit(&KNOCKS[..2]);
    thread::sleep(late);
    hit(&KNOCKS[2..]);
    closed("the knock took too long");
    hit(&KNOCKS);
    thread::sleep(late);
    closed("the connection came too late");
    // Another knock moves the deadline.
    hit(&KNOCKS);
    let began = Instant::now();
    thread::sleep(Duration::from_millis(1200));
    hit(&KNOCKS);
    thread::sleep(Duration::from_millis(1100));
    assert!(began.elapsed() > Duration::from_millis(2200));
    for family in FAMILIES {
        assert_eq!(ssh(&lab.near, family), Reach::Open, "{family:?}");
    }
}

#[test]
fn recent_loads_twice_as_once_keeps_its_state_and_leaves_nothing_behind() {
    leaves_nothing_behind(Form::Recent);
}

#[test]
fn nft_loads_twice_as_once_keeps_its_state_and_leaves_nothing_behind() {
    leaves_nothing_behind(Form::Nft);
}

fn leaves_nothing_behind(form: Form) {
    let Some(lab) = Lab::new(Ring::Shared, form.needs()) else {
        return;
    };
    witness(&lab);
    let before = form.ruleset(&lab);
    let doors = door("20s", "30s");
    form.load(&lab, &doors);
    let loaded = form.ruleset(&lab);
    assert_ne!(loaded, before);
    form.load(&lab, &doors);
    assert_eq!(form.ruleset(&lab), loaded, "twice is once");
    for family in FAMILIES {
        lab.hit(&lab.near, family, &KNOCKS[..2]);
    }
    form.load(&lab, &doors);
    for family in FAMILIES {
        lab.hit(&lab.near, family, &KNOCKS[2..]);
    }
    form.load(&lab, &doors);
    for family in FAMILIES {
        assert_eq!(ssh(&lab.near, family), Reach::Open, "nobody is forgotten");
    }
    for _ in 0..2 {
        form.remove(&lab);
        assert_eq!(form.ruleset(&lab), before, "nothing is left behind");
    }
    assert_eq!(ssh(&lab.near, Family::V4), Reach::Open, "nothing is closed");
}

#[test]
fn no_scan_gets_past_recent() {
    no_scan_gets_past(Form::Recent);
}

#[test]
fn no_scan_gets_past_nft() {
    no_scan_gets_past(Form::Nft);
}

/// In random orders, of which only those are taken that have the sequence's ports in its order; and up.
fn no_scan_gets_past(form: Form) {
    let Some(lab) = Lab::new(Ring::Alone, form.needs()) else {
        return;
    };
    let sequence = [7000, 8000, 9000];
    form.load(
        &lab,
        "[door.ssh]\nsequence = [7000, 8000, 9000]\nopens = [\"22:tcp\"]\n",
    );
    let ascending: Vec<u16> = (1..=10_000).collect();
    let unlucky = scan::unlucky_order(&sequence);
    let scans = [
        (Family::V4, vec![&unlucky, &ascending]),
        (Family::V6, vec![&unlucky]),
    ];
    for (family, orders) in scans {
        let server = family.server(0).ip();
        for ports in orders {
            // The opened port would reset the sender; it is tried at the end.
            let ports: Vec<u16> = ports.iter().copied().filter(|port| *port != 22).collect();
            lab.near.scan(server, &ports, 100, || ());
            assert_eq!(ssh(&lab.near, family), Reach::Closed, "{family:?}");
        }
        // The same ports without the others.
        lab.near.scan(server, &sequence, 1, || {
            thread::sleep(Duration::from_millis(20));
        });
        eventually("ssh opens", PATIENCE, || {
            ssh(&lab.near, family) == Reach::Open
        });
    }
}

//! A runner on a state directory of its own, with real processes; and doors whose commands are scripts.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use logknock::clock;
use logknock::engine::action::{Action, Command, GrantId, Outcome};
use logknock::engine::command::{Facts, Template};
use logknock::engine::door::{Door, GrantRule, PerFamily};
use logknock::engine::grant::SavedGrant;
use logknock::engine::sequence::Step;
use logknock::runner::ledger::{Boot, Ledger, Opened};
use logknock::runner::{Carried, Ended, Options, Runner};
use tempfile::TempDir;

use super::example;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const STEP: Step = example::tcp(7000);

pub(crate) fn address(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

/// A door whose commands are shell scripts.
pub(crate) fn door(name: &str, open: &str, close: &str) -> Arc<Door> {
    let command = |script: &str| PerFamily {
        v4: Template::from_shell(script).ok(),
        v6: Template::from_shell(script).ok(),
    };
    let plain = example::door(&[STEP.port]);
    Arc::new(Door {
        name: name.into(),
        grant: GrantRule {
            hold: Duration::from_secs(3600),
            open: command(open),
            close: command(close),
            ..plain.grant
        },
        ..plain
    })
}

pub(crate) fn facts(door: &Door, src: IpAddr) -> Facts {
    Facts {
        src,
        dst: IpAddr::V4(Ipv4Addr::LOCALHOST),
        step: STEP,
        interface: "eth0".into(),
        door: Arc::clone(&door.name),
        hold: Some(door.grant.hold),
    }
}

/// A state directory with a runner on it, and a log that commands append to.
pub(crate) struct Bench {
    pub(crate) dir: TempDir,
    pub(crate) runner: Option<Runner>,
    pub(crate) carried: Receiver<Carried>,
    pub(crate) grants: Vec<SavedGrant>,
}

impl Bench {
    pub(crate) fn new(options: Options) -> Self {
        Self::on(tempfile::tempdir().unwrap(), options)
    }

    pub(crate) fn on(dir: TempDir, options: Options) -> Self {
        let Opened { ledger, grants, .. } = open_ledger(dir.path());
        let (sender, carried) = mpsc::channel();
        let reports = move |carried| {
            let _ = sender.send(carried);
        };
        let runner = Some(Runner::start(options, ledger, reports).unwrap());
        Self {
            dir,
            runner,
            carried,
            grants,
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// A script that appends `words` to the log.
    pub(crate) fn say(&self, words: &str) -> String {
        format!("echo {words} >> {}/log", self.dir.path().display())
    }

    pub(crate) fn wait_for(&self, line: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.log().lines().any(|found| found == line) {
            assert!(
                Instant::now() < end,
                "no '{line}' in the log:\n{}",
                self.log()
            );
            std::thread::yield_now();
        }
    }

    pub(crate) fn submit(&self, action: Action) {
        self.runner.as_ref().unwrap().submit(action);
    }

    pub(crate) fn open(&self, grant: u64, door: &Arc<Door>, src: IpAddr) {
        self.submit(Action::Open {
            grant: GrantId(grant),
            facts: facts(door, src),
            door: Arc::clone(door),
            deadline: clock::boot_now().after(door.grant.hold),
            spend: None,
            last: None,
        });
    }

    pub(crate) fn close(&self, grant: u64) {
        let grant = GrantId(grant);
        self.submit(Action::Close { grant });
    }

    pub(crate) fn finished(&self) -> (u64, Command, Outcome, Ended) {
        match self.carried.recv_timeout(PATIENCE).unwrap() {
            Carried::Finished {
                grant,
                command,
                outcome,
                ended,
            } => (grant.0, command, outcome, ended),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn stop(&mut self, within: Duration) -> usize {
        self.runner.take().unwrap().stop(within)
    }

    /// Another start on the same state directory.
    pub(crate) fn restarted(mut self) -> Self {
        self.stop(PATIENCE);
        Self::on(self.dir, Options::default())
    }
}

pub(crate) fn open_ledger(dir: &Path) -> Opened {
    Ledger::open(&dir.join("state"), &Boot::read().unwrap()).unwrap()
}

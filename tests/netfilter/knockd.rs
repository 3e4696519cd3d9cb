//! The real knockd, beside everything else on the same packets: the measure of what is fair.
//!
//! In: a sequence in knockd's words. Out: how often knockd has opened.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Signal, kill_process};

use crate::lab::{Lab, PATIENCE};
use crate::process::{Running, children, eventually};

/// A running knockd with one door.
#[derive(Debug)]
pub(crate) struct Knockd {
    running: Running,
    opened: PathBuf,
}

impl Knockd {
    /// Starts it with one door, and returns when it listens.
    pub(crate) fn start(lab: &Lab, sequence: &str) -> Self {
        let opened = lab.path("opened-by-knockd");
        let text = format!(
            "[options]\n\tlogfile = {log}\n\tpidfile = {pid}\n\
             [ssh]\n\tsequence = {sequence}\n\tseq_timeout = 15\n\ttcpflags = syn\n\
             \tcommand = echo %IP% >> {opened}\n",
            log = lab.path("knockd.log").display(),
            pid = lab.path("knockd.pid").display(),
            opened = opened.display(),
        );
        let mut knockd = Self::on(lab, &lab.write("knockd.conf", &text));
        knockd.opened = opened;
        knockd
    }

    /// Starts it on the near client's link with this configuration, and returns when it listens.
    pub(crate) fn on(lab: &Lab, configuration: &Path) -> Self {
        Self::beside(lab, &[], configuration)
    }

    /// The same, behind words such as `unshare …`.
    pub(crate) fn beside(lab: &Lab, words: &[String], configuration: &Path) -> Self {
        let said = lab.path("knockd.stdout");
        let configuration = configuration.to_str().expect("a plain path");
        let argv = ["ip", "netns", "exec", lab.server.namespace()];
        let knockd = ["knockd", "-i", "veth-near", "-v", "-c", configuration];
        let argv = words.iter().map(String::as_str).chain(argv).chain(knockd);
        let running = Running::start("knockd", argv, |command| {
            command.stdout(fs::File::create(&said).expect("a file"));
        });
        let mut knockd = Self {
            running,
            opened: PathBuf::new(),
        };
        eventually("knockd captures", PATIENCE, || {
            knockd.running.must_run();
            fs::read_to_string(&said).is_ok_and(|text| text.contains("listening on"))
        });
        knockd
    }

    /// `kill -9` of it and of all that it has started, as systemd does when its main process is gone.
    pub(crate) fn kill(self) {
        let children = children(self.running.pid());
        self.running.signal(Signal::KILL);
        for child in children {
            // It may have ended by itself.
            let _ = kill_process(child, Signal::KILL);
        }
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.running.ended().is_some()
    }

    /// How often it has run its command.
    pub(crate) fn opened(&self) -> usize {
        fs::read_to_string(&self.opened).map_or(0, |text| text.lines().count())
    }
}

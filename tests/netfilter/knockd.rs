//! The real knockd, beside everything else on the same packets: the measure of what is fair.
//!
//! In: a sequence in knockd's words. Out: how often knockd has opened.

use std::fs;
use std::path::PathBuf;

use crate::lab::{Lab, PATIENCE};
use crate::process::{Running, eventually};

/// A running knockd with one door.
#[derive(Debug)]
pub(crate) struct Knockd {
    running: Running,
    opened: PathBuf,
}

impl Knockd {
    /// Starts it on the near client's link, and returns when it listens.
    pub(crate) fn start(lab: &Lab, sequence: &str) -> Self {
        let opened = lab.path("opened-by-knockd");
        let said = lab.path("knockd.stdout");
        let text = format!(
            "[options]\n\tlogfile = {log}\n\tpidfile = {pid}\n\
             [ssh]\n\tsequence = {sequence}\n\tseq_timeout = 15\n\ttcpflags = syn\n\
             \tcommand = echo %IP% >> {opened}\n",
            log = lab.path("knockd.log").display(),
            pid = lab.path("knockd.pid").display(),
            opened = opened.display(),
        );
        let configuration = lab.write("knockd.conf", &text);
        let configuration = configuration.to_str().expect("a plain path");
        let running = Running::start(
            "knockd",
            [
                "ip",
                "netns",
                "exec",
                lab.server.namespace(),
                "knockd",
                "-i",
                "veth-near",
                "-v",
                "-c",
                configuration,
            ],
            |command| {
                command.stdout(fs::File::create(&said).expect("a file"));
            },
        );
        let mut knockd = Self { running, opened };
        eventually("knockd captures", PATIENCE, || {
            knockd.running.must_run();
            fs::read_to_string(&said).is_ok_and(|text| text.contains("listening on"))
        });
        knockd
    }

    /// How often it has run its command.
    pub(crate) fn opened(&self) -> usize {
        fs::read_to_string(&self.opened).map_or(0, |text| text.lines().count())
    }
}

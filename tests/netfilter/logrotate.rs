//! The real logrotate, with its own configuration and state, rotating one file when told to.
//!
//! `create` renames the file, makes a new one and sends rsyslogd a HUP, as Debian does;
//! `copytruncate` copies it and cuts the original to nothing.

use std::fs;
use std::path::PathBuf;

use crate::lab::Lab;
use crate::process;
use crate::rsyslog;

/// How the file is rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Create,
    CopyTruncate,
}

/// A logrotate for one file of a lab.
#[derive(Debug)]
pub(crate) struct Logrotate {
    configuration: PathBuf,
    state: PathBuf,
    dir: PathBuf,
}

impl Logrotate {
    /// A configuration for `kern.log`, which keeps everything it rotates.
    pub(crate) fn new(lab: &Lab, how: How) -> Self {
        let way = match how {
            How::Create => format!(
                "create 0600 root root\n    postrotate\n        kill -HUP $(cat {})\n    endscript",
                rsyslog::pid_file(lab).display()
            ),
            How::CopyTruncate => "copytruncate".to_owned(),
        };
        let text = format!(
            "{log} {{\n    su root root\n    rotate 1000\n    nocompress\n    {way}\n}}\n",
            log = lab.path("kern.log").display(),
        );
        Self {
            configuration: lab.write("logrotate.conf", &text),
            state: lab.path("logrotate.state"),
            dir: lab.dir().to_owned(),
        }
    }

    /// Rotates now.
    pub(crate) fn rotate(&self) {
        let mut command = process::command("logrotate");
        command.arg("--force").arg("--state").arg(&self.state);
        process::finish(command.arg(&self.configuration));
    }

    /// Everything that is left in the file and in those it was rotated to.
    pub(crate) fn surviving(&self) -> String {
        let mut text = String::new();
        for entry in fs::read_dir(&self.dir)
            .expect("the lab's directory")
            .flatten()
        {
            if entry.file_name().to_string_lossy().starts_with("kern.log") {
                text += &String::from_utf8_lossy(&fs::read(entry.path()).expect("a log"));
            }
        }
        text
    }
}

//! A real terminal: a pane of tmux, of any size, that is typed into and looked at.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use super::logknock::eventually;

/// A terminal in which a shell runs one script. tmux has its socket in a directory of its own, and ends with it.
pub(crate) struct Terminal {
    dir: TempDir,
}

impl Terminal {
    /// One of so many columns and rows. `script` is run in `directory`; `logknock` is the program there.
    pub(crate) fn open(columns: u16, rows: u16, directory: &Path, script: &str) -> Self {
        let terminal = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let program = env!("CARGO_BIN_EXE_logknock");
        symlink(program, terminal.dir.path().join("logknock")).unwrap();
        let path = terminal.dir.path().display();
        let script = format!("PATH={path}:$PATH; export TZ=UTC0; {script}");
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let started = terminal
            .command(&[
                "-f",
                "/dev/null",
                "new-session",
                "-d",
                "-x",
                &columns,
                "-y",
                &rows,
            ])
            .args(["sh", "-c", &script])
            .current_dir(directory)
            .output()
            .unwrap();
        assert!(started.status.success(), "{started:?}");
        terminal
    }

    /// What is seen in it.
    pub(crate) fn seen(&self) -> String {
        let output = self.tmux(&["capture-pane", "-p"]);
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same, with its colours.
    pub(crate) fn seen_in_colour(&self) -> String {
        let output = self.tmux(&["capture-pane", "-p", "-e"]);
        String::from_utf8(output.stdout).unwrap()
    }

    /// Waits until it is seen.
    pub(crate) fn awaits(&self, words: &str) {
        eventually(
            || self.seen().contains(words),
            || format!("{words}\n{}", self.seen()),
        );
    }

    /// Types a key, in tmux's words.
    pub(crate) fn key(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    /// Changes its size.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        let (columns, rows) = (columns.to_string(), rows.to_string());
        self.tmux(&["resize-window", "-x", &columns, "-y", &rows]);
    }

    fn tmux(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        command
            .args(["-u", "-S"])
            .arg(self.dir.path().join("tmux"))
            .args(words)
            .env("LC_ALL", "C.UTF-8")
            .env_remove("TMUX")
            .env_remove("NO_COLOR");
        command
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

//! The firewall's and the system's own tools, run to their end.
#![expect(
    clippy::disallowed_types,
    reason = "the administrator asked for what these tools do or know"
)]

use std::io::{self, Write};
use std::process::{Command, Output, Stdio};

use crate::monitor;

/// Whether the program is there.
pub(super) fn has(program: &str) -> bool {
    monitor::locate(program).is_some()
}

/// Runs a program on `input`.
pub(super) fn feed(program: &str, arguments: &[&str], input: &str) -> io::Result<Output> {
    let path = monitor::locate(program).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("{program} is not installed"),
        )
    })?;
    let mut child = Command::new(path)
        .args(arguments)
        .env("LC_ALL", "C")
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // What it prints fits into a pipe until it has read all, or it ends without reading: neither blocks us for ever.
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(input.as_bytes());
    }
    child.wait_with_output()
}

/// What a program prints; `None` when it is missing or fails.
pub(super) fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = feed(program, arguments, "").ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(text)
}

/// Runs a program on `input`; its last words when it fails.
pub(super) fn run(program: &str, arguments: &[&str], input: &str) -> Result<(), String> {
    match feed(program, arguments, input) {
        Err(error) => Err(format!("{program}: {error}")),
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.lines().map(str::trim).rfind(|line| !line.is_empty());
            Err(format!(
                "{program}: {}",
                last.unwrap_or("it failed without a word")
            ))
        }
    }
}

//! `logknock init`: a fresh configuration of random secrets that fits this host, and what to do next.
//!
//! In: what [`Host`] found, and the path of a file that must not exist. Out: that file, readable by its owner only,
//! and the next steps on stdout, in an order that locks nobody out, without any of the secrets in it. Or the file's
//! text alone.
#![expect(clippy::disallowed_types, reason = "writes the configuration")]

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::exit::{Code, Failure};
use super::host::Host;
use super::secret;
use crate::config;
use crate::engine::sequence::Step;
use crate::rights;
use crate::source_spec::SourceSpec;

/// Arguments of `init`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print the configuration instead of writing it
    #[arg(long)]
    print: bool,
}

/// Runs `init`.
pub(super) fn run(args: &Args, path: &Path) -> Result<(), Failure> {
    let host = Host::look();
    let sequence = loop {
        let sequence = secret::sequence()?;
        if sequence.iter().all(|step| !host.taken.contains(&step.port)) {
            break sequence;
        }
    };
    let text = configuration(&host, &secret::prefix()?, &sequence);
    if args.print {
        return Ok(write!(anstream::stdout(), "{text}")?);
    }
    write(path, &text).map_err(|error| unwritable(path, &error))?;
    say(path, &host)?;
    Ok(())
}

/// Words, separated by commas.
fn list(words: impl IntoIterator<Item = String>) -> String {
    words.into_iter().collect::<Vec<_>>().join(", ")
}

fn configuration(host: &Host, prefix: &str, sequence: &[Step]) -> String {
    let backend = host.backend().as_str();
    let sequence = config::steps(sequence);
    let opens = list(host.ssh.iter().map(|port| format!("\"{port}:tcp\"")));
    let source = &host.source;
    let here = host.session.and_then(|session| session.way);
    let here = here.map_or("192.0.2.0/24".to_owned(), |(client, _)| client.to_string());
    format!(
        include_str!("init.toml"),
        sequence = sequence,
        prefix = prefix,
        source = source,
        backend = backend,
        here = here,
        opens = opens,
    )
}

/// Writes a file that was not there before, whole or not at all.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(parent)?;
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all());
    if written.is_err() {
        // Half a configuration would be in the way of the next try.
        let _ = std::fs::remove_file(path);
    }
    written
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::AlreadyExists => {
            let why = "exists already, and init overwrites nothing\nmove it away, or give another --config";
            Failure::new(Code::Failed, format!("'{path}' {why}"))
        }
        io::ErrorKind::PermissionDenied => {
            let why =
                format!("cannot be written: {error}\nrun it as root, or give another --config");
            Failure::new(Code::Permission, format!("'{path}' {why}"))
        }
        _ => Failure::new(Code::Failed, format!("'{path}' cannot be written: {error}")),
    }
}

fn say(path: &Path, host: &Host) -> io::Result<()> {
    let config = match path.to_str() {
        Some("/etc/logknock/logknock.toml") => String::new(),
        Some(_) => format!(" --config {}", rights::quoted(path)),
        None => " --config …".to_owned(),
    };
    let name = host.firewall.as_str();
    let ports = list(host.ssh.iter().map(|port| format!("{port}/tcp")));
    let port = host.ssh.first().copied().unwrap_or(22);
    let start = if host.is_systemd && config.is_empty() {
        "systemctl enable --now logknock && logknock status".to_owned()
    } else {
        format!("logknock{config}    (and in another terminal: logknock status{config})")
    };
    let sshd = if host.has_sshd {
        format!("sshd listens on {ports}")
    } else {
        format!("no sshd is found, so {ports} is taken")
    };
    let session = match host.session {
        Some(_) => "this is an ssh session",
        None => "this is not an ssh session",
    };
    let source = match host.source {
        SourceSpec::Kmsg => "the kernel's log can be read",
        _ => "the kernel's log cannot be read here, so packets come over netlink",
    };
    let interfaces = list(host.interfaces.iter().cloned());
    let login = match port {
        22 => "ssh HOST".to_owned(),
        port => format!("ssh -p {port} HOST"),
    };
    let mut out = anstream::stdout();
    writeln!(
        out,
        "{} is written. Your knock is its 'sequence'; it opens {ports} for 30 s.
Found: the firewall is {name}; {sshd}; {session}; {source}; interfaces: {interfaces}.

Stay connected: this session continues. From step 2 on, new connections to {ports} need the knock.
  1. start it, and see its sources:  {start}
  2. load the rules for ten minutes: logknock rules{config} --for {name} --try 10m
  3. from a second terminal, knock:  logknock knock HOST SEQUENCE --wait {port} && {login}
     or, in ~/.ssh/config:           ProxyCommand logknock knock %h SEQUENCE --wait %p --proxy
  4. if you are in, keep the rules:  logknock rules{config} --confirm
     if not, see what is broken:     logknock doctor{config}
  5. load them at each boot:         logknock rules{config} --for {name} --install
To remove all of it:                 logknock rules --remove",
        path.display()
    )
}

#[cfg(test)]
#[path = "init_test.rs"]
mod tests;

//! `logknock init`: a fresh configuration of random secrets, and what to do next.
//!
//! In: the path of a file that must not be there. Out: that file, readable by its owner only, and the
//! next steps on stdout, without any of the secrets in it.
#![expect(clippy::disallowed_types, reason = "writes the configuration")]

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::exit::{Code, Failure};
use super::{kernel, secret};
use crate::config;
use crate::engine::sequence::Step;
use crate::firewall::Backend;
use crate::firewall::rules::Tool;
use crate::monitor;
use crate::source_spec::SourceSpec;

/// Lower groups are what other programs take by default.
const FIRST_GROUP: u16 = 5;

/// Runs `init`.
pub(super) fn run(path: &Path) -> Result<(), Failure> {
    let backend = installed();
    let text = configuration(backend, &source(), &secret::prefix()?, &secret::sequence()?);
    write(path, &text).map_err(|error| unwritable(path, &error))?;
    say(path, backend)?;
    Ok(())
}

/// What is there to open doors with. nft before ipset, and both before rules that never end.
fn installed() -> Backend {
    let has = |program: &str| monitor::locate(program).is_some();
    match (has("nft"), has("iptables"), has("ipset")) {
        (false, true, true) => Backend::Ipset,
        (false, true, false) => Backend::Iptables,
        _ => Backend::Nft,
    }
}

/// Where the packets are seen: in the kernel's log, unless that cannot be read or has none of this network namespace.
fn source() -> SourceSpec {
    if !kernel::is_mute() && File::open("/dev/kmsg").is_ok() {
        return SourceSpec::Kmsg;
    }
    let taken = kernel::groups_read();
    let free = (FIRST_GROUP..=u16::MAX).find(|group| !taken.contains(group));
    SourceSpec::Nflog(free.unwrap_or(FIRST_GROUP))
}

fn configuration(backend: Backend, source: &SourceSpec, prefix: &str, sequence: &[Step]) -> String {
    let backend = backend.as_str();
    let sequence = config::steps(sequence);
    format!(
        r#"# Written by 'logknock init'. The sequence and the prefix are secrets: keep this file at mode 0600.

[log]
sources = ["{source}"]
prefix  = "{prefix}"

[firewall]
backend = "{backend}"

[door.ssh]
sequence    = {sequence}
seq_timeout = "15s"
opens       = ["22:tcp"]
cmd_timeout = "30s"
"#
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
        io::ErrorKind::AlreadyExists => Failure::new(
            Code::Failed,
            format!(
                "logknock: '{path}' is there already, and init overwrites nothing\nmove it away, or give another --config"
            ),
        ),
        io::ErrorKind::PermissionDenied => Failure::new(
            Code::Permission,
            format!(
                "logknock: '{path}' cannot be written: {error}\nrun it as root, or give another --config"
            ),
        ),
        _ => Failure::new(
            Code::Failed,
            format!("logknock: '{path}' cannot be written: {error}"),
        ),
    }
}

fn say(path: &Path, backend: Backend) -> io::Result<()> {
    let tool = Tool::from(backend);
    let (name, reader) = (tool.as_str(), tool.reader());
    let config = match path.to_str() {
        Some("/etc/logknock/logknock.toml") => String::new(),
        Some(path) => format!(" --config {}", shlex::try_quote(path).unwrap_or_default()),
        None => " --config …".to_owned(),
    };
    let mut out = anstream::stdout();
    writeln!(
        out,
        "{} is written: your knock is its 'sequence', and opens 22/tcp for 30 s.

Stay connected while you set it up: new connections to 22/tcp need the knock from step 2 on.
  1. read the rules, and whether they fit:  logknock rules{config} --for {name}
  2. load them:                             logknock rules{config} --for {name} | {reader}
     (away again:                           logknock rules{config} --for {name} --remove | {reader})
  3. see the knock arrive:                  logknock{config} --dry-run -v
  4. run it:                                logknock{config}",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_a_configuration_without_a_warning_whatever_the_backend() {
        for (_, backend) in Backend::ALL {
            let sequence = secret::sequence().unwrap();
            let text = configuration(
                backend,
                &SourceSpec::Kmsg,
                &secret::prefix().unwrap(),
                &sequence,
            );
            let config = config::parse("x.toml", &text).unwrap();
            assert_eq!(config.warnings, []);
            assert_eq!(
                config.firewall.map(|firewall| firewall.backend),
                Some(backend)
            );
            assert!(config.log.prefix.is_some_and(|prefix| prefix.is_secret()));
            let crate::engine::door::Rule::Sequence(rule) = &config.doors[0].rule else {
                panic!("no sequence")
            };
            assert_eq!(rule.sequence.steps(), sequence);
        }
    }

    #[test]
    fn a_file_that_is_there_is_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/logknock.toml");
        write(&path, "first").unwrap();
        let refused = write(&path, "second").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(path.metadata().unwrap().len(), 5);
        let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
}

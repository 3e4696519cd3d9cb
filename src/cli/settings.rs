//! The config as one command line means it: the file, and the options that override it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::exit::Failure;
use crate::config::{self, Config, Errors, Prefix};
use crate::dialect::Reader;
use crate::engine::door::Door;
use crate::engine::reading::Expected;

/// Where open grants are kept if nobody says otherwise …
const STATE_DIR: &str = "/var/lib/logknock";
/// … and where the daemon is asked then.
const CONTROL: &str = "/run/logknock/control.sock";

/// Options that every command takes.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Global {
    /// The configuration
    #[arg(
        long,
        short = 'c',
        global = true,
        value_name = "FILE",
        env = "LOGKNOCK_CONFIG",
        default_value = "/etc/logknock/logknock.toml"
    )]
    pub(super) config: PathBuf,
    /// Where open grants are kept
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = STATE_DIR
    )]
    pub(super) state_dir: PathBuf,
    /// The control socket, instead of the configured one; beside another --state-dir it is in there
    #[arg(long, global = true, value_name = "PATH")]
    pub(super) control: Option<PathBuf>,
    /// The log prefix, instead of the configured one
    #[arg(long, global = true, value_name = "PREFIX")]
    pub(super) prefix: Option<Prefix>,
    /// Believe lines that any local user could have written
    #[arg(long, global = true)]
    pub(super) accept_forgeable: bool,
    /// Print one JSON object a line
    #[arg(long, global = true)]
    pub(super) json: bool,
}

/// What the engine needs of the config.
#[derive(Debug)]
pub(super) struct Settings {
    /// The config, overridden.
    pub(super) config: Config,
    /// Its doors.
    pub(super) doors: Vec<Arc<Door>>,
    /// How a line is read, and what it must begin with.
    pub(super) reader: Reader,
}

impl Global {
    /// Where the daemon is asked; `configured` is what the config says. Daemons with state directories
    /// of their own have sockets of their own.
    pub(super) fn control_path(&self, configured: Option<&Path>) -> PathBuf {
        let usual = || {
            if self.state_dir == Path::new(STATE_DIR) {
                CONTROL.into()
            } else {
                self.state_dir.join("control.sock")
            }
        };
        let named = self.control.as_deref().or(configured);
        named.map_or_else(usual, Path::to_owned)
    }

    /// Loads the config and overrides it.
    pub(super) fn load(&self) -> Result<Settings, Failure> {
        let config = config::load(&self.config);
        Ok(self.settings(config.map_err(refused)?))
    }

    /// The same for the process that runs the commands.
    pub(super) fn load_to_run(&self) -> Result<Settings, Failure> {
        let config = config::load_to_run(&self.config);
        Ok(self.settings(config.map_err(refused)?))
    }

    /// A config, overridden.
    pub(super) fn settings(&self, mut config: Config) -> Settings {
        self.override_log(&mut config.log);
        let prefix = config.log.prefix.as_ref();
        let expected = prefix.map_or(Expected::AnyPrefix, |prefix| {
            Expected::Prefix(prefix.as_bytes().into())
        });
        Settings {
            doors: config.doors.clone(),
            reader: Reader::new(config.log.format.clone(), expected),
            config,
        }
    }

    /// Sets what the command line says of `[log]`.
    pub(super) fn override_log(&self, log: &mut config::Log) {
        if let Some(prefix) = &self.prefix {
            log.prefix = Some(prefix.clone());
        }
        log.accept_forgeable |= self.accept_forgeable;
    }
}

fn refused(errors: Errors) -> Failure {
    Failure::new(errors.kind.into(), errors)
}

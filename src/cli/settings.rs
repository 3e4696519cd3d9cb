//! The config as one command line means it: the file, and the options that override it.

use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, Args as _};

use super::exit::{Code, Failure};
use crate::config::{self, Config, Errors, Prefix};
use crate::dialect::{Feed, Reader, Readers};
use crate::engine::reading::Expected;

/// The default directory for open grants …
const STATE_DIR: &str = "/var/lib/logknock";
/// … and where the daemon is asked then.
const CONTROL: &str = "/run/logknock/control.sock";

/// Options of the daemon; a command takes those that it uses.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Global {
    /// The configuration
    #[arg(
        long,
        short = 'c',
        value_name = "FILE",
        env = "LOGKNOCK_CONFIG",
        default_value = "/etc/logknock/logknock.toml"
    )]
    pub(super) config: PathBuf,
    /// The directory for the ledger of open doors
    #[arg(
        long,
        value_name = "DIR",
        default_value = STATE_DIR
    )]
    pub(super) state_dir: PathBuf,
    /// The control socket, instead of the configured one; default with --state-dir DIR: DIR/control.sock
    #[arg(long, value_name = "PATH")]
    pub(super) control: Option<PathBuf>,
    /// The log prefix, instead of the configured one; 'ps' shows it to every user, so prefer --prefix-file
    #[arg(long, value_name = "PREFIX")]
    pub(super) prefix: Option<Prefix>,
    /// A file that contains the log prefix, instead of the configured one
    #[arg(long, value_name = "FILE", conflicts_with = "prefix")]
    pub(super) prefix_file: Option<PathBuf>,
    /// Accept lines that any local user could have written
    #[arg(long)]
    pub(super) accept_forgeable: bool,
    /// Print one JSON object per line
    #[arg(long)]
    pub(super) json: bool,
}

/// What the engine needs of the config.
#[derive(Debug)]
pub(super) struct Settings {
    /// The config, overridden.
    pub(super) config: Config,
    /// How the lines of each source are read, and what they must begin with.
    pub(super) readers: Readers,
}

/// The options of [`Global`] that the command called `name` uses.
fn used_by(name: &str) -> impl Iterator<Item = &'static str> {
    let used = match name {
        "replay" => "config prefix prefix_file json",
        "parse" | "knock" => "json",
        "check" => "config state_dir prefix prefix_file accept_forgeable json",
        "convert" => "prefix prefix_file",
        "init" => "config",
        "rules" => "config state_dir control prefix prefix_file",
        "doctor" | "explain" => "config state_dir control prefix prefix_file json",
        "status" | "open" | "close" | "reload" => "config state_dir control json",
        "totp" => "config json",
        _ => "",
    };
    used.split(' ')
}

/// The options of the daemon.
fn options() -> Vec<clap::Arg> {
    let all = Global::augment_args(clap::Command::new(""));
    all.get_arguments().cloned().collect()
}

/// Those that the command called `name` uses, to be listed behind its own.
pub(super) fn options_of(name: &str) -> Vec<clap::Arg> {
    let mut options = options();
    options.retain(|option| used_by(name).any(|used| option.get_id() == used));
    let behind = options.into_iter().map(|option| option.display_order(100));
    behind.collect()
}

impl Global {
    /// The options as `matches` has them: behind the command, or else in front of it. An option that the command does
    /// not use is refused, and so is one of [`super::follow::Args`] in front of a command.
    pub(super) fn of(matches: &ArgMatches) -> Result<Self, Failure> {
        let command = matches.subcommand();
        let is_given = |matches: &ArgMatches, id: &str| {
            let is_known = matches.try_contains_id(id).is_ok();
            is_known && matches.value_source(id) == Some(ValueSource::CommandLine)
        };
        if let Some((name, _)) = command {
            let mut daemons = ["follow", "dry_run", "verbose"].into_iter();
            if let Some(id) = daemons.find(|id| is_given(matches, id)) {
                let name = id.replace('_', "-");
                let message = format!("--{name} is for the daemon, which runs without a command");
                return Err(Failure::new(Code::Usage, message));
            }
            let is_idle = |id: &str| is_given(matches, id) && used_by(name).all(|used| used != id);
            let all = options();
            let mut all = all.iter().map(|option| option.get_id().as_str());
            if let Some(id) = all.find(|id| is_idle(id)) {
                let message = format!("'{name}' does not take --{}", id.replace('_', "-"));
                return Err(Failure::new(Code::Usage, message));
            }
        }
        let inner = |id: &str| {
            command
                .map(|(_, inner)| inner)
                .filter(|inner| is_given(inner, id))
        };
        let of = |id: &'static str| inner(id).unwrap_or(matches);
        let path = |id| of(id).get_one::<PathBuf>(id).cloned();
        Ok(Self {
            config: path("config").unwrap_or_default(),
            state_dir: path("state_dir").unwrap_or_default(),
            control: path("control"),
            prefix: of("prefix").get_one("prefix").cloned(),
            prefix_file: path("prefix_file"),
            accept_forgeable: of("accept_forgeable").get_flag("accept_forgeable"),
            json: of("json").get_flag("json"),
        })
    }

    /// The log prefix that the command line gives, if it does.
    pub(super) fn given_prefix(&self) -> Result<Option<Prefix>, Failure> {
        let Some(path) = &self.prefix_file else {
            return Ok(self.prefix.clone());
        };
        Ok(Some(config::read_prefix(path)?))
    }

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
    pub(super) fn load(&self) -> Result<Settings, Errors> {
        self.load_for(false)
    }

    /// The same for the process that runs the commands.
    pub(super) fn load_to_run(&self) -> Result<Settings, Errors> {
        self.load_for(true)
    }

    pub(super) fn load_for(&self, is_to_run: bool) -> Result<Settings, Errors> {
        let options = config::Options {
            prefix_file: self.prefix_file.as_deref(),
            is_to_run,
        };
        Ok(self.settings(config::load_with(&self.config, options)?))
    }

    /// A config, overridden.
    pub(super) fn settings(&self, mut config: Config) -> Settings {
        let log = &mut config.log;
        if let Some(prefix) = &self.prefix {
            log.prefix = Some(prefix.clone());
        }
        log.accept_forgeable |= self.accept_forgeable;
        let log = &config.log;
        let reader = |prefix: Option<&Prefix>| {
            let expected = prefix.map_or(Expected::AnyPrefix, |prefix| {
                Expected::Prefix(prefix.as_bytes().into())
            });
            Reader::new(log.format.clone(), expected)
        };
        let own = log.own.iter().map(|own| {
            let feed = Feed {
                reader: reader(log.prefix_of(&own.source)),
                doors: own.doors.clone(),
            };
            (own.source.clone(), feed)
        });
        let readers = Readers {
            usual: reader(log.prefix.as_ref()),
            own: own.collect(),
        };
        Settings { config, readers }
    }
}

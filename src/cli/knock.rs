//! `logknock knock`: the client.
//!
//! In: the command line, `hosts.toml` or `knocksettings.txt`. Out: a [`Knocking`], carried out or only shown. It
//! prints nothing unless asked, and never a port that it read from a file.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::exit::{Code, Failure};
use super::knocked::Shown;
use super::totp::{self, FormArgs};
use super::{Format, knock_files};
use crate::config::{delay, duration};
use crate::engine::sequence::{Step, Transport};
use crate::engine::totp::Totp;
use crate::knock::counts::{self, Counts};
use crate::knock::hosts::Knock;
use crate::knock::portknocker;
use crate::knock::{Family, Knocking, Schedule, Services, Told, Wait, proxy, resolve, step};

/// Arguments of `knock`.
#[derive(Debug, clap::Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of its own on the command line"
)]
pub(super) struct Args {
    /// Name or address; without ports, a host of hosts.toml
    #[arg(required_unless_present = "settings")]
    host: Option<String>,
    /// The ports to knock, in order, by TCP unless PORT:udp; names of services are allowed
    #[arg(value_name = "PORT[:PROTO]")]
    ports: Vec<Word>,
    /// Knock by UDP
    #[arg(long, short)]
    udp: bool,
    /// Pause after each packet, in milliseconds or as 1.5s [default: 100; 10 for counts]
    #[arg(long, short, value_name = "MS", value_parser = delay::parse)]
    delay: Option<Duration>,
    /// Knock at IPv4 addresses only
    #[arg(long, short = '4', conflicts_with = "ipv6")]
    ipv4: bool,
    /// Knock at IPv6 addresses only
    #[arg(long, short = '6')]
    ipv6: bool,
    /// Print each packet that is sent
    #[arg(long, short)]
    verbose: bool,
    /// Show what would be sent, and send nothing
    #[arg(long, conflicts_with = "proxy")]
    dry_run: bool,
    /// Knock from this address of this machine
    #[arg(long, value_name = "ADDR")]
    source: Option<IpAddr>,
    /// Open Sesamy: four counts of hits on one port, at the host's first address
    #[arg(long, value_name = "DIGITS", requires = "port", conflicts_with_all = ["ports", "settings"])]
    counts: Option<Counts>,
    /// The port of --counts
    #[arg(long, value_name = "PORT[:PROTO]", requires = "counts")]
    port: Option<Word>,
    /// The window of each count [default: 4s]
    #[arg(long, value_name = "TIME", requires = "counts", value_parser = counts::window)]
    window: Option<Duration>,
    /// Read host, port (UDP by default), counts and window from a knocksettings.txt
    #[arg(long, value_name = "FILE", conflicts_with_all = ["host", "ports"])]
    settings: Option<PathBuf>,
    /// Knock the ports that this secret gives now, at the host's first address; with --code-base, a code after PORT…
    #[arg(long, value_name = "FILE", conflicts_with_all = ["settings", "counts"])]
    totp: Option<PathBuf>,
    #[command(flatten)]
    form: FormArgs,
    /// After knocking, connect to this TCP port until it is open; a sequence is sent again after half the timeout
    #[arg(long, value_name = "PORT[:tcp]")]
    wait: Option<Word>,
    /// How long to wait
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = timeout)]
    timeout: Duration,
    /// Connect standard input and output to the port that was waited for
    #[arg(long)]
    proxy: bool,
}

/// A word that may be a secret.
#[derive(Clone)]
struct Word(String);

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Word(*)")
    }
}

impl FromStr for Word {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

fn timeout(text: &str) -> Result<Duration, String> {
    duration::from_text(text).map_err(|error| error.to_string())
}

/// What is to be done, from wherever it is written.
#[derive(Debug)]
struct Errand {
    host: String,
    knocks: Knocks,
    addresses: Addresses,
    wait: Option<u16>,
    /// What lets in one connection only.
    once: Option<String>,
}

impl Errand {
    fn new(host: String, knocks: Knocks, addresses: Addresses) -> Self {
        Self {
            host,
            knocks,
            addresses,
            wait: None,
            once: None,
        }
    }
}

/// What is to be knocked.
#[derive(Debug)]
enum Knocks {
    Same(Schedule),
    /// Other ports at another time, with this delay.
    ByTheTime(Totp, Duration),
}

impl Knocks {
    /// What is to be knocked now.
    fn now(self) -> Schedule {
        match self {
            Self::Same(schedule) => schedule,
            Self::ByTheTime(totp, delay) => {
                // A code is of the step in which its own first knock arrives.
                let before = totp.beginning().map_or(0, <[Step]>::len);
                let lead = delay.saturating_mul(u32::try_from(before).unwrap_or(0));
                let number = totp.number_at(totp::now(lead)).unwrap_or(0);
                let sequence = totp.sequence(number);
                let steps = sequence
                    .as_ref()
                    .map_or(&[][..], |sequence| sequence.steps());
                Schedule::sequence(steps, delay)
            }
        }
    }
}

/// Which of a host's addresses are knocked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Addresses {
    All,
    /// Counts at a second address of the same host would be hits too many, and a sequence of `totp` opens
    /// once.
    First,
}

/// Runs `knock`.
pub(super) fn run(args: &Args, format: Format) -> Result<(), Failure> {
    let errand = args.errand(&Services::default())?;
    let once = errand.once.clone();
    let wait = errand.wait.map(|port| Wait {
        port,
        timeout: args.timeout,
    });
    if args.proxy && wait.is_none() {
        return Err(usage("--proxy needs a port: --wait 22"));
    }
    let knocking = Knocking {
        addresses: args.addresses(&errand)?,
        schedule: errand.knocks.now(),
        source: args.source,
    };
    let shown = Shown {
        format,
        verbose: args.verbose,
        stdout_is_data: args.proxy,
    };
    if args.dry_run {
        return Ok(shown.plan(&knocking, wait)?);
    }
    if let (Some(name), Some(port), false) = (&once, errand.wait, args.proxy) {
        return Err(usage(format!(
            "'{name}' lets in one connection for each knock ('once'), and --wait would use it up\n\
             in ~/.ssh/config:  ProxyCommand logknock knock {name} --wait {port} --proxy"
        )));
    }
    // The reader of our output may have gone; the knock must still be finished.
    let mut tell = |told: &Told<'_>| drop(shown.told(told));
    let unsent = |error| failed(format!("cannot knock at '{}': {error}", errand.host));
    let Some(wait) = wait else {
        return knocking.knock(&mut tell).map(drop).map_err(unsent);
    };
    match knocking.knock_until_open(wait, &mut tell).map_err(unsent)? {
        Some(connection) if args.proxy => proxy::pass(&connection, io::stdin(), io::stdout())
            .map_err(|error| failed(format!("the connection to '{}': {error}", errand.host))),
        Some(_) => Ok(()),
        None => Err(failed(format!(
            "'{}' did not open within {:?}",
            errand.host, wait.timeout
        ))),
    }
}

impl Args {
    fn errand(&self, services: &Services) -> Result<Errand, Failure> {
        let wait = self.wait.as_ref().map(|word| wait_port(word, services));
        let wait = wait.transpose()?;
        let errand = self.errand_of(services)?;
        Ok(Errand {
            wait: wait.or(errand.wait),
            ..errand
        })
    }

    fn errand_of(&self, services: &Services) -> Result<Errand, Failure> {
        let delay = self.delay.unwrap_or(delay::DEFAULT);
        if let Some(path) = &self.settings {
            let settings = portknocker::load(path, services)
                .map_err(|error| knock_files::settings_failure(path, &error))?;
            let (step, window) = (self.as_udp(settings.step), settings.window);
            return self.counted(settings.server, settings.counts, step, window);
        }
        let host = self.host.clone().unwrap_or_default();
        if let (Some(counts), Some(port)) = (self.counts, &self.port) {
            let window = self.window.unwrap_or(counts::DEFAULT_WINDOW);
            return self.counted(host, counts, self.step(port, services)?, window);
        }
        if let Some(path) = &self.totp {
            if !self.ports.is_empty() && !self.form.has_code() {
                return Err(usage(
                    "with --totp, ports are given only for a code, with --code-base",
                ));
            }
            let beginning = self.steps(services)?;
            let totp = self.form.totp(path, self.udp, &beginning)?;
            let knocks = Knocks::ByTheTime(totp, delay);
            return Ok(Errand::new(host, knocks, Addresses::First));
        }
        if self.ports.is_empty() {
            return self.named(&host, services);
        }
        let steps = self.steps(services)?;
        let knocks = Knocks::Same(Schedule::sequence(&steps, delay));
        Ok(Errand::new(host, knocks, Addresses::All))
    }

    fn counted(
        &self,
        host: String,
        counts: Counts,
        step: Step,
        window: Duration,
    ) -> Result<Errand, Failure> {
        let schedule = Schedule::counts(counts, step, window, self.delay).map_err(usage)?;
        Ok(Errand::new(host, Knocks::Same(schedule), Addresses::First))
    }

    fn named(&self, name: &str, services: &Services) -> Result<Errand, Failure> {
        let host = knock_files::host(name, services)?;
        let delay = self.delay.or(host.delay).unwrap_or(delay::DEFAULT);
        let (knocks, addresses) = match host.knock {
            Knock::Steps(steps) => {
                let steps: Vec<Step> = steps.into_iter().map(|step| self.as_udp(step)).collect();
                let schedule = Schedule::sequence(&steps, delay);
                (Knocks::Same(schedule), Addresses::All)
            }
            Knock::Totp(secret, form, beginning) => {
                let beginning = beginning.into_iter().map(|step| self.as_udp(step));
                let beginning: Vec<_> = beginning.collect();
                let form = self.form.over(form, self.udp);
                let totp = totp::of(&secret, form, &beginning)?;
                (Knocks::ByTheTime(totp, delay), Addresses::First)
            }
        };
        Ok(Errand {
            wait: host.wait,
            once: host.once.then(|| name.to_owned()),
            ..Errand::new(host.address, knocks, addresses)
        })
    }

    fn steps(&self, services: &Services) -> Result<Vec<Step>, Failure> {
        let steps = self.ports.iter().map(|word| self.step(word, services));
        steps.collect()
    }

    fn step(&self, word: &Word, services: &Services) -> Result<Step, Failure> {
        let default = if self.udp {
            Transport::Udp
        } else {
            Transport::Tcp
        };
        let step = step::parse(&word.0, default, services);
        let step = step.map_err(|error| usage(format!("'{}': {error}", word.0)))?;
        Ok(self.as_udp(step))
    }

    fn as_udp(&self, step: Step) -> Step {
        let transport = if self.udp {
            Transport::Udp
        } else {
            step.transport
        };
        Step { transport, ..step }
    }

    fn addresses(&self, errand: &Errand) -> Result<Vec<SocketAddr>, Failure> {
        let family = match (self.ipv4, self.ipv6) {
            (true, _) => Family::V4,
            (_, true) => Family::V6,
            _ => Family::Any,
        };
        let mut addresses = resolve(&errand.host, family, self.source)
            .map_err(|error| failed(format!("'{}': {error}", errand.host)))?;
        if errand.addresses == Addresses::First {
            addresses.truncate(1);
        }
        Ok(addresses)
    }
}

fn wait_port(word: &Word, services: &Services) -> Result<u16, Failure> {
    match step::parse(&word.0, Transport::Tcp, services) {
        Ok(Step {
            port,
            transport: Transport::Tcp,
        }) => Ok(port),
        Ok(_) => Err(usage(format!(
            "--wait '{}': only a TCP port shows whether it is open",
            word.0
        ))),
        Err(error) => Err(usage(format!("--wait '{}': {error}", word.0))),
    }
}

fn usage(what: impl fmt::Display) -> Failure {
    Failure::new(Code::Usage, what)
}

fn failed(what: impl fmt::Display) -> Failure {
    Failure::new(Code::Failed, what)
}

//! `logknock check`: checks the configuration, and how far its sources can be trusted.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anstyle::AnsiColor;
use serde::Serialize;

use super::Format;
use super::exit::{Failure, tell};
use super::kernel;
use super::settings::Global;
use super::table::{self, counted};
use crate::config::{Config, Diagnostic, Severity};
use crate::engine::command::Facts;
use crate::engine::door::{Door, OtherPorts, Rule};
use crate::engine::one_time::{MAX_FAILED_CODES, Origin};
use crate::engine::sequence::{Step, Transport};
use crate::source_spec::SourceSpec;
use crate::trust::{self, Finding, Grade, Machine, Trust};

#[derive(Serialize)]
struct TrustJson<'a> {
    source: String,
    trust: &'static str,
    refused: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    doors: Option<&'a [String]>,
}

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Check this source instead of the configured ones (repeatable)
    #[arg(long, value_name = "SOURCE")]
    follow: Vec<SourceSpec>,
    /// Also show the commands that doors with 'opens' run
    #[arg(long, short)]
    verbose: bool,
}

/// Runs `check`.
pub(super) fn run(args: &Args, global: &Global, format: Format) -> Result<(), Failure> {
    let loaded = global.load_to_run().map_err(|errors| {
        match format {
            // An error in the configuration counts more than a closed pipe.
            Format::Json => drop(write_json(&errors.diagnostics)),
            Format::Text => tell(&errors.styled()),
        }
        Failure::new(errors.kind.into(), "")
    })?;
    let config = &loaded.config;
    let sources = match args.follow.as_slice() {
        [] => &config.log.sources,
        given => given,
    };
    let machine = Machine::look();
    let graded = trust::grade(config, sources, &machine);
    let mut findings: Vec<Finding> = graded
        .iter()
        .flat_map(|trust| trust.findings.iter().cloned())
        .collect();
    if sources.is_empty() {
        findings.extend(trust::prefix(config, &global.config));
    }
    if !config.daemon.ephemeral {
        findings.extend(trust::state_dir(&global.state_dir));
    }
    findings.extend(trust::records_nowhere(&config.daemon));
    findings.extend(super::trust::mounts(sources));
    findings.extend(trust::machine(&machine));
    findings.extend(trust::readers(&machine));
    let advice = advice(config, &global.config);
    let found = findings.iter().map(|finding| &finding.diagnostic);
    let found = found.chain(&advice);
    match format {
        Format::Json => {
            let all: Vec<_> = config.warnings.iter().chain(found).cloned().collect();
            write_json(&all)?;
            write_sources_json(&graded)?;
            if let Some(firewall) = firewall(config) {
                let firewall = serde_json::json!({ "firewall": firewall });
                writeln!(anstream::stdout(), "{firewall}")?;
            }
        }
        Format::Text => {
            let warnings = found.filter(|found| found.severity == Severity::Warning);
            for warning in config.warnings.iter().chain(warnings) {
                tell(&warning.styled());
            }
            let doors: Vec<_> = config.doors.iter().map(AsRef::as_ref).collect();
            let verdict = if findings.iter().any(Finding::is_error) {
                "the doors are valid, but a source is refused"
            } else {
                "configuration ok"
            };
            writeln!(anstream::stdout(), "{}: {verdict}", global.config.display())?;
            let width = width_of(config, &graded);
            write_doors(&doors, width)?;
            write_sources(&graded, width)?;
            write_firewall(config, width)?;
            if args.verbose {
                write_commands(config)?;
            }
        }
    }
    match (super::trust::refusal(&findings), format) {
        (None, _) => Ok(()),
        (Some(failure), Format::Text) => Err(failure),
        (Some(failure), Format::Json) => Err(Failure::new(failure.code, "")),
    }
}

/// What anybody tries first: the ports of knockd's documentation, either way.
const PUBLISHED: [[u16; 3]; 2] = [[7000, 8000, 9000], [9000, 8000, 7000]];

/// What opens less, or for more, than it seems.
fn advice(config: &Config, path: &Path) -> Vec<Diagnostic> {
    let kernel = std::cell::OnceCell::new();
    let mut found = Vec::new();
    let mut add = |message: String, fix: &str| {
        found.push(Diagnostic {
            severity: Severity::Warning,
            path: path.display().to_string(),
            place: None,
            message,
            fix: Some(fix.to_owned()),
        });
    };
    for door in &config.doors {
        let name = &door.name;
        if let Rule::Sequence(rule) = &door.rule {
            let steps = rule.sequence.steps().iter();
            let ports: Vec<_> = steps.map(|step| step.port).collect();
            if PUBLISHED.iter().any(|published| published[..] == ports) {
                let what = "has the published sequence of knockd's documentation";
                let fix = "choose other ports, at random, as 'logknock init' does";
                add(format!("door '{name}' {what}"), fix);
            }
        }
        for src in EXAMPLES {
            let Some(port) = door
                .grant
                .open
                .of(src)
                .and_then(|open| appended(&open.expand(&example(door, src)).argv.join(" ")))
            else {
                continue;
            };
            let kernel = kernel.get_or_init(|| kernel::read(None).unwrap_or_default());
            if kernel.drops_before_appended(port) {
                let port = port.port;
                let what =
                    format!("appends to INPUT, behind a rule that drops {port}: it lets nobody in");
                let fix = "in the command, write -I INPUT instead of -A INPUT";
                add(format!("door '{name}' {what}"), fix);
                break;
            }
        }
    }
    found
}

/// The TCP port that a command of iptables opens at the end of `INPUT`, if it does.
fn appended(command: &str) -> Option<Step> {
    let (_, rule) = command
        .split_once("-A INPUT ")
        .or_else(|| command.split_once("--append INPUT "))?;
    let mut words = rule.split_whitespace();
    words.find(|word| ["--dport", "--destination-port"].contains(word))?;
    Some(Step {
        port: words.next()?.parse().ok()?,
        transport: Transport::Tcp,
    })
}

/// What doors with `opens` need and the kernel's rules lack; nothing where there is no such door.
fn firewall(config: &Config) -> Option<Vec<String>> {
    config.opens_ports().then(|| match kernel::faults(config) {
        Ok(faults) => faults.iter().map(ToString::to_string).collect(),
        Err(why) => vec![format!("unknown: {why}")],
    })
}

fn write_firewall(config: &Config, width: usize) -> io::Result<()> {
    let mut out = anstream::stdout();
    let Some(faults) = firewall(config) else {
        return Ok(());
    };
    if faults.is_empty() {
        let good = AnsiColor::Green.on_default();
        let text = format!("{good}logs and guards as configured{good:#}");
        write_row(&mut out, "firewall", width, &text)?;
    }
    let bad = AnsiColor::Red.on_default();
    for fault in faults {
        write_row(&mut out, "firewall", width, &format!("{bad}{fault}{bad:#}"))?;
    }
    Ok(())
}

/// The sources at a glance: what vouches for each, and whether the daemon would follow it.
fn write_sources(graded: &[Trust], width: usize) -> io::Result<()> {
    let mut out = anstream::stdout();
    for trust in graded {
        let style = match trust.grade {
            Grade::Kernel | Grade::Secret => AnsiColor::Green.on_default(),
            Grade::Forgeable => AnsiColor::Red.on_default(),
        };
        let outcome = match (is_refused(trust), trust.advice) {
            (true, _) => Some("refused"),
            (false, Some(advice)) => Some(advice),
            (false, None) => (!trust.findings.is_empty()).then_some("with a warning"),
        };
        let doors = trust.doors.as_ref();
        let doors = doors.map(|doors| format!("only {}", doors.join(" ")));
        let words: Vec<_> = outcome.into_iter().chain(doors.as_deref()).collect();
        let (source, grade) = (trust.source.to_string(), trust.grade);
        let words = words.join(", ");
        let gap = match words.len() {
            0 => 0,
            _ => 15 - grade.to_string().len(),
        };
        let text = format!("{style}{grade}{style:#}{:gap$}{words}", "");
        write_row(&mut out, &source, width, &text)?;
    }
    out.flush()
}

fn write_sources_json(graded: &[Trust]) -> io::Result<()> {
    let mut out = anstream::stdout();
    for trust in graded {
        let json = TrustJson {
            source: trust.source.to_string(),
            trust: trust.grade.as_str(),
            refused: is_refused(trust),
            advice: trust.advice,
            doors: trust.doors.as_deref(),
        };
        writeln!(out, "{}", serde_json::to_string(&json)?)?;
    }
    Ok(())
}

fn is_refused(trust: &Trust) -> bool {
    trust.findings.iter().any(Finding::is_error)
}

fn write_json(diagnostics: &[Diagnostic]) -> io::Result<()> {
    let mut out = anstream::stdout();
    for diagnostic in diagnostics {
        writeln!(out, "{}", serde_json::to_string(diagnostic)?)?;
    }
    Ok(())
}

/// The doors at a glance, without what is secret about them.
fn write_doors(doors: &[&Door], width: usize) -> io::Result<()> {
    let mut out = anstream::stdout();
    for door in doors {
        let knocks = match &door.rule {
            Rule::Sequence(rule) => format!("within {}", time(rule.pace.window)),
            Rule::OneTime(rule) => {
                let what = match &rule.origin {
                    Origin::Totp(totp) => format!("new each {} s", totp.step()),
                    Origin::List(list) => format!("{} left", counted(list.lines.len(), "sequence")),
                };
                let window = time(rule.pace.window);
                format!("within {window}, {what}, each opens once")
            }
            Rule::Counts(rule) => {
                let windows = counted(rule.groups().len(), "window");
                format!("in {windows} of {}", time(rule.window))
            }
        };
        let held = match (&door.grant.close.v4, &door.grant.close.v6) {
            (None, None) => "runs a command".to_owned(),
            _ if door.grant.once.is_empty() => format!("open for {}", time(door.grant.hold)),
            _ => format!("open for one connection within {}", time(door.grant.hold)),
        };
        let open = &door.grant.open;
        let command = open.v4.as_ref().or(open.v6.as_ref());
        let account = command.and_then(|command| command.account());
        let held = match account {
            Some(account) => format!("{held} as {}", account.name),
            None => held,
        };
        let steps = counted(door.rule.knocks(), "knock");
        let text = format!("{steps} {knocks}, {}, {held}", strength(&door.rule));
        write_row(&mut out, &door.name, width, &text)?;
    }
    Ok(())
}

/// A time as people say it: `15s`, `2h`, `1.5s`.
fn time(time: Duration) -> String {
    match time.subsec_nanos() {
        0 => table::span(time.as_secs()),
        _ => format!("{time:?}"),
    }
}

/// A row of a name and what there is to say of it, in as many lines as the terminal makes of that.
fn write_row(out: &mut impl Write, name: &str, width: usize, text: &str) -> io::Result<()> {
    let indent = width + 4;
    let room = table::width_or(usize::MAX).saturating_sub(indent).max(20);
    for (number, line) in table::fold(text, room).iter().enumerate() {
        let name = if number == 0 { name } else { "" };
        writeln!(out, "  {name:<width$}  {line}")?;
    }
    Ok(())
}

/// How wide the names of all rows are.
fn width_of(config: &Config, graded: &[Trust]) -> usize {
    let doors = config.doors.iter().map(|door| door.name.len());
    let sources = graded.iter().map(|trust| trust.source.to_string().len());
    doors
        .chain(sources)
        .chain(["firewall".len()])
        .max()
        .unwrap_or(0)
}

/// How much guessing a door stands, as an order of magnitude.
fn strength(rule: &Rule) -> String {
    let is_strict = match rule {
        Rule::Sequence(rule) => rule.pace.other_ports == OtherPorts::Reset,
        Rule::OneTime(rule) => rule.pace.other_ports == OtherPorts::Reset,
        // Other ports do not matter, but a scan knocks at each port once.
        Rule::Counts(_) => true,
    };
    let guesses = rule.guesses();
    if let Rule::OneTime(rule) = rule
        && rule.origin.beginning().is_some()
    {
        let in_a_year = f64::from(MAX_FAILED_CODES) * 24.0 * 365.0 / guesses;
        let percent = 100.0 * (1.0 - (-in_a_year).exp());
        return format!(
            "strict, one guessed code in {guesses:.0} opens it, and {MAX_FAILED_CODES} an hour may fail: \
             {percent:.1} % in a year of guessing"
        );
    }
    if is_strict {
        let digits = guesses.log10();
        return format!("strict, one in about 10^{digits:.0} guesses opens it");
    }
    // A scan knocks at every port, so only the order counts.
    let orders: f64 = (1..=32_u8).take(rule.knocks()).map(f64::from).product();
    format!("not strict, one in about {orders:.0} port scans in random order opens it")
}

/// The addresses that knock in an example (RFC 5737, RFC 3849).
const EXAMPLES: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7)),
];

/// What the doors with `opens` will run. Of the knock there is nothing in it but the address.
fn write_commands(config: &Config) -> io::Result<()> {
    let mut out = anstream::stdout();
    let opens = config.firewall.iter().flat_map(|firewall| &firewall.opens);
    for (name, _) in opens {
        let Some(door) = config.doors.iter().find(|door| door.name == *name) else {
            continue;
        };
        for src in EXAMPLES {
            let facts = example(door, src);
            let open = if door.grant.refresh == door.grant.open {
                "open and renew"
            } else {
                "open"
            };
            let commands = [(open, &door.grant.open), ("close", &door.grant.close)];
            for (what, command) in commands {
                let Some(command) = command.of(src) else {
                    continue;
                };
                let argv = command.expand(&facts).argv;
                let argv = shlex::try_join(argv.iter().map(String::as_str)).unwrap_or_default();
                writeln!(out, "  {name} for {src}, {what}: {argv}")?;
            }
        }
    }
    Ok(())
}

fn example(door: &Door, src: IpAddr) -> Facts {
    Facts {
        src,
        dst: src,
        step: Step {
            port: 1,
            transport: Transport::Tcp,
        },
        interface: "eth0".into(),
        door: Arc::clone(&door.name),
        hold: Some(door.grant.hold),
    }
}

//! `logknock check`: is the configuration right?

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use serde::Serialize;

use super::Format;
use super::exit::{Code, Failure};
use super::settings::Global;
use crate::config::{self, Config, Diagnostic, ErrorKind};
use crate::engine::command::Facts;
use crate::engine::door::{Door, OtherPorts, Rule};
use crate::engine::sequence::{Step, Transport};

#[derive(Serialize)]
struct Json<'a> {
    severity: &'static str,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<&'a str>,
}

/// Runs `check`.
pub(super) fn run(global: &Global, format: Format) -> Result<(), Failure> {
    let loaded = config::load(&global.config);
    let diagnostics = match &loaded {
        Ok(config) => &config.warnings,
        Err(errors) => &errors.diagnostics,
    };
    match format {
        Format::Json => write_json(diagnostics)?,
        Format::Text => match &loaded {
            Ok(config) => {
                config
                    .warnings
                    .iter()
                    .try_for_each(|warning| writeln!(anstream::stderr(), "logknock: {warning}"))?;
            }
            Err(errors) => writeln!(anstream::stderr(), "{errors}")?,
        },
    }
    let config = loaded.map_err(|errors| Failure {
        code: if errors.kind == ErrorKind::Permission {
            Code::Permission
        } else {
            Code::Config
        },
        message: String::new(),
    })?;
    if format == Format::Text {
        write_doors(
            &global.config.display().to_string(),
            &config.doors.iter().map(AsRef::as_ref).collect::<Vec<_>>(),
        )?;
        write_commands(&config)?;
    }
    Ok(())
}

fn write_json(diagnostics: &[Diagnostic]) -> io::Result<()> {
    let mut out = anstream::stdout();
    for diagnostic in diagnostics {
        let place = diagnostic.place.as_ref();
        let json = Json {
            severity: diagnostic.severity.as_str(),
            path: &diagnostic.path,
            line: place.map(|place| place.line),
            column: place.map(|place| place.column),
            message: &diagnostic.message,
            fix: diagnostic.fix.as_deref(),
        };
        writeln!(out, "{}", serde_json::to_string(&json)?)?;
    }
    Ok(())
}

/// The doors at a glance, without what is secret about them.
fn write_doors(path: &str, doors: &[&Door]) -> io::Result<()> {
    let mut out = anstream::stdout();
    let width = doors.iter().map(|door| door.name.len()).max().unwrap_or(0);
    writeln!(out, "{path}: configuration ok")?;
    for door in doors {
        let knocks = match &door.rule {
            Rule::Sequence(rule) => {
                let strict = match rule.other_ports {
                    OtherPorts::Reset => "strict",
                    OtherPorts::Ignore => "not strict",
                };
                format!("within {:?}, {strict}", rule.window)
            }
            Rule::Counts(rule) => {
                format!("in {} windows of {:?}", rule.groups().len(), rule.window)
            }
        };
        let held = match (&door.grant.close.v4, &door.grant.close.v6) {
            (None, None) => "runs a command".to_owned(),
            _ => format!("open for {:?}", door.grant.hold),
        };
        writeln!(
            out,
            "  {:<width$}  {:>2} knocks {knocks}, {held}",
            door.name,
            door.rule.knocks()
        )?;
    }
    Ok(())
}

/// Who knocks in an example (RFC 5737, RFC 3849).
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

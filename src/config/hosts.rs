//! `hosts.toml`: hosts that the client knows by name.
//!
//! In: the text, whose sections are as `[host.home]`, and how a port is read. Out: [`Host`]s, or all that is wrong at
//! once. It holds sequences, so the client shows of its diagnostics the places and the messages, and no excerpt.

use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use crate::engine::sequence::{Step, Transport};

use super::delay;
use super::document::{Content, Document, Text};
use super::one_time::{self, Form};
use super::report::{Errors, Finding, Report, Span, error};
use super::value::{Value as _, Written, integer};

/// Longest `knock`, in steps.
const MAX_STEPS: usize = 1024;

/// A host with its knock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// What it is called.
    pub name: String,
    /// A name or an address for the resolver.
    pub address: String,
    /// What to knock.
    pub knock: Knock,
    /// How long to pause after each hit.
    pub delay: Option<Duration>,
    /// The TCP port to wait for.
    pub wait: Option<u16>,
    /// Whether each knock lets in one connection, which waiting alone would spend.
    pub once: bool,
}

/// What is knocked at a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Knock {
    /// These, in order; at least one.
    Steps(Vec<Step>),
    /// What the secret in this file gives for the moment, in this form; a code behind these.
    Totp(PathBuf, Form, Vec<Step>),
}

/// Reads a port as the client's user writes it; why it is wrong.
pub type StepReader<'a> = dyn Fn(&str) -> Result<Step, String> + 'a;

/// The hosts of a file called `name`. Paths of files are returned as written.
pub fn hosts(name: &str, text: &str, step: &StepReader<'_>) -> Result<Vec<Host>, Errors> {
    let file = Text::new(name, text.as_bytes());
    let report = Report::default();
    let document = Document::parse(0, &file, &report);
    let mut hosts = Vec::new();
    let whole = document.span(0..0);
    match &document.content {
        Content::Toml(tree) => {
            for (section, value) in tree {
                let DeValue::Table(table) = value.get_ref() else {
                    report.add(unknown_section(whole.beside(section.span())));
                    continue;
                };
                if section.get_ref() != "host" {
                    report.add(unknown_section(whole.beside(section.span())));
                    continue;
                }
                for (name, value) in table {
                    let at = whole.beside(name.span());
                    let value = value.get_ref();
                    let written = Written {
                        value,
                        span: at,
                        report: &report,
                    };
                    hosts.extend(host(name.get_ref(), written, step));
                }
            }
        }
        Content::Knockd(_) => report.add(unknown_section(whole)),
        Content::Broken => {}
    }
    if report.has_errors() {
        return Err(report.errors(&[document]));
    }
    Ok(hosts)
}

fn unknown_section(at: Span) -> Finding {
    error(at, "unknown section; hosts are written [host.NAME]")
}

fn host(name: &str, written: Written<'_>, step: &StepReader<'_>) -> Option<Host> {
    const KEYS: [&str; 6] = ["address", "knock", "totp", "delay", "wait", "once"];
    // All are read before the first error is returned, so that every error is reported.
    let keys = written.table(&KEYS, "{ address = \"gw.example\", knock = [PORT] }")?;
    let address = match keys.get("address") {
        Some(item) => filled(item, "a name or an address"),
        None => written.refuse("this host has no 'address'"),
    };
    let steps = keys.get("knock").map(|item| steps(item, step));
    let totp = keys.get("totp").map(|item| totp(item));
    let knock = match (steps, totp) {
        (_, Some(None)) | (Some(None), _) => None,
        (Some(Some(steps)), None) => Some(Knock::Steps(steps)),
        (None, Some(Some((file, form)))) if form.code.is_none() => {
            Some(Knock::Totp(file, form, Vec::new()))
        }
        (Some(Some(steps)), Some(Some((file, form)))) if form.code.is_some() => {
            Some(Knock::Totp(file, form, steps))
        }
        _ => {
            let message =
                "a host has 'knock', 'totp', or a 'totp' with a 'code' behind its 'knock'";
            written.refuse(message)
        }
    };
    let delay = keys.get("delay").map(|item| {
        let text = item.string("a delay with its unit, as \"200ms\"")?;
        let delay = delay::with_unit(text);
        delay
            .map_err(|why| item.add(item.error(why.to_string())))
            .ok()
    });
    let wait = keys.get("wait").map(|item| {
        let step = port(item, "", step)?;
        match step.transport {
            Transport::Tcp => Some(step.port),
            Transport::Udp => item.refuse("only a TCP port shows whether it is open"),
        }
    });
    let once = keys.get("once").map(|item| bool::read(item));
    Some(Host {
        name: name.to_owned(),
        address: address?.to_owned(),
        knock: knock?,
        delay: delay.flatten(),
        wait: wait.flatten(),
        once: once.flatten().unwrap_or(false),
    })
}

fn steps(item: Written<'_>, step: &StepReader<'_>) -> Option<Vec<Step>> {
    let steps = item.each("steps", MAX_STEPS, |number, item| {
        port(item, &format!("step {number}: "), step)
    })?;
    if steps.is_empty() {
        return item.refuse("a knock has at least one step");
    }
    Some(steps)
}

/// A text that is not empty.
fn filled<'a>(item: Written<'a>, expected: &str) -> Option<&'a str> {
    let text = item.string(expected)?;
    if text.is_empty() {
        return item.refuse(format!("must be {expected}"));
    }
    Some(text)
}

/// A port; its errors begin with `what` it is.
fn port(item: Written<'_>, what: &str, step: &StepReader<'_>) -> Option<Step> {
    let word = match item.value {
        DeValue::String(text) => text.to_string(),
        // What does not fit is no port either.
        DeValue::Integer(_) => integer(item.value).unwrap_or(0).to_string(),
        _ => return item.wrong_type("a port, as 7000 or \"8000:udp\""),
    };
    let step = step(&word);
    step.map_err(|why| item.add(item.error(format!("{what}{why}"))))
        .ok()
}

/// A file, or a table with `secret_file` and the other keys of a door's `totp`.
fn totp(item: Written<'_>) -> Option<(PathBuf, Form)> {
    const KEYS: [&str; 6] = ["secret_file", "code", "knocks", "ports", "step", "proto"];
    const FILE: &str = "the file of a secret";
    if let DeValue::String(_) = item.value {
        let file = filled(item, FILE)?;
        return Some((PathBuf::from(file), Form::default()));
    }
    let keys = item.table(&KEYS, "{ secret_file = \"FILE\" }")?;
    let file = match keys.get("secret_file") {
        Some(item) => filled(item, FILE),
        None => item.refuse("'totp' names no 'secret_file'"),
    };
    let (form, _) = one_time::form(&keys)?;
    Some((PathBuf::from(file?), form))
}

//! The commands of a door.
//!
//! In: `start_command`, `stop_command` and their `_6` as written, `shell` and `user`. Out: a template for
//! each address family. As in knockd, a missing `_6` is the other command and an empty one is
//! nothing at all.

use std::sync::Arc;

use toml::de::DeValue;

use crate::accounts;
use crate::engine::account::Account;
use crate::engine::command::{Template, TemplateError};
use crate::engine::door::PerFamily;

use super::report::{Report, error};
use super::value::{Given, User, Value, Written};

/// A command as written.
#[derive(Clone)]
pub(super) enum CommandText {
    /// An array of words.
    Words(Vec<String>),
    /// One string, to be split or to be given to a shell.
    Line(String),
    /// One for a shell, in which knockd replaces `%IP%` and nothing else.
    Script(Box<str>),
}

impl Value for CommandText {
    fn read(written: Written<'_>) -> Option<Self> {
        match written.value {
            DeValue::String(line) => Some(Self::Line(line.clone().into_owned())),
            DeValue::Array(_) => {
                let word = |_, item: Written<'_>| item.string("a string").map(str::to_owned);
                written.each("words", usize::MAX, word).map(Self::Words)
            }
            _ => written.wrong_type("an array of words or a string"),
        }
    }
}

impl CommandText {
    /// Whether it says to do nothing.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Words(words) => words.is_empty(),
            Self::Line(line) => line.trim().is_empty(),
            Self::Script(script) => script.trim().is_empty(),
        }
    }
}

/// An empty command: the door cannot be used, and why has been reported.
#[derive(Clone, Copy)]
struct Reported;

/// The user that runs the commands of a door, if one is named. That there is no such user, or none that we may
/// become, is reported.
pub(super) fn account(given: Option<&Given<User>>, report: &Report) -> Option<Arc<Account>> {
    let given = given.filter(|_| !report.is_handed_over)?;
    let User(name) = given.value.as_ref()?;
    let account = accounts::user(name);
    match &account {
        None => {
            let message = format!("there is no user '{name}' in /etc/passwd");
            let fix = format!("useradd --system --shell /usr/sbin/nologin {name}");
            report.add(error(given.span, message).fix(fix));
        }
        Some(other) if report.is_to_run && !accounts::may_become(other) => {
            let message = format!("logknock has no right to run a command as '{name}'");
            let fix = "run logknock as root; in a systemd unit with CAP_SETUID CAP_SETGID CAP_KILL in CapabilityBoundingSet";
            report.add(error(given.span, message).fix(fix));
        }
        Some(_) => {}
    }
    account.map(Arc::new)
}

/// The commands for both families; `None` when one is wrong, which has been reported.
pub(super) fn per_family(
    v4: Option<&Given<CommandText>>,
    v6: Option<&Given<CommandText>>,
    shell: bool,
    report: &Report,
) -> Option<PerFamily> {
    let first = match v4 {
        None => Ok(None),
        Some(given) => template(given, shell, report).map(Some),
    };
    let second = match v6 {
        None => first.clone(),
        Some(given) if given.value.as_ref().is_some_and(CommandText::is_empty) => Ok(None),
        Some(given) => template(given, shell, report).map(Some),
    };
    Some(PerFamily {
        v4: first.ok()?,
        v6: second.ok()?,
    })
}

/// The words of a command without a knock: they contain no placeholder.
pub(super) fn words(given: &Given<CommandText>, report: &Report) -> Option<Vec<String>> {
    let template = template(given, false, report).ok()?;
    let words = template.fixed_words();
    if words.is_none() {
        let message = "placeholders work in commands of doors only; here the values are environment variables";
        let fix = "read $LOGKNOCK_EVENT, $LOGKNOCK_MESSAGE and others in the program";
        report.add(error(given.span, message).fix(fix));
    }
    words
}

fn template(
    given: &Given<CommandText>,
    shell: bool,
    report: &Report,
) -> Result<Template, Reported> {
    let refuse = |message: &str, fix: &str| {
        report.add(error(given.span, message).fix(fix));
        Reported
    };
    let template = match (given.value.as_ref().ok_or(Reported)?, shell) {
        (CommandText::Script(script), _) => Template::from_knockd(script),
        (CommandText::Words(_), true) => {
            let message = "with 'shell = true' a command is one string for /bin/sh -c";
            return Err(refuse(
                message,
                "write it as one string, or set 'shell = false'",
            ));
        }
        (CommandText::Words(words), false) => Template::from_words(words),
        (CommandText::Line(line), true) => Template::from_shell(line),
        (CommandText::Line(line), false) if line.contains('\0') => Err(TemplateError::Nul),
        (CommandText::Line(line), false) => {
            let Some(words) = shlex::split(line) else {
                let fix = "close it, or write the command as an array of words";
                return Err(refuse("a quote in the command is not closed", fix));
            };
            Template::from_words(&words)
        }
    };
    template.map_err(|why| {
        report.add(error(given.span, why.to_string()));
        Reported
    })
}

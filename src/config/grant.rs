//! What a door does: the rules of `opens`, of commands, and of how long.
//!
//! In: a [`Draft`]. Out: the engine's [`GrantRule`], or a report of what is missing, senseless or said twice.

use std::time::Duration;

use crate::engine::command::Template;
use crate::engine::door::{GrantRule, PerFamily, Rule};
use crate::engine::sequence::Step;
use crate::firewall::{self, Backend};

use super::command::{CommandText, account, per_family};
use super::draft::Draft;
use super::problem::{DoorFlaw, Problem};
use super::report::Report;
use super::schema::{DoorTable, NamedDoor};
use super::steps::Opens;
use super::value::{Given, value, written};

/// knockd's `Cmd_Timeout`.
const CMD_TIMEOUT: Duration = Duration::from_secs(10);

/// What the door of `draft` does, which opens by `rule`.
pub(super) fn resolve(
    draft: &Draft<'_>,
    rule: Option<&Rule>,
    defaults: &DoorTable,
    backend: Option<Backend>,
    report: &mut Report,
) -> Option<GrantRule> {
    let hold = rule.map_or(CMD_TIMEOUT, hold);
    // A connection that is let in empties the list of hits.
    let ends_with_connection = matches!(rule, Some(Rule::Counts(rule)) if rule.while_right);
    if let Some(given) = opens(draft.own, defaults) {
        draft.opening_grant(given, backend, (hold, ends_with_connection), report)
    } else {
        draft.refuse_once(report);
        draft.grant(hold, report)
    }
}

/// How long a door stays open that does not say so.
fn hold(rule: &Rule) -> Duration {
    match rule {
        Rule::Sequence(_) | Rule::OneTime(_) => CMD_TIMEOUT,
        Rule::Counts(rule) => rule.window,
    }
}

/// The `opens` that counts: as for every key the door's own before the default; and commands of its
/// own stand in place of a default `opens`.
fn opens<'a>(own: &'a NamedDoor, defaults: &'a DoorTable) -> Option<&'a Given<Opens>> {
    let given = match &own.table.opens {
        Some(given) => Some(given),
        None if has_command(&own.table) => None,
        None => defaults.opens.as_ref(),
    };
    given.filter(|given| given.value.as_ref().is_none_or(|opens| !opens.0.is_empty()))
}

/// The ports that a door opens.
pub(super) fn opened<'a>(own: &'a NamedDoor, defaults: &'a DoorTable) -> &'a [Step] {
    opens(own, defaults)
        .and_then(|given| given.value.as_ref())
        .map_or(&[], |opens| &opens.0)
}

fn has_command(table: &DoorTable) -> bool {
    [
        &table.start_command,
        &table.start_command_6,
        &table.stop_command,
        &table.stop_command_6,
    ]
    .into_iter()
    .any(Option::is_some)
}

impl Draft<'_> {
    /// What a door with `opens` does.
    fn opening_grant(
        &self,
        given: &Given<Opens>,
        backend: Option<Backend>,
        (hold, ends_with_connection): (Duration, bool),
        report: &mut Report,
    ) -> Option<GrantRule> {
        let own = &self.own.table;
        // A default command is what `opens` stands in place of, unless that is a default too.
        if has_command(own) || own.opens.is_none() && has_command(&self.table) {
            report.add(given.key, self.flawed(DoorFlaw::OpensAndCommand));
            return None;
        }
        if let Some(user) = &own.user {
            report.add(user.key, self.flawed(DoorFlaw::OpensAndUser));
            return None;
        }
        let Some(backend) = backend else {
            report.add(given.key, self.flawed(DoorFlaw::NoBackend));
            return None;
        };
        let hold = self.hold(hold);
        if let (Backend::Ipset, Some(timeout)) = (backend, &self.table.cmd_timeout)
            && hold > Duration::from_secs(firewall::MAX_IPSET_TIMEOUT)
        {
            let most = firewall::MAX_IPSET_TIMEOUT;
            report.add(
                timeout.span,
                self.flawed(DoorFlaw::HoldBeyondBackend { most }),
            );
        }
        let ports = &given.value.as_ref()?.0;
        let commands = firewall::commands(backend, &self.own.name, ports);
        let commands = commands
            .map_err(|error| report.add(given.span, Problem::Command(error)))
            .ok()?;
        Some(GrantRule {
            hold,
            on_repeat: value(self.table.on_repeat.as_ref()).unwrap_or_default(),
            open: commands.open,
            refresh: commands.refresh,
            close: commands.close,
            opens: ports.clone(),
            once: match value(self.table.once.as_ref()) {
                Some(true) => ports.clone(),
                _ if ends_with_connection => ports.clone(),
                _ => Box::default(),
            },
        })
    }

    /// How long it stays open: as it says, or else `usual`.
    fn hold(&self, usual: Duration) -> Duration {
        value(self.table.cmd_timeout.as_ref()).unwrap_or(usual)
    }

    fn grant(&self, hold: Duration, report: &mut Report) -> Option<GrantRule> {
        let table = &self.table;
        let shell = value(table.shell.as_ref()).unwrap_or(false);
        let mut commands = |v4: &Option<Given<CommandText>>, v6: &Option<Given<CommandText>>| {
            per_family(v4.as_ref(), v6.as_ref(), shell, report)
        };
        let open = commands(&table.start_command, &table.start_command_6);
        let close = commands(&table.stop_command, &table.stop_command_6);
        let account = account(table.user.as_ref(), report);
        let (open, close) = (open?, close?);
        self.check_families(&open, &close, report);
        let run_as = |command: Option<Template>| Some(command?.run_as(account.clone()));
        Some(GrantRule {
            hold: self.hold(hold),
            on_repeat: value(table.on_repeat.as_ref()).unwrap_or_default(),
            refresh: PerFamily::default(),
            // A stop command that IPv6 has only from IPv4 goes where nothing is opened.
            close: PerFamily {
                v4: run_as(close.v4),
                v6: run_as(close.v6.filter(|_| open.v6.is_some())),
            },
            open: PerFamily {
                v4: run_as(open.v4),
                v6: run_as(open.v6),
            },
            opens: Box::default(),
            once: Box::default(),
        })
    }

    /// Only the door's own: as a default it is meant for doors that can use it.
    fn refuse_once(&self, report: &mut Report) {
        if let Some(given) = &self.own.table.once
            && given.value == Some(true)
        {
            report.add(given.key, self.flawed(DoorFlaw::OnceWithoutOpens));
        }
    }

    /// Whether something is opened, and whether it is closed again.
    fn check_families(&self, open: &PerFamily, close: &PerFamily, report: &mut Report) {
        let families = [
            ("IPv4", &open.v4, &close.v4, &self.table.stop_command),
            ("IPv6", &open.v6, &close.v6, &self.table.stop_command_6),
        ];
        let held = families
            .iter()
            .any(|(_, open, close, _)| open.is_some() && close.is_some());
        let mut senseless = false;
        for (family, open, close, given) in families {
            match (open, close, given) {
                (None, Some(_), Some(given)) => {
                    senseless = true;
                    report.add(
                        given.key,
                        self.flawed(DoorFlaw::StopWithoutStart { family }),
                    );
                }
                (Some(_), None, _) if held => {
                    report.add(self.own.at, self.flawed(DoorFlaw::StaysOpen { family }));
                }
                _ => {}
            }
        }
        if senseless {
            return;
        }
        if open.v4.is_none() && open.v6.is_none() {
            report.add(self.own.at, self.flawed(DoorFlaw::NoStartCommand));
        } else if !held {
            self.warn_of_idle_keys(report);
        }
    }

    /// Only of the door's own: as a default they are meant for others.
    fn warn_of_idle_keys(&self, report: &mut Report) {
        let own = &self.own.table;
        let idle = [
            ("cmd_timeout", written(own.cmd_timeout.as_ref())),
            ("on_repeat", written(own.on_repeat.as_ref())),
        ];
        for (key, at) in idle {
            if let Some(at) = at {
                report.add(at, self.flawed(DoorFlaw::NoEffect { key }));
            }
        }
    }
}

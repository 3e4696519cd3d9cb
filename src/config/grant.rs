//! What a door does: the rules of `opens`, of commands, and of how long.
//!
//! In: a [`Draft`]. Out: the engine's [`GrantRule`], or a finding for what is missing, impossible or given twice.

use std::time::Duration;

use crate::engine::command::Template;
use crate::engine::door::{GrantRule, Judging, PerFamily, Rule};
use crate::engine::sequence::Step;
use crate::firewall::{self, Backend};

use super::command::{CommandText, account, per_family};
use super::door::Draft;
use super::report::error;
use super::schema::{DoorTable, NamedDoor};
use super::sequence::Ports;
use super::value::{Given, Optional as _};

/// knockd's `Cmd_Timeout`.
const CMD_TIMEOUT: Duration = Duration::from_secs(10);

/// What the door of `draft` does, which opens by `rule`.
pub(super) fn resolve(draft: &Draft<'_>, rule: Option<&Rule>) -> Option<GrantRule> {
    let usual = match rule {
        Some(Rule::Counts(rule)) => rule.window,
        _ => CMD_TIMEOUT,
    };
    let hold = draft.table.cmd_timeout.value().unwrap_or(usual);
    // A connection that is let in empties the list of hits.
    let ends_with_connection = matches!(rule, Some(Rule::Counts(rule)) if rule.while_right);
    match opens(draft.own, &draft.schema.defaults) {
        Some(given) => draft.opening_grant(given, (hold, ends_with_connection)),
        None => draft.grant(hold),
    }
}

/// The `opens` that counts: as for every key the door's own before the default; and the door's commands replace a
/// default `opens`.
fn opens<'a>(own: &'a NamedDoor, defaults: &'a DoorTable) -> Option<&'a Given<Ports>> {
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
    let commands = [
        &table.start_command,
        &table.start_command_6,
        &table.stop_command,
        &table.stop_command_6,
    ];
    commands.into_iter().any(Option::is_some)
}

impl Draft<'_> {
    /// What a door with `opens` does.
    fn opening_grant(
        &self,
        given: &Given<Ports>,
        (hold, ends_with_connection): (Duration, bool),
    ) -> Option<GrantRule> {
        let own = &self.own.table;
        let shell = [("shell", own.shell.written())];
        self.refuse_idle(&shell, "'opens' runs no command");
        let refuse = |at, what: &str, fix: &str| {
            self.add(self.error(at, what).fix(fix));
            None
        };
        // `opens` replaces a default command, unless `opens` is a default too.
        if has_command(own) || own.opens.is_none() && has_command(&self.table) {
            let what = "has 'opens' and commands; a door has one of them";
            return refuse(given.key, what, "remove one of them");
        }
        if let Some(user) = &own.user {
            let what = "has 'opens' and a 'user', who could not change the firewall";
            return refuse(user.key, what, "remove one of them");
        }
        let Some(backend) = self.schema.firewall.backend.value() else {
            let what = "has 'opens', but there is no [firewall]";
            let fix = "add [firewall] with backend = \"nft\", \"ipset\" or \"iptables\"";
            return refuse(given.key, what, fix);
        };
        let most = firewall::MAX_IPSET_TIMEOUT;
        if let (Backend::Ipset, Some(timeout)) = (backend, &self.table.cmd_timeout)
            && hold > Duration::from_secs(most)
        {
            let what = format!("stays open for longer than ipset allows, {most} s");
            self.add(self.error(timeout.span, what).fix("lower 'cmd_timeout'"));
        }
        let ports = &given.value.as_ref()?.0;
        let commands = firewall::commands(backend, &self.own.name, ports);
        let commands = commands
            .map_err(|why| self.add(error(given.span, why.to_string())))
            .ok()?;
        Some(GrantRule {
            hold,
            on_repeat: self.table.on_repeat.value().unwrap_or_default(),
            open: commands.open,
            refresh: commands.refresh,
            close: commands.close,
            opens: ports.clone(),
            once: match self.table.once.value() {
                Some(true) => ports.clone(),
                _ if ends_with_connection => ports.clone(),
                _ => Box::default(),
            },
            judging: Judging::Firewall,
        })
    }

    fn grant(&self, hold: Duration) -> Option<GrantRule> {
        let table = &self.table;
        // Only the door's own: as a default it is meant for doors that can use it.
        if let Some(given) = &self.own.table.once
            && given.value == Some(true)
        {
            let what = "has 'once', but no 'opens' that names the connection";
            let fix = "add opens = [\"22:tcp\"] instead of commands, or remove 'once'";
            self.add(self.error(given.key, what).fix(fix));
        }
        let shell = table.shell.value().unwrap_or(false);
        let commands = |v4: &Option<Given<CommandText>>, v6: &Option<Given<CommandText>>| {
            per_family(v4.as_ref(), v6.as_ref(), shell, self.report)
        };
        let open = commands(&table.start_command, &table.start_command_6);
        let close = commands(&table.stop_command, &table.stop_command_6);
        let account = account(table.user.as_ref(), self.report);
        let (open, close) = (open?, close?);
        self.check_families(&open, &close);
        let run_as = |command: Option<Template>| Some(command?.run_as(account.clone()));
        Some(GrantRule {
            hold,
            on_repeat: table.on_repeat.value().unwrap_or_default(),
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
            judging: match table.ignore_status.value() {
                Some(true) => Judging::Knockd,
                _ => Judging::Own,
            },
        })
    }

    /// Whether something is opened, and whether it is closed again.
    fn check_families(&self, open: &PerFamily, close: &PerFamily) {
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
                    let what = format!("has a stop command for {family}, but no start command");
                    let fix = format!("add a start command for {family}, or remove it");
                    self.add(self.error(given.key, what).fix(fix));
                }
                (Some(_), None, _) if held => {
                    let what =
                        format!("has no stop command for {family}, but one for the other family");
                    let fix = format!("add a stop command for {family}");
                    self.add(self.warning(self.own.at, what).fix(fix));
                }
                _ => {}
            }
        }
        if senseless {
            return;
        }
        if open.v4.is_none() && open.v6.is_none() {
            let what = "has no 'opens' and no 'start_command': it would do nothing";
            let fix =
                "add opens = [\"22:tcp\"], or start_command = [\"/path/of/program\", \"%IP%\"]";
            self.add(self.error(self.own.at, what).fix(fix));
        } else if !held {
            // Only of the door's own: as a default they are meant for others.
            let own = &self.own.table;
            let idle = [
                ("cmd_timeout", own.cmd_timeout.written()),
                ("on_repeat", own.on_repeat.written()),
            ];
            self.refuse_idle(&idle, "without a stop command nothing is held open");
        }
    }
}

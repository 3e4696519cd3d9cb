//! A section of knockd.conf that is a door.
//!
//! In: its directives in their order. Out: the door as a TOML file would have it, or none where knockd's own could
//! never open. Lines that knockd reads differently from how they look are reported, with the step's number and never
//! its port.

use std::time::Duration;

use crate::config::command::CommandText;
use crate::config::document::Document;
use crate::config::duration;
use crate::config::report::{Span, error, warning};
use crate::config::schema::{DoorTable, NamedDoor};
use crate::config::scope::{ADDRESS_FORM, Flags, NO_ADDRESS, Target};
use crate::config::value::{Given, Within, absolute, duration_flaw, no_choice};
use crate::engine::command::Template;
use crate::engine::packet::TcpFlags;
use crate::engine::sequence::{Sequence, Transport};

use super::Key;
use super::lines::Word;
use super::sequence::{Steps, number};

/// knockd's flags.
const FLAGS: [&str; 6] = ["fin", "syn", "rst", "psh", "ack", "urg"];
/// What is said of a stop command where nothing is started.
const STOP_ALONE: &str = "knockd runs no stop command where it has run no start command";
const STOP_ALONE_FIX: &str = "add a start_command, or remove it";
/// As short as a door can be open.
const AT_ONCE: Duration = Duration::from_millis(1);

/// A door while its section is read.
pub(super) struct Section<'a, 'd> {
    document: &'d Document<'d>,
    name: String,
    at: Span,
    /// What was given last for each key.
    given: Vec<(Key, Word<'a>, Word<'a>)>,
    /// For each of [`FLAGS`], whether a packet must have it or must not.
    flags: Option<[Option<bool>; FLAGS.len()]>,
}

impl<'a, 'd> Section<'a, 'd> {
    /// A door called `name`, which stands at `at`.
    pub(super) fn new(name: &str, at: Span, document: &'d Document<'d>) -> Self {
        Self {
            document,
            name: name.to_owned(),
            at,
            given: Vec::new(),
            flags: None,
        }
    }

    /// Takes one directive.
    pub(super) fn set(&mut self, key: Key, name: &Word<'a>, value: &Word<'a>) {
        if key == Key::TcpFlags {
            self.add_flags(value);
        }
        let earlier = self.given.iter().position(|(other, ..)| *other == key);
        if let Some(index) = earlier {
            let (_, name, _) = self.given.remove(index);
            let at = self.span(&name);
            self.document.add(match key {
                Key::TcpFlags => warning(at, "given again below: knockd adds the flags of both")
                    .fix("write all flags in one line: tcpflags = syn,!ack"),
                _ => super::given_again(at),
            });
        }
        self.given.push((key, name.clone(), value.clone()));
    }

    fn add_flags(&mut self, value: &Word<'_>) {
        let document = self.document;
        let flags = self.flags.get_or_insert_default();
        for item in value.items() {
            let span = document.span(item.at.clone());
            let word = item.text.to_ascii_lowercase();
            let name = word.strip_prefix('!').unwrap_or(&word);
            let place = FLAGS.iter().position(|flag| *flag == name);
            if let Some(flag) = place.and_then(|place| flags.get_mut(place)) {
                if flag.is_some() {
                    let message = "this flag is given twice: knockd takes the last one";
                    document.add(warning(span, message).fix("remove one of them"));
                }
                *flag = Some(!word.starts_with('!'));
                continue;
            }
            let bare: String = name.split_whitespace().collect();
            let is_flag = FLAGS.contains(&bare.as_str());
            document.add(if is_flag && bare != name {
                error(span, "knockd does not know a flag with a blank")
                    .fix("remove the blanks: tcpflags = syn,!ack")
            } else {
                no_choice(span, name, &FLAGS)
            });
        }
    }

    /// The door, when its section has ended; `None` for one that never opens, which has been
    /// reported.
    pub(super) fn door(self) -> Option<NamedDoor> {
        let table = self.table()?;
        Some(NamedDoor {
            name: self.name.as_str().into(),
            at: self.at,
            table,
        })
    }

    fn given(&self, key: Key) -> Option<(&Word<'a>, &Word<'a>)> {
        let mut given = self.given.iter();
        let (_, name, value) = given.find(|(other, ..)| *other == key)?;
        Some((name, value))
    }

    fn span(&self, word: &Word<'_>) -> Span {
        self.document.span(word.at.clone())
    }

    /// Reports what knockd does without a word.
    fn warn(&self, at: Span, message: impl Into<String>, fix: &str) {
        self.document.add(warning(at, message).fix(fix));
    }

    fn entry<T>(&self, (key, value): (&Word<'_>, &Word<'_>), read: Option<T>) -> Given<T> {
        Given {
            key: self.span(key),
            span: self.span(value),
            value: read,
        }
    }

    fn table(&self) -> Option<DoorTable> {
        let mut table = DoorTable::default();
        let mut is_dead = false;
        let mut steps = 0;
        if let Some(given) = self.given(Key::Sequence) {
            let read = Steps::read(given.1, self.document);
            is_dead |= read.is_dead;
            steps = read.sequence.as_ref().map_or(0, Sequence::len);
            table.sequence = Some(self.entry(given, read.sequence));
        }
        self.one_time_sequences(&mut table, &mut is_dead);
        if table.sequence.is_none() && table.one_time_sequences.is_none() {
            let fix = "add sequence = PORT,PORT:udp,PORT";
            self.document
                .add(error(self.at, "this door has no sequence").fix(fix));
            is_dead = true;
        }
        if let Some(given) = self.given(Key::SeqTimeout) {
            let seconds = self.seconds(given.1);
            if seconds > 0 {
                let span = self.duration(given.1, seconds);
                table.seq_timeout = Some(self.entry(given, span));
            } else if steps != 1 {
                let message = "knockd reads 0 s: an attempt ends before its second knock, so the door never opens and is left out";
                let fix = "write the seconds that a knock may take: seq_timeout = 15";
                self.warn(self.span(given.1), message, fix);
                is_dead = true;
            }
        }
        let steps = table
            .sequence
            .as_ref()
            .and_then(|given| given.value.as_ref());
        let is_tcp = |steps: &Sequence| {
            let mut steps = steps.steps().iter();
            steps.any(|step| step.transport == Transport::Tcp)
        };
        if steps.is_none_or(is_tcp) {
            table.tcpflags = Some(self.flags());
        }
        if let Some(given) = self.given(Key::Target) {
            let address = given.1.text.parse().ok();
            if address.is_none() {
                let at = self.span(given.1);
                self.document.add(error(at, NO_ADDRESS).fix(ADDRESS_FORM));
            }
            table.target = Some(self.entry(given, address.map(Target)));
        }
        self.commands(&mut table);
        if let Some(given) = self.given(Key::CmdTimeout) {
            let hold = self.hold(given);
            let closing = [&table.stop_command, &table.stop_command_6];
            if closing.into_iter().flatten().all(is_nothing) {
                let message = "has no effect: without a stop command nothing is held open";
                self.warn(hold.key, message, "add a stop_command, or remove it");
            } else {
                table.cmd_timeout = Some(hold);
            }
        }
        (!is_dead).then_some(table)
    }

    /// They replace the sequence; as in knockd, only the next one can be knocked.
    fn one_time_sequences(&self, table: &mut DoorTable, is_dead: &mut bool) {
        let Some(given) = self.given(Key::OneTimeSequences) else {
            return;
        };
        let path = absolute(given.1.text, self.span(given.1), self.document.report);
        table.one_time_sequences = Some(self.entry(given, path));
        table.look_ahead = Some(self.entry(given, Some(Within(1))));
        if let Some(sequence) = table.sequence.take() {
            let message = "has no effect: the one-time sequences replace it";
            self.warn(sequence.key, message, "remove one of them");
            *is_dead = false;
        }
    }

    /// A timeout's seconds.
    fn seconds(&self, value: &Word<'_>) -> i32 {
        let read = number(value.text);
        if read.length < value.text.len() || value.text.is_empty() {
            let message = format!("knockd takes this as {} s", read.value);
            let fix = "write whole seconds and nothing else; a comment needs a line of its own";
            self.warn(self.span(value), message, fix);
        }
        read.value
    }

    fn duration(&self, value: &Word<'_>, seconds: i32) -> Option<Duration> {
        let span = duration::from_seconds(seconds.into());
        let at = self.span(value);
        span.map_err(|why| self.document.add(duration_flaw(at, why)))
            .ok()
    }

    fn hold(&self, given: (&Word<'_>, &Word<'_>)) -> Given<Duration> {
        let seconds = self.seconds(given.1);
        let at = self.span(given.1);
        let span = match seconds {
            ..0 => {
                let message = "negative: knockd would never close the door";
                let fix = "write the seconds that it stays open";
                self.document.add(error(at, message).fix(fix));
                None
            }
            0 => {
                let message = "knockd reads 0 s: the door closes as soon as it is open";
                let fix = "write the seconds that it stays open: cmd_timeout = 10";
                self.warn(at, message, fix);
                Some(AT_ONCE)
            }
            _ => self.duration(given.1, seconds),
        };
        self.entry(given, span)
    }

    fn flags(&self) -> Given<Flags> {
        let mut flags = Flags {
            set: TcpFlags::NONE,
            clear: TcpFlags::NONE,
        };
        let at = self.at;
        let Some(wanted) = self.flags else {
            let message = "no tcpflags: every TCP packet is a knock, also within a connection";
            self.warn(at, message, "add tcpflags = syn");
            return Given::implied(at, flags);
        };
        for (name, wanted) in FLAGS.iter().zip(wanted) {
            let flag = TcpFlags::NAMES.iter().find(|(known, _)| known == name);
            if let (Some((_, flag)), Some(set)) = (flag, wanted) {
                let side = if set {
                    &mut flags.set
                } else {
                    &mut flags.clear
                };
                *side = side.with(*flag);
            }
        }
        let at = self
            .given(Key::TcpFlags)
            .map_or(at, |(key, _)| self.span(key));
        Given::implied(at, flags)
    }

    /// Where knockd runs no start command it runs no stop command, for each family.
    fn commands(&self, table: &mut DoorTable) {
        let keys = [
            Key::StartCommand,
            Key::StartCommand6,
            Key::StopCommand,
            Key::StopCommand6,
        ];
        let [start, start_6, stop, stop_6] = keys.map(|key| self.command(key));
        let filled =
            |given: &Option<Given<CommandText>>| given.clone().filter(|given| !is_nothing(given));
        let opens_v4 = filled(&start).is_some();
        let opens_v6 = start_6
            .as_ref()
            .map_or(opens_v4, |given| !is_nothing(given));
        if !opens_v4 && !opens_v6 {
            let at = self.at;
            let message = "this door has no command: a knock is logged and does nothing";
            self.warn(at, message, "add a start_command");
            for given in [filled(&stop), filled(&stop_6)].into_iter().flatten() {
                self.warn(given.key, STOP_ALONE, STOP_ALONE_FIX);
            }
            let nothing = CommandText::Script(":".into());
            table.start_command = Some(Given::implied(at, nothing));
            return;
        }
        table.start_command = filled(&start);
        table.start_command_6 = start_6;
        // What IPv6 has only from IPv4 stays with it.
        table.stop_command_6 = match (stop_6, opens_v6) {
            (Some(given), false) => {
                if !is_nothing(&given) {
                    self.warn(given.key, STOP_ALONE, STOP_ALONE_FIX);
                }
                None
            }
            (None, true) if !opens_v4 => filled(&stop),
            (given, _) => given,
        };
        table.stop_command = filled(&stop);
        if !opens_v4 && let Some(given) = table.stop_command.take() {
            self.warn(given.key, STOP_ALONE, STOP_ALONE_FIX);
        }
    }

    fn command(&self, key: Key) -> Option<Given<CommandText>> {
        let given = self.given(key)?;
        let script = given.1.text;
        let at = self.span(given.1);
        if script.contains(" #") {
            let message = "knockd does not see a comment here: it passes the text to the shell";
            self.warn(at, message, "put the comment on a line of its own");
        }
        if is_ambiguous(script) {
            let message = "knockd replaces %IP% only; this stays as it is";
            let fix = "remove the percent signs if this was meant to be replaced";
            self.warn(at, message, fix);
        }
        Some(self.entry(given, Some(CommandText::Script(script.into()))))
    }
}

/// Whether a script has a `%WORD%` that knockd leaves alone and that is a placeholder here.
pub(super) fn is_ambiguous(script: &str) -> bool {
    !script.is_empty() && Template::from_shell(script).is_err()
}

fn is_nothing(given: &Given<CommandText>) -> bool {
    given.value.as_ref().is_none_or(CommandText::is_empty)
}

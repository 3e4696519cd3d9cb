//! A section of knockd.conf that is a door.
//!
//! In: its directives in their order. Out: the door as a TOML file would have it, or none where
//! knockd's own could never open. What knockd reads without a word otherwise than it looks is
//! reported, with the step's number and never its port.

use std::time::Duration;

use crate::config::command::CommandText;
use crate::config::document::Document;
use crate::config::duration;
use crate::config::nearest::nearest;
use crate::config::problem::Problem;
use crate::config::report::{Report, Span};
use crate::config::schema::{DoorTable, NamedDoor};
use crate::config::scope::{Flags, Target};
use crate::config::value::Given;
use crate::config::value::absolute;
use crate::engine::command::Template;
use crate::engine::packet::TcpFlags;
use crate::engine::sequence::Sequence;

use super::lines::Word;
use super::number::number;
use super::sequence::Steps;
use super::{Key, Trap};

/// knockd's flags.
const FLAGS: [&str; 6] = ["fin", "syn", "rst", "psh", "ack", "urg"];
/// As short as a door can be open.
const AT_ONCE: Duration = Duration::from_millis(1);

/// A door while its section is read.
pub(super) struct Section<'a> {
    name: String,
    at: Span,
    /// What was given last for each key.
    given: Vec<(Key, Word<'a>, Word<'a>)>,
    /// For each of [`FLAGS`], whether a packet must have it or must not.
    flags: Option<[Option<bool>; FLAGS.len()]>,
}

impl<'a> Section<'a> {
    /// A door called `name`, which stands at `at`.
    pub(super) fn new(name: &str, at: Span) -> Self {
        Self {
            name: name.to_owned(),
            at,
            given: Vec::new(),
            flags: None,
        }
    }

    /// Takes one directive.
    pub(super) fn set(
        &mut self,
        key: Key,
        name: &Word<'a>,
        value: &Word<'a>,
        document: &Document<'_>,
        report: &mut Report,
    ) {
        if key == Key::TcpFlags {
            self.add_flags(value, document, report);
        }
        let earlier = self.given.iter().position(|(other, ..)| *other == key);
        if let Some(index) = earlier {
            let (_, name, _) = self.given.remove(index);
            let trap = match key {
                Key::TcpFlags => Trap::FlagsAddUp,
                _ => Trap::Twice,
            };
            report.add(document.span(name.at), Problem::Knockd(trap));
        }
        self.given.push((key, name.clone(), value.clone()));
    }

    fn add_flags(&mut self, value: &Word<'_>, document: &Document<'_>, report: &mut Report) {
        let flags = self.flags.get_or_insert_default();
        for item in value.items() {
            let span = document.span(item.at.clone());
            let word = item.text.to_ascii_lowercase();
            let name = word.strip_prefix('!').unwrap_or(&word);
            let place = FLAGS.iter().position(|flag| *flag == name);
            if let Some(flag) = place.and_then(|place| flags.get_mut(place)) {
                if flag.is_some() {
                    report.add(span, Problem::Knockd(Trap::FlagTwice));
                }
                *flag = Some(!word.starts_with('!'));
                continue;
            }
            let bare: String = name.split_whitespace().collect();
            let is_flag = FLAGS.contains(&bare.as_str());
            let problem = if is_flag && bare != name {
                Problem::Knockd(Trap::FlagBlank)
            } else {
                Problem::Choice {
                    words: FLAGS.to_vec(),
                    nearest: nearest(name, FLAGS),
                }
            };
            report.add(span, problem);
        }
    }

    /// The door, when its section has ended; `None` for one that never opens, which has been
    /// reported.
    pub(super) fn door(self, document: &Document<'_>, report: &mut Report) -> Option<NamedDoor> {
        let mut reader = Reader {
            section: &self,
            document,
            report,
        };
        let table = reader.table()?;
        Some(NamedDoor {
            name: self.name.as_str().into(),
            at: self.at,
            table,
        })
    }
}

/// Makes a door's table of its section.
struct Reader<'s, 'a> {
    section: &'s Section<'a>,
    document: &'s Document<'s>,
    report: &'s mut Report,
}

impl<'s, 'a> Reader<'s, 'a> {
    fn given(&self, key: Key) -> Option<(&'s Word<'a>, &'s Word<'a>)> {
        let mut given = self.section.given.iter();
        let (_, name, value) = given.find(|(other, ..)| *other == key)?;
        Some((name, value))
    }

    fn span(&self, word: &Word<'_>) -> Span {
        self.document.span(word.at.clone())
    }

    fn problem(&mut self, word: &Word<'_>, problem: Problem) {
        let span = self.span(word);
        self.report.add(span, problem);
    }

    fn trap(&mut self, word: &Word<'_>, trap: Trap) {
        self.problem(word, Problem::Knockd(trap));
    }

    fn entry<T>(&self, (key, value): (&Word<'_>, &Word<'_>), read: Option<T>) -> Given<T> {
        Given {
            key: self.span(key),
            span: self.span(value),
            value: read,
        }
    }

    fn table(&mut self) -> Option<DoorTable> {
        let mut table = DoorTable::default();
        let mut is_dead = false;
        let mut steps = 0;
        if let Some(given) = self.given(Key::Sequence) {
            let read = Steps::read(given.1, &mut |word, problem| self.problem(word, problem));
            is_dead |= read.is_dead;
            steps = read.sequence.as_ref().map_or(0, Sequence::len);
            table.sequence = Some(self.entry(given, read.sequence));
        }
        self.one_time_sequences(&mut table, &mut is_dead);
        if table.sequence.is_none() && table.one_time_sequences.is_none() {
            let at = self.section.at;
            self.report.add(at, Problem::Knockd(Trap::NoSequence));
            is_dead = true;
        }
        if let Some(given) = self.given(Key::SeqTimeout) {
            let seconds = self.seconds(given.1);
            if seconds > 0 {
                let span = self.duration(given.1, seconds);
                table.seq_timeout = Some(self.entry(given, span));
            } else if steps != 1 {
                self.trap(given.1, Trap::NoTime);
                is_dead = true;
            }
        }
        table.tcpflags = Some(self.flags());
        if let Some(given) = self.given(Key::Target) {
            let address = given.1.text.parse().ok();
            if address.is_none() {
                self.problem(given.1, Problem::Target);
            }
            table.target = Some(self.entry(given, address.map(Target)));
        }
        self.commands(&mut table);
        if let Some(given) = self.given(Key::CmdTimeout) {
            table.cmd_timeout = Some(self.hold(given));
        }
        (!is_dead).then_some(table)
    }

    /// They stand in place of the sequence; as in knockd, only the next one can be knocked.
    fn one_time_sequences(&mut self, table: &mut DoorTable, is_dead: &mut bool) {
        let Some(given) = self.given(Key::OneTimeSequences) else {
            return;
        };
        let path = absolute(given.1.text);
        if path.is_none() {
            self.problem(given.1, Problem::Path);
        }
        table.one_time_sequences = Some(self.entry(given, path));
        table.look_ahead = Some(self.entry(given, Some(1)));
        if let Some(sequence) = table.sequence.take() {
            let trap = Problem::Knockd(Trap::SequenceBesideList);
            self.report.add(sequence.key, trap);
            *is_dead = false;
        }
    }

    /// A timeout's seconds.
    fn seconds(&mut self, value: &Word<'_>) -> i32 {
        let read = number(value.text);
        if read.length < value.text.len() || value.text.is_empty() {
            let seconds = read.value;
            self.trap(value, Trap::TimeoutTail { seconds });
        }
        read.value
    }

    fn duration(&mut self, value: &Word<'_>, seconds: i32) -> Option<Duration> {
        let span = duration::from_seconds(seconds.into());
        span.map_err(|error| self.problem(value, Problem::Duration(error)))
            .ok()
    }

    fn hold(&mut self, given: (&Word<'_>, &Word<'_>)) -> Given<Duration> {
        let seconds = self.seconds(given.1);
        let span = match seconds {
            ..0 => {
                self.trap(given.1, Trap::NeverCloses);
                None
            }
            0 => {
                self.trap(given.1, Trap::ClosesAtOnce);
                Some(AT_ONCE)
            }
            _ => self.duration(given.1, seconds),
        };
        self.entry(given, span)
    }

    fn flags(&mut self) -> Given<Flags> {
        let mut flags = Flags {
            set: TcpFlags::NONE,
            clear: TcpFlags::NONE,
        };
        let at = self.section.at;
        let Some(wanted) = self.section.flags else {
            self.report.add(at, Problem::Knockd(Trap::NoFlags));
            return Given {
                key: at,
                span: at,
                value: Some(flags),
            };
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
        Given {
            key: at,
            span: at,
            value: Some(flags),
        }
    }

    /// Where knockd runs no start command it runs no stop command, for each family.
    fn commands(&mut self, table: &mut DoorTable) {
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
            let at = self.section.at;
            self.report.add(at, Problem::Knockd(Trap::NoCommand));
            for given in [filled(&stop), filled(&stop_6)].into_iter().flatten() {
                self.report.add(given.key, Problem::Knockd(Trap::StopAlone));
            }
            table.start_command = Some(Given {
                key: at,
                span: at,
                value: Some(CommandText::Script(":".into())),
            });
            return;
        }
        table.start_command = filled(&start);
        table.start_command_6 = start_6;
        // What IPv6 has only from IPv4 stays with it.
        table.stop_command_6 = match (stop_6, opens_v6) {
            (Some(given), false) => {
                if !is_nothing(&given) {
                    self.report.add(given.key, Problem::Knockd(Trap::StopAlone));
                }
                None
            }
            (None, true) if !opens_v4 => filled(&stop),
            (given, _) => given,
        };
        table.stop_command = filled(&stop);
        if !opens_v4 && let Some(given) = table.stop_command.take() {
            self.report.add(given.key, Problem::Knockd(Trap::StopAlone));
        }
    }

    fn command(&mut self, key: Key) -> Option<Given<CommandText>> {
        let given = self.given(key)?;
        let script = given.1.text;
        if script.contains(" #") {
            self.trap(given.1, Trap::CommentInCommand);
        }
        if is_ambiguous(script) {
            self.trap(given.1, Trap::Placeholder);
        }
        Some(self.entry(given, Some(CommandText::Script(script.into()))))
    }
}

/// Whether a script has `%WORD%`s that knockd does not replace and that stand for something here.
pub(super) fn is_ambiguous(script: &str) -> bool {
    !script.is_empty() && Template::from_shell(script).is_err()
}

fn is_nothing(given: &Given<CommandText>) -> bool {
    given.value.as_ref().is_none_or(CommandText::is_empty)
}

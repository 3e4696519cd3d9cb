//! The lines of a knockd.conf as a schema.
//!
//! In: lines. Out: `[options]` as `[daemon]` and `[defaults]`, each other section as a door; what
//! cannot be read, and what would be read otherwise than it looks, in the report.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use crate::config::document::Document;
use crate::config::nearest::nearest;
use crate::config::problem::{Problem, UnknownKey};
use crate::config::report::{Report, Span};
use crate::config::schema::{Schema, is_door_name, looks_like_a_key};
use crate::config::scope::Interface;
use crate::config::value::Given;
use crate::config::value::absolute;

use super::door::Section;
use super::lines::{Line, Word};
use super::{Key, Trap};

/// knockd's word for every interface.
const EVERY_INTERFACE: &str = "any";
/// Longest name of a door that is made unique.
const NAME_ROOM: usize = 56;

/// Reads the lines of `document` into `schema`.
pub(in crate::config) fn read(
    document: &Document<'_>,
    lines: &[Line<'_>],
    schema: &mut Schema,
    report: &mut Report,
) {
    let nowhere = document.span(0..0);
    schema.defaults.strict = Some(Given {
        key: nowhere,
        span: nowhere,
        value: Some(false),
    });
    let mut reader = Reader {
        document,
        schema,
        report,
        names: HashSet::new(),
        numbers: HashMap::new(),
        place: Place::Nowhere,
    };
    for line in lines {
        reader.line(line);
    }
    reader.end_section();
}

/// Where in the file the reader is.
enum Place<'a> {
    /// Above the first section.
    Nowhere,
    Options,
    Door(Section<'a>),
    /// In a section that is none, which has been reported.
    Lost,
}

struct Reader<'a, 'r> {
    document: &'r Document<'r>,
    schema: &'r mut Schema,
    report: &'r mut Report,
    /// The doors' names.
    names: HashSet<String>,
    /// How many doors have been called by the same name.
    numbers: HashMap<String, usize>,
    place: Place<'a>,
}

impl<'a> Reader<'a, '_> {
    fn line(&mut self, line: &Line<'a>) {
        match line {
            Line::Unreadable(word) => self.trap(word, Trap::Line),
            Line::Section(name) => self.section(name),
            Line::Directive { key, value } => self.directive(key, value.as_ref()),
        }
    }

    fn trap(&mut self, word: &Word<'_>, trap: Trap) {
        let span = self.span(word);
        self.report.add(span, Problem::Knockd(trap));
    }

    fn span(&self, word: &Word<'_>) -> Span {
        self.document.span(word.at.clone())
    }

    fn section(&mut self, name: &Word<'a>) {
        self.end_section();
        self.place = if name.text.is_empty() {
            self.trap(name, Trap::SectionName);
            Place::Lost
        } else if name.text == "options" {
            Place::Options
        } else {
            if name.text.trim().eq_ignore_ascii_case("options") {
                self.trap(name, Trap::OptionsSpelling);
            }
            let known = self.unique(name.text);
            if known != name.text {
                let name_here = known.clone();
                self.trap(name, Trap::Renamed { name: name_here });
            }
            Place::Door(Section::new(&known, self.span(name)))
        };
    }

    /// The name of a door here: as written, if it can be.
    fn unique(&mut self, written: &str) -> String {
        let fit = |character: char| {
            if character.is_ascii_alphanumeric() || "._-".contains(character) {
                character
            } else {
                '-'
            }
        };
        let mut name = written.to_owned();
        if !is_door_name(&name) {
            name = written.chars().map(fit).take(NAME_ROOM).collect();
        }
        let stem: String = name.chars().take(NAME_ROOM).collect();
        while !self.names.insert(name.clone()) {
            let number = self.numbers.entry(stem.clone()).or_insert(1);
            *number += 1;
            name = format!("{stem}-{number}");
        }
        name
    }

    fn end_section(&mut self) {
        if let Place::Door(section) = std::mem::replace(&mut self.place, Place::Nowhere) {
            let door = section.door(self.document, self.report);
            self.schema.doors.extend(door);
        }
    }

    fn directive(&mut self, key: &Word<'a>, value: Option<&Word<'a>>) {
        let known: &[(&'static str, Key)] = match self.place {
            Place::Lost => return,
            Place::Nowhere => return self.trap(key, Trap::NoSection),
            Place::Options => &Key::OPTIONS,
            Place::Door(_) => &Key::DOOR,
        };
        let name = key.text.to_ascii_lowercase();
        let Some((_, meant)) = known.iter().find(|(word, _)| *word == name) else {
            if value.is_none() && !looks_like_a_key(key.text) {
                return self.trap(key, Trap::Syntax);
            }
            let problem = self.unknown(&name, known);
            let span = self.span(key);
            return self.report.add(span, problem);
        };
        match (*meant, value) {
            // To the log of this process, which systemd gives to the journal.
            (Key::UseSyslog, None) => {}
            (Key::UseSyslog, Some(value)) => self.trap(value, Trap::UseSyslogValue),
            (_, None) => self.trap(key, Trap::NoValue),
            (_, Some(value)) if self.document.was_not_text(value.text) => {
                self.trap(value, Trap::NotText);
            }
            (meant, Some(value)) => match &mut self.place {
                Place::Door(section) => {
                    section.set(meant, key, value, self.document, self.report);
                }
                _ => self.option(meant, key, value),
            },
        }
    }

    fn unknown(&self, name: &str, known: &[(&'static str, Key)]) -> Problem {
        let words = |keys: &[(&'static str, Key)]| -> Vec<_> {
            keys.iter().map(|(word, _)| *word).collect()
        };
        let in_options = matches!(self.place, Place::Options);
        let (section, other, theirs): (_, _, &[_]) = if in_options {
            ("in [options]", "the section of a door", &Key::DOOR)
        } else {
            ("in the section of a door", "[options]", &Key::OPTIONS)
        };
        let elsewhere = theirs.iter().any(|(word, _)| *word == name);
        Problem::UnknownKey(UnknownKey {
            name: looks_like_a_key(name).then(|| name.to_owned()),
            section: section.to_owned(),
            nearest: nearest(name, words(known)),
            elsewhere: elsewhere.then_some(other),
            valid: words(known),
        })
    }

    fn option(&mut self, key: Key, at: &Word<'_>, value: &Word<'_>) {
        let (at, span) = (self.span(at), self.span(value));
        match key {
            Key::PidFile => self.report.add(at, Problem::Knockd(Trap::PidFile)),
            Key::LogFile => {
                self.given_again(
                    self.schema
                        .daemon
                        .knockd_log
                        .as_ref()
                        .map(|given| given.key),
                );
                self.schema.daemon.knockd_log = (!value.text.is_empty())
                    .then(|| self.log_file(value.text, span))
                    .map(|value| Given {
                        key: at,
                        span,
                        value,
                    });
            }
            Key::Interface => {
                self.given_again(
                    self.schema
                        .defaults
                        .interface
                        .as_ref()
                        .map(|given| given.key),
                );
                self.schema.defaults.interface = (value.text != EVERY_INTERFACE)
                    .then(|| Interface::named(value.text))
                    .map(|value| {
                        if value.is_none() {
                            self.report.add(span, Problem::Interface);
                        }
                        Given {
                            key: at,
                            span,
                            value,
                        }
                    });
            }
            _ => {}
        }
    }

    fn log_file(&mut self, text: &str, span: Span) -> Option<PathBuf> {
        let path = absolute(text);
        if path.is_none() {
            self.report.add(span, Problem::Path);
        }
        path
    }

    fn given_again(&mut self, earlier: Option<Span>) {
        if let Some(at) = earlier {
            self.report.add(at, Problem::Knockd(Trap::Twice));
        }
    }
}

//! The lines of a knockd.conf as a schema.
//!
//! In: lines. Out: `[options]` as `[daemon]` and `[defaults]`, each other section as a door; in the report, lines
//! that cannot be read, and lines that knockd reads differently from how they look.

use std::collections::{HashMap, HashSet};
use std::mem;

use crate::config::document::Document;
use crate::config::read::unknown_key;
use crate::config::report::{Finding, Span, error, warning};
use crate::config::schema::{Schema, is_door_name, looks_like_a_key};
use crate::config::scope::{Interface, NO_INTERFACE};
use crate::config::value::{Given, Optional as _, absolute};

use super::door::Section;
use super::lines::{Line, Word};
use super::{Key, given_again};

/// knockd's word for every interface.
const EVERY_INTERFACE: &str = "any";
/// Keys of knockd's forks, and the keys that do the same here.
const FORKS_KEYS: [(&str, &str); 2] = [
    ("seq_cooldown", "cooldown = \"TIME\""),
    (
        "ipset_timeout",
        "cmd_timeout = \"TIME\", with opens = [PORT] and [firewall] backend = \"ipset\",",
    ),
];
/// Longest name of a door that is made unique.
const NAME_ROOM: usize = 56;

/// Reads the lines of `document` into `schema`.
pub(in crate::config) fn read(document: &Document<'_>, lines: &[Line<'_>], schema: &mut Schema) {
    schema.is_knockds = true;
    let nowhere = document.span(0..0);
    schema.defaults.strict = Some(Given::implied(nowhere, false));
    schema.defaults.ignore_status = Some(Given::implied(nowhere, true));
    let mut reader = Reader {
        document,
        schema,
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
enum Place<'a, 'r> {
    /// Above the first section.
    Nowhere,
    Options,
    Door(Section<'a, 'r>),
    /// In a wrong section, which has been reported.
    Lost,
}

struct Reader<'a, 'r> {
    document: &'r Document<'r>,
    schema: &'r mut Schema,
    /// The doors' names.
    names: HashSet<String>,
    /// How many doors have been called by the same name.
    numbers: HashMap<String, usize>,
    place: Place<'a, 'r>,
}

impl<'a> Reader<'a, '_> {
    fn line(&mut self, line: &Line<'a>) {
        match line {
            Line::Unreadable(word) => {
                let fix = "write a line of at most 4095 bytes without a NUL byte";
                self.refuse(word, "knockd does not read this line as one", fix);
            }
            Line::Ours { key, value } => self.ours(key, value.as_ref()),
            Line::Section(name) => self.section(name),
            Line::Directive { key, value } => self.directive(key, value.as_ref()),
        }
    }

    /// Reports what knockd refuses too.
    fn refuse(&self, word: &Word<'_>, message: &str, fix: &str) {
        self.document.add(error(self.span(word), message).fix(fix));
    }

    /// Reports what knockd does without a word.
    fn warn(&self, word: &Word<'_>, message: impl Into<String>, fix: &str) {
        self.document
            .add(warning(self.span(word), message).fix(fix));
    }

    /// What a comment says to us.
    fn ours(&mut self, key: &Word<'_>, value: Option<&Word<'_>>) {
        let (Some(value), "prefix-file") = (value, key.text) else {
            let fix = "write #logknock: prefix-file = /PATH";
            return self.refuse(
                key,
                "a '#logknock:' comment can only set 'prefix-file'",
                fix,
            );
        };
        let (key, span) = (self.span(key), self.span(value));
        self.given_again(self.schema.prefix_file.as_ref().map(|given| given.key));
        let value = absolute(value.text, span, self.document.report);
        self.schema.prefix_file = Some(Given { key, span, value });
    }

    fn span(&self, word: &Word<'_>) -> Span {
        self.document.span(word.at.clone())
    }

    fn section(&mut self, name: &Word<'a>) {
        self.end_section();
        self.place = if name.text.is_empty() {
            let fix = "write a name between the brackets";
            self.refuse(name, "a section without a name", fix);
            Place::Lost
        } else if name.text == "options" {
            Place::Options
        } else {
            if name.text.trim().eq_ignore_ascii_case("options") {
                let message = "knockd reads this as a door: its section is [options], without capitals and blanks";
                self.warn(name, message, "write [options]");
            }
            let known = self.unique(name.text);
            if known != name.text {
                let message = format!("this door is called '{known}' here");
                let fix = "name each door once, with A-Z a-z 0-9 . _ - only";
                self.warn(name, message, fix);
            }
            Place::Door(Section::new(&known, self.span(name), self.document))
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
        if let Place::Door(section) = mem::replace(&mut self.place, Place::Nowhere) {
            let door = section.door();
            self.schema.doors.extend(door);
        }
    }

    fn directive(&mut self, key: &Word<'a>, value: Option<&Word<'a>>) {
        let known: &[(&'static str, Key)] = match self.place {
            Place::Lost => return,
            Place::Nowhere => {
                let fix = "put [options] or the name of a door in brackets above it, alone on its line; a comment begins with #";
                return self.refuse(key, "this is outside of all sections", fix);
            }
            Place::Options => &Key::OPTIONS,
            Place::Door(_) => &Key::DOOR,
        };
        let name = key.text.to_ascii_lowercase();
        let Some((_, meant)) = known.iter().find(|(word, _)| *word == name) else {
            if value.is_none() && !looks_like_a_key(key.text) {
                let message = "neither a section nor 'key = value'";
                return self.refuse(key, message, "write key = value");
            }
            let found = self.unknown(self.span(key), &name, known);
            return self.document.add(found);
        };
        match (*meant, value) {
            (Key::UseSyslog, None) => {
                self.schema.daemon.knockd_syslog = Some(Given::implied(self.span(key), true));
            }
            (Key::UseSyslog, Some(value)) => {
                let message = "UseSyslog takes no value: knockd does not start with one";
                self.refuse(value, message, "write UseSyslog alone");
            }
            (_, None) => self.refuse(key, "this key needs a value", "write key = value"),
            (_, Some(value)) if self.document.was_not_text(value.text) => {
                self.refuse(value, "not UTF-8", "write it in UTF-8");
            }
            (meant, Some(value)) => match &mut self.place {
                Place::Door(section) => {
                    section.set(meant, key, value);
                }
                _ => self.option(meant, key, value),
            },
        }
    }

    fn unknown(&self, at: Span, name: &str, known: &[(&'static str, Key)]) -> Finding {
        let (section, other, theirs): (_, _, &[_]) = if matches!(self.place, Place::Options) {
            ("in [options]", "the section of a door", &Key::DOOR)
        } else {
            ("in the section of a door", "[options]", &Key::OPTIONS)
        };
        let elsewhere = theirs.iter().any(|(word, _)| *word == name);
        let words: Vec<_> = known.iter().map(|(word, _)| *word).collect();
        let found = unknown_key(at, name, section, elsewhere.then_some(other), &words);
        match FORKS_KEYS.iter().find(|(key, _)| *key == name) {
            Some((_, ours)) => found.fix(format!(
                "this is a key of another knockd; remove it, run 'logknock convert', and write {ours} into the TOML"
            )),
            None => found,
        }
    }

    fn option(&mut self, key: Key, at: &Word<'_>, value: &Word<'_>) {
        let (at, span) = (self.span(at), self.span(value));
        match key {
            Key::PidFile => {
                let message = "has no effect: logknock writes no pidfile";
                let fix = "remove it; systemd keeps track of the process";
                self.document.add(warning(at, message).fix(fix));
            }
            Key::LogFile => {
                let log = (!value.text.is_empty()).then(|| Given {
                    key: at,
                    span,
                    value: absolute(value.text, span, self.document.report),
                });
                let earlier = mem::replace(&mut self.schema.daemon.knockd_log, log);
                self.given_again(earlier.map(|given| given.key));
            }
            Key::Interface => {
                let interface = (value.text != EVERY_INTERFACE).then(|| Given {
                    key: at,
                    span,
                    value: Interface::named(value.text),
                });
                if interface.is_some() && interface.written().is_none() {
                    self.document.add(error(span, NO_INTERFACE));
                }
                let earlier = mem::replace(&mut self.schema.defaults.interface, interface);
                self.given_again(earlier.map(|given| given.key));
            }
            _ => {}
        }
    }

    fn given_again(&mut self, earlier: Option<Span>) {
        if let Some(at) = earlier {
            self.document.add(given_again(at));
        }
    }
}

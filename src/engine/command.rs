//! Command templates: the words of a command with placeholders, and the command they become.
//!
//! In: words from the config, facts of a knock. Out: an argv and an environment. A value never becomes more than one
//! word. Only values without shell metacharacters are allowed in a shell string.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

use super::account::Account;
use super::sequence::Step;

/// The facts of a knock that its command may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// The address that knocked.
    pub src: IpAddr,
    /// Where: the destination address of the last knock.
    pub dst: IpAddr,
    /// The last knock.
    pub step: Step,
    /// The interface it arrived at, as logged.
    pub interface: Box<str>,
    /// The door's name.
    pub door: Arc<str>,
    /// How long the door stays open; `None` when nothing is held open. The door decides this, not the message about
    /// the knock.
    #[serde(skip)]
    pub hold: Option<Duration>,
}

/// A placeholder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "UPPERCASE")]
pub enum Placeholder {
    /// `%IP%`: the address that knocked.
    Ip,
    /// `%DOOR%`: the door's name.
    Door,
    /// `%PORT%`: the port of the last knock.
    Port,
    /// `%PROTO%`: its transport.
    Proto,
    /// `%FAMILY%`: `4` or `6`.
    Family,
    /// `%TIMEOUT%`: whole seconds that the door stays open, rounded up.
    Timeout,
    /// `%DST%`: the address that was knocked at.
    Dst,
    /// `%IN%`: the interface.
    In,
}

impl Placeholder {
    /// Every placeholder.
    pub const ALL: &[Self] = Self::VARIANTS;

    fn word(self) -> &'static str {
        self.into()
    }

    fn value(self, facts: &Facts) -> String {
        match self {
            Self::Ip => facts.src.to_string(),
            Self::Door => facts.door.to_string(),
            Self::Port => facts.step.port.to_string(),
            Self::Proto => facts.step.transport.as_str().to_owned(),
            Self::Family => if facts.src.is_ipv4() { "4" } else { "6" }.to_owned(),
            Self::Timeout => facts.hold.map_or(0, whole_seconds).to_string(),
            Self::Dst => facts.dst.to_string(),
            Self::In => facts.interface.to_string(),
        }
    }
}

fn whole_seconds(span: Duration) -> u64 {
    span.as_secs()
        .saturating_add(u64::from(span.subsec_nanos() > 0))
}

#[derive(Clone, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Value(Placeholder),
}

/// A command with placeholders.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    words: Box<[Box<[Piece]>]>,
    account: Option<Arc<Account>>,
}

/// Why words are not a valid command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateError {
    /// There is no word, or the first one is empty.
    Empty,
    /// `%WORD%` that is no placeholder; the word.
    Unknown(String),
    /// A placeholder other than `%IP%` in a shell string; the word.
    Unsafe(&'static str),
    /// A NUL byte, which no argument can hold.
    Nul,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the command is empty"),
            Self::Unknown(word) => {
                write!(f, "'%{word}%' is not a placeholder; valid are")?;
                Placeholder::ALL
                    .iter()
                    .try_for_each(|known| write!(f, " %{}%", known.word()))
            }
            Self::Unsafe(word) => write!(
                f,
                "'%{word}%' in a shell string could be interpreted by the shell; use \"$LOGKNOCK_{word}\" there instead"
            ),
            Self::Nul => f.write_str("a command cannot contain a NUL byte"),
        }
    }
}

impl std::error::Error for TemplateError {}

impl Template {
    /// A command from its words, the program first.
    pub fn from_words<S: AsRef<str>>(words: &[S]) -> Result<Self, TemplateError> {
        let words: Vec<_> = words
            .iter()
            .map(|word| parse_word(word.as_ref()))
            .collect::<Result<_, _>>()?;
        match words.first() {
            Some(program) if !program.is_empty() => Ok(Self::of(words.into())),
            _ => Err(TemplateError::Empty),
        }
    }

    /// `/bin/sh -c SCRIPT`. Only `%IP%` is allowed in the script: an address cannot hold anything that a shell would
    /// interpret. The rest is in the environment.
    pub fn from_shell(script: &str) -> Result<Self, TemplateError> {
        if script.trim().is_empty() {
            return Err(TemplateError::Empty);
        }
        let script = parse_word(script)?;
        for piece in &script {
            if let Piece::Value(value) = piece
                && *value != Placeholder::Ip
            {
                return Err(TemplateError::Unsafe(value.word()));
            }
        }
        Ok(Self::for_shell(script))
    }

    /// `/bin/sh -c SCRIPT` as knockd has it: `%IP%` is the address, and nothing else is replaced.
    pub fn from_knockd(script: &str) -> Result<Self, TemplateError> {
        if script.trim().is_empty() {
            return Err(TemplateError::Empty);
        }
        if script.contains('\0') {
            return Err(TemplateError::Nul);
        }
        let mut pieces = Vec::new();
        for (number, text) in script.split("%IP%").enumerate() {
            if number > 0 {
                pieces.push(Piece::Value(Placeholder::Ip));
            }
            if !text.is_empty() {
                pieces.push(Piece::Text(text.into()));
            }
        }
        Ok(Self::for_shell(pieces.into()))
    }

    fn for_shell(script: Box<[Piece]>) -> Self {
        let text = |text: &str| Box::from([Piece::Text(text.into())]);
        Self::of(Box::from([text("/bin/sh"), text("-c"), script]))
    }

    fn of(words: Box<[Box<[Piece]>]>) -> Self {
        Self {
            words,
            account: None,
        }
    }

    /// The same, run as `account`; as the daemon itself without one.
    #[must_use]
    pub fn run_as(self, account: Option<Arc<Account>>) -> Self {
        Self { account, ..self }
    }

    /// The user that runs it, if not the daemon's.
    pub fn account(&self) -> Option<&Account> {
        self.account.as_deref()
    }

    /// Its words, where they are the same for every knock.
    pub fn fixed_words(&self) -> Option<Vec<String>> {
        let text = |piece: &Piece| match piece {
            Piece::Text(text) => Some(text.to_string()),
            Piece::Value(_) => None,
        };
        let words = self.words.iter();
        words
            .map(|pieces| pieces.iter().map(text).collect())
            .collect()
    }

    /// The command as a log may show it: words with blanks between them, a shell's script alone. No value
    /// but the address is in it.
    pub fn shown_to(&self, src: IpAddr) -> String {
        let shown = |value| match value {
            Placeholder::Ip => src.to_string(),
            other => format!("%{}%", other.word()),
        };
        let words = self.words.iter().map(|pieces| text(pieces, shown));
        let words: Vec<_> = words.collect();
        match words.as_slice() {
            [shell, option, script] if shell == "/bin/sh" && option == "-c" => script.clone(),
            _ => words.join(" "),
        }
    }

    /// The command for one knock.
    pub fn expand(&self, facts: &Facts) -> Invocation {
        let words = self.words.iter();
        let words = words.map(|pieces| text(pieces, |value| value.value(facts)));
        Invocation {
            account: self.account.clone(),
            argv: words.collect(),
            env: Placeholder::ALL
                .iter()
                .map(|it| (variable(*it), it.value(facts)))
                .collect(),
        }
    }

    /// Whether `invocation` is this command for some knock: its variables tell for which.
    pub fn has_made(&self, invocation: &Invocation) -> bool {
        let value = |value: Placeholder| {
            let name = variable(value);
            let mut env = invocation.env.iter();
            let found = env.find(|(other, _)| *other == name);
            found.map_or(String::new(), |(_, value)| value.clone())
        };
        let words = self.words.iter().map(|pieces| text(pieces, value));
        words.eq(invocation.argv.iter().cloned())
    }
}

/// The variable with the value of a placeholder.
fn variable(placeholder: Placeholder) -> String {
    format!("LOGKNOCK_{}", placeholder.word())
}

impl fmt::Debug for Template {
    /// The program only: arguments may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.words.first().map(AsRef::as_ref) {
            Some([Piece::Text(program)]) => write!(f, "Template({program} …)"),
            _ => f.write_str("Template(…)"),
        }
    }
}

/// A word with what its placeholders stand for.
fn text(pieces: &[Piece], value: impl Fn(Placeholder) -> String) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Text(text) => text.to_string(),
        Piece::Value(placeholder) => value(*placeholder),
    };
    pieces.iter().map(piece).collect()
}

/// A word with its placeholders found. `%` is literal unless two of them enclose upper-case letters;
/// a single letter is left alone, so that `date +%H%M` needs no escape.
fn parse_word(word: &str) -> Result<Box<[Piece]>, TemplateError> {
    if word.contains('\0') {
        return Err(TemplateError::Nul);
    }
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = word;
    while let Some((before, after)) = rest.split_once('%') {
        text.push_str(before);
        let name = after
            .split_once('%')
            .map(|(name, _)| name)
            .filter(|name| name.len() >= 2 && name.bytes().all(|byte| byte.is_ascii_uppercase()));
        let Some(name) = name else {
            text.push('%');
            rest = after;
            continue;
        };
        let placeholder = name
            .parse()
            .map_err(|_| TemplateError::Unknown(name.to_owned()))?;
        if !text.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut text).into()));
        }
        pieces.push(Piece::Value(placeholder));
        rest = after.get(name.len() + 1..).unwrap_or("");
    }
    text.push_str(rest);
    if !text.is_empty() {
        pieces.push(Piece::Text(text.into()));
    }
    Ok(pieces.into())
}

/// A command ready to run.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Invocation {
    /// Program and arguments; at least one word.
    pub argv: Vec<String>,
    /// The `LOGKNOCK_…` variables, one per placeholder.
    pub env: Vec<(String, String)>,
    /// The user that runs it; the daemon's own if there is none.
    pub account: Option<Arc<Account>>,
}

impl fmt::Debug for Invocation {
    /// The program only: arguments and `LOGKNOCK_PORT` may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Invocation({} …)",
            self.argv.first().map_or("", String::as_str)
        )
    }
}

#[cfg(test)]
#[path = "command_test.rs"]
mod tests;

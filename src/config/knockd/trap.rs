//! What knockd does with a knockd.conf without a word, and what it refuses in words of its own.
//!
//! In: what was found. Out: the sentence, and the fix. What is an error here keeps knockd from
//! starting too, but for what no door could be made of. No port of a sequence is in any of it.

use std::fmt;

use crate::config::diagnostic::Severity;

/// Something that a reader of knockd.conf would not expect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) enum Trap {
    // ── knockd refuses ──
    /// More than knockd reads at once, or a NUL byte.
    Line,
    /// `[]`.
    SectionName,
    /// A directive above the first section.
    NoSection,
    /// Neither a section nor a directive.
    Syntax,
    /// A key without `=`.
    NoValue,
    /// `UseSyslog` with a value.
    UseSyslogValue,
    /// `tcpflags = syn, ack`.
    FlagBlank,
    /// A door that cannot be knocked at.
    NoSequence,

    // ── logknock refuses ──
    /// Bytes that are no text where a text is needed.
    NotText,
    /// A negative `cmd_timeout`.
    NeverCloses,
    /// To be converted, and is TOML.
    IsToml,
    /// To be converted, with `%WORD%` in a command.
    PlaceholderInToml,

    // ── knockd says nothing ──
    /// `[Options]` and the like.
    OptionsSpelling,
    /// The same key again.
    Twice,
    /// The same flag again.
    FlagTwice,
    /// `tcpflags` again: both count.
    FlagsAddUp,
    /// Something behind the number of a step, counted from 1.
    StepTail { number: usize },
    /// A range of ports.
    StepRange { number: usize },
    /// A step that is taken as port 0.
    StepZero { number: usize },
    /// A step with a minus.
    StepNegative { number: usize },
    /// Something behind the number of a timeout.
    TimeoutTail { seconds: i32 },
    /// A `seq_timeout` of 0 s.
    NoTime,
    /// A `cmd_timeout` of 0 s.
    ClosesAtOnce,
    /// No `tcpflags`.
    NoFlags,
    /// A `#` in a command.
    CommentInCommand,
    /// `%WORD%` in a command.
    Placeholder,
    /// No command at all.
    NoCommand,
    /// A stop command without a start command.
    StopAlone,
    /// A name that a door cannot have here.
    Renamed { name: String },
    /// `Sequence` beside `One_Time_Sequences`.
    SequenceBesideList,
    /// `PidFile`.
    PidFile,
}

impl Trap {
    /// Whether the config can be used all the same.
    pub(in crate::config) fn severity(&self) -> Severity {
        match self {
            Self::Line
            | Self::SectionName
            | Self::NoSection
            | Self::Syntax
            | Self::NoValue
            | Self::UseSyslogValue
            | Self::FlagBlank
            | Self::NoSequence
            | Self::NotText
            | Self::NeverCloses
            | Self::IsToml
            | Self::PlaceholderInToml => Severity::Error,
            _ => Severity::Warning,
        }
    }

    /// What to do.
    pub(in crate::config) fn fix(&self) -> &'static str {
        match self {
            Self::Line => "write a line of at most 4095 bytes without a NUL byte",
            Self::SectionName => "write a name between the brackets",
            Self::OptionsSpelling => "write [options]",
            Self::NoSection => {
                "put [options] or the name of a door in brackets above it, alone on its line; a comment begins with #"
            }
            Self::Syntax | Self::NoValue => "write key = value",
            Self::UseSyslogValue => "write UseSyslog alone",
            Self::FlagBlank => "take the blanks out: tcpflags = syn,!ack",
            Self::NoSequence => "add sequence = PORT,PORT:udp,PORT",
            Self::NotText => "write it in UTF-8",
            Self::NeverCloses => "write the seconds that it stays open",
            Self::IsToml => "use it as it is",
            Self::PlaceholderInToml => "put the command into a script of its own",
            Self::Twice | Self::FlagTwice | Self::SequenceBesideList => "take one of them out",
            Self::FlagsAddUp => "write all flags in one line: tcpflags = syn,!ack",
            Self::StepTail { .. } => "write PORT or PORT:udp; a comment needs a line of its own",
            Self::StepRange { .. } => "write each port",
            Self::StepZero { .. } => "write a port from 1 to 65535, and no comma at the end",
            Self::StepNegative { .. } => "write a port from 1 to 65535",
            Self::TimeoutTail { .. } => {
                "write whole seconds and nothing else; a comment needs a line of its own"
            }
            Self::NoTime => "write the seconds that a knock may take: seq_timeout = 15",
            Self::ClosesAtOnce => "write the seconds that it stays open: cmd_timeout = 10",
            Self::NoFlags => "add tcpflags = syn",
            Self::CommentInCommand => "put the comment into a line of its own",
            Self::Placeholder => "take the percent signs away if this was meant to be replaced",
            Self::NoCommand => "add a start_command",
            Self::StopAlone => "add a start_command, or take it out",
            Self::Renamed { .. } => "name each door once, with A-Z a-z 0-9 . _ - only",
            Self::PidFile => "take it out; systemd knows the process",
        }
    }
}

impl fmt::Display for Trap {
    /// What is wrong.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Line => "knockd does not read this line as one",
            Self::SectionName => "a section without a name",
            Self::OptionsSpelling => {
                "knockd takes this for a door: its section [options] has no capitals and no blanks"
            }
            Self::NoSection => "this stands in no section",
            Self::Syntax => "neither a section nor 'key = value'",
            Self::NoValue => "this key needs a value",
            Self::UseSyslogValue => "UseSyslog has no value: knockd does not start with one",
            Self::FlagBlank => "knockd does not know a flag with a blank",
            Self::NoSequence => "this door has no sequence",
            Self::NotText => "not UTF-8",
            Self::NeverCloses => "less than nothing: knockd would never close the door",
            Self::IsToml => "this is TOML already, and no knockd.conf",
            Self::PlaceholderInToml => {
                "a word between percent signs that knockd leaves alone would be a placeholder in TOML"
            }
            Self::Twice => "given again below: knockd takes the last one",
            Self::FlagTwice => "this flag is given twice: knockd takes the last one",
            Self::FlagsAddUp => "given again below: knockd adds the flags of both",
            Self::StepTail { number } => {
                return write!(f, "step {number}: knockd does not read what is behind the port");
            }
            Self::StepRange { number } => {
                return write!(
                    f,
                    "step {number}: knockd knows no ranges and takes the first port alone"
                );
            }
            Self::StepZero { number } => {
                return write!(
                    f,
                    "step {number} is port 0 to knockd, which nobody can knock at: the door never opens and is left out"
                );
            }
            Self::StepNegative { number } => {
                return write!(
                    f,
                    "step {number} is negative: knockd counts back from 65536 and takes that port"
                );
            }
            Self::TimeoutTail { seconds } => {
                return write!(f, "knockd takes this as {seconds} s");
            }
            Self::NoTime => {
                "0 s to knockd: an attempt ends before its second knock, so the door never opens and is left out"
            }
            Self::ClosesAtOnce => "0 s to knockd: the door closes as soon as it is open",
            Self::NoFlags => {
                "no tcpflags: every TCP packet is a knock, also those that follow on a connection"
            }
            Self::CommentInCommand => {
                "knockd keeps what looks like a comment in the command, where it is the shell's"
            }
            Self::Placeholder => "knockd replaces %IP% and nothing else: the rest stays as it is",
            Self::NoCommand => "has no command: a knock is logged and does nothing",
            Self::StopAlone => "knockd runs no stop command where it has run no start command",
            Self::Renamed { name } => return write!(f, "this door is called '{name}' here"),
            Self::SequenceBesideList => {
                "has no effect: the one-time sequences stand in place of it"
            }
            Self::PidFile => "has no effect: logknock writes no pidfile",
        })
    }
}

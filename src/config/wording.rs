//! The words for everything that can be wrong with a config.
//!
//! In: a [`Problem`]. Out: one sentence that says what is wrong, and what to do about it where the
//! sentence does not say that already. All of the config's messages are in this file, once; those of
//! values that can be written elsewhere too are beside these values.

use std::borrow::Cow;
use std::fmt;

use super::duration::{DurationError, MAX_DAYS};
use super::prefix::PrefixError;
use super::problem::{DoorFlaw, Problem, StepFlaw, TotpFlaw, UnknownKey, UserFlaw};
use super::text::MAX_BYTES;

impl fmt::Display for Problem {
    /// What is wrong.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "there is no such file",
            Self::Unreadable(error) => return write!(f, "cannot be read: {error}"),
            Self::NotAFile => "not a regular file",
            Self::TooLarge => return write!(f, "larger than {} KiB", MAX_BYTES / 1024),
            Self::NotUtf8 => "not UTF-8, as TOML must be",
            Self::Owner { uid, .. } => {
                return write!(f, "belongs to uid {uid}, who could open every door with it");
            }
            Self::WritableByOthers { .. } => {
                "can be written by others than its owner, who could open every door with it"
            }
            Self::ReadableByOthers { .. } => {
                "can be read by everybody, and a sequence is a password"
            }
            Self::NoDoor => "there is no door",
            Self::Syntax(message) => message,
            Self::UnknownKey(key) => return key.fmt(f),
            Self::NotATable { section } => return write!(f, "'{section}' must be a table"),
            Self::DoorWithoutName => "a door needs a name",
            Self::DoorName => "a door's name has 1 to 64 characters of A-Z a-z 0-9 . _ -",
            Self::DuplicateDoor { door, path } => {
                return write!(f, "door '{door}' is already in '{path}'");
            }
            Self::SequenceInDefaults => {
                "a sequence is the password of one door and cannot be a default"
            }
            Self::WrongType { expected, found } => {
                return write!(f, "must be {expected}, but is {found}");
            }
            Self::Duration(error) => return error.fmt(f),
            Self::DurationRange { least, most } => {
                return write!(
                    f,
                    "must be from {} to {} s",
                    least.as_secs(),
                    most.as_secs()
                );
            }
            Self::Range { least, most } => return write!(f, "must be from {least} to {most}"),
            Self::Choice { words, .. } => return write!(f, "must be one of {}", words.join(", ")),
            Self::TooMany { what, most } => return write!(f, "more than {most} {what}"),
            Self::Source(error) => return error.fmt(f),
            Self::RelativeSource => "the path is not absolute",
            Self::Path => "not the absolute path of a file",
            Self::Group => "no group can have this name",
            Self::User(flaw) => return flaw.fmt(f),
            Self::RepeatedSource => "this source is listed twice",
            Self::NoUdpPeers => {
                "whoever reaches the UDP source over the network could send lines to it"
            }
            Self::Prefix(error) => return error.fmt(f),
            Self::Format(error) => return error.fmt(f),
            Self::FormatTable => "the format needs exactly one of 'regex' and 'json'",
            Self::FormatKey(_) => "unknown key in [log.format]",
            Self::NoMessageKey => "the JSON format has no 'message'",
            Self::NoStep => "the sequence has no step",
            Self::Step { number, flaw } => return write!(f, "step {number} {flaw}"),
            Self::NoCount => "there is nothing to count",
            Self::Count { number } => return write!(f, "group {number} is no count from 1 to 9"),
            Self::LockoutKeys => "a lockout has 'fails', 'within' and 'for', and no other key",
            Self::Totp(flaw) => return flaw.fmt(f),
            Self::Named => "the file that is named here cannot be used",
            Self::ListLine { number } => {
                return write!(f, "line {number} is no sequence and is passed over");
            }
            Self::ListTwice { number } => {
                return write!(
                    f,
                    "line {number} says what an earlier line says, and is used up with it"
                );
            }
            Self::ListEmpty => "no sequence is left in it: the door never opens",
            Self::Opens {
                flaw: StepFlaw::Protocol,
            } => "this has a protocol whose ports cannot be opened",
            Self::Opens { flaw } => return write!(f, "this {flaw}"),
            Self::Contradiction { flag } => {
                return write!(
                    f,
                    "no packet has '{flag}' and has it not: the door could never open"
                );
            }
            Self::Interface => "no interface can have this name",
            Self::Target => "not an address",
            Self::TargetNever => "no knock is sent to this address: the door could never open",
            Self::Network => "not a network",
            Self::HostBits { network } => {
                return write!(f, "not a network's own address; taken as '{network}'");
            }
            Self::FirewallWithoutBackend => "this needs a 'backend' to go with it",
            Self::AllowNobody => "an empty 'allow' reads like nobody, but would mean everybody",
            Self::Quotes => "a quote in the command is not closed",
            Self::ShellArray => "with 'shell = true' a command is one string for /bin/sh -c",
            Self::Command(error) => return error.fmt(f),
            Self::Knockd(trap) => return trap.fmt(f),
            Self::Door { door, flaw } => return write!(f, "door '{door}' {flaw}"),
        })
    }
}

impl fmt::Display for UserFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("no user can have this name"),
            Self::Missing(name) => write!(f, "there is no user '{name}' in /etc/passwd"),
            Self::Other(name) => {
                write!(f, "logknock has no right to run a command as '{name}'")
            }
        }
    }
}

impl fmt::Display for StepFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => "is no port",
            Self::Port => "is out of range; ports are 1 to 65535",
            Self::Protocol => "has a protocol that cannot be knocked with",
        })
    }
}

impl fmt::Display for TotpFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "'totp' has no such key",
            Self::OneSecret => "'totp' needs one secret, either in 'secret' or in 'secret_file'",
            Self::Base32 => "the secret is not base32",
            Self::Short => {
                "the secret has less than 128 bits and could be tried through (RFC 4226)"
            }
            Self::Ports => "not a range of ports",
            Self::Proto => "a protocol that cannot be knocked with",
            Self::Guessable => "there are fewer than a million sequences: one can be guessed",
        })
    }
}

impl fmt::Display for DoorFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GapBeyondWindow => {
                "could never open: with 'min_gap' between them its steps take longer than \
                 'seq_timeout'"
            }
            Self::GapBeyondKnockTimeout => {
                "could never open: 'min_gap' is longer than 'knock_timeout'"
            }
            Self::NobodyAllowed => {
                "could never open: 'allow', 'deny' and 'target' leave no address that may knock"
            }
            Self::NoSequence => {
                "has nothing to knock: no 'sequence', 'counts', 'totp' or 'one_time_sequences'"
            },
            Self::TwoRules => {
                "can be knocked at in one way: by 'sequence', 'counts', 'totp' or 'one_time_sequences'"
            },
            Self::NoPort => "has 'counts', but no 'port' to count at",
            Self::OtherRule { key } => {
                return write!(f, "does not use '{key}': it is for another way of knocking");
            }
            Self::NoStartCommand => "has no 'opens' and no 'start_command': it would do nothing",
            Self::OpensAndCommand => "has 'opens' and commands of its own: a door opens in one way",
            Self::OpensAndUser => {
                "has 'opens' and a 'user', who could not change the firewall"
            }
            Self::NoBackend => "has 'opens', but no [firewall] says where",
            Self::OnceWithoutOpens => "has 'once', but no 'opens' that says which connection is meant",
            Self::HoldBeyondBackend { most } => {
                return write!(
                    f,
                    "is to stay open for longer than ipset can have it, {most} s"
                );
            }
            Self::PublicKnock => "is knocked at a port that [firewall] lists as 'public', which is not logged",
            Self::PublicOpens => "opens a port that [firewall] lists as 'public', which is open without it",
            Self::SamePort { other } => {
                return write!(
                    f,
                    "opens a port that door '{other}' opens too: closing one closes both"
                );
            }
            Self::StopWithoutStart { family } => {
                return write!(f, "has a stop command for {family}, but none that opens it");
            }
            Self::StaysOpen { family } => {
                return write!(
                    f,
                    "is not closed again for {family}, though it is otherwise"
                );
            }
            Self::NoEffect { key } => {
                return write!(
                    f,
                    "has no stop command, so nothing is held open and '{key}' has no effect"
                );
            }
            Self::OneStep => "has one step: every port scan that comes by opens it",
            Self::InOrder => "has neighbouring ports in order: a scan that goes through them opens it",
            Self::SameSequence { other } => {
                return write!(f, "has the sequence of door '{other}': both open");
            }
        })
    }
}

impl fmt::Display for UnknownKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "unknown key '{name}' {}", self.section),
            None => write!(f, "unknown key {}", self.section),
        }
    }
}

/// The forms of a duration.
const DURATION_FORMS: &str = "write seconds (15, 0.5), or numbers with the units d, h, m, s, ms \
                              (\"15s\", \"1m30s\", \"500ms\")";

impl Problem {
    /// What to do.
    pub(super) fn fix(&self) -> Option<Cow<'static, str>> {
        Some(Cow::Borrowed(match self {
            Self::Owner { path, .. } => return Some(format!("chown root {}", quoted(path)).into()),
            Self::WritableByOthers { path } => {
                return Some(format!("chmod go-w {}", quoted(path)).into());
            }
            Self::ReadableByOthers { path } => {
                return Some(format!("chmod 0600 {}", quoted(path)).into());
            }
            Self::NoDoor => "add a [door.NAME] with 'sequence' and 'start_command'",
            Self::UnknownKey(key) => return Some(key.fix().into()),
            Self::NotATable { section } => {
                return Some(format!("write [{section}] above its keys").into());
            }
            Self::DoorWithoutName => "write [door.NAME] above its keys, as in [door.ssh]",
            Self::DuplicateDoor { .. } => "rename one of them, or take one out",
            Self::SequenceInDefaults => "move it to a [door.NAME]",
            Self::Duration(DurationError::Form)
            | Self::WrongType {
                expected: "a duration",
                ..
            } => DURATION_FORMS,
            Self::Duration(DurationError::TooLong) => {
                return Some(format!("write at most \"{MAX_DAYS}d\"").into());
            }
            Self::Choice { nearest, .. } => {
                return nearest.map(|word| format!("did you mean '{word}'?").into());
            }
            Self::RelativeSource | Self::Path => "write the whole path, from / on",
            Self::User(UserFlaw::Missing(name)) => {
                return Some(format!("useradd --system --shell /usr/sbin/nologin {name}").into());
            }
            Self::User(UserFlaw::Other(_)) => {
                "run logknock as root; in a systemd unit with CAP_SETUID CAP_SETGID CAP_KILL in CapabilityBoundingSet"
            }
            Self::NoUdpPeers => {
                "add udp_peers = [\"192.0.2.1\"] with the hosts that may, or listen at 127.0.0.1"
            }
            Self::Prefix(PrefixError::Empty) => {
                "take the key out, or write the prefix of the LOG rule"
            }
            Self::Format(error) => return error.fix().map(Cow::Owned),
            Self::FormatTable => {
                "write regex = '^…$' with the groups src, dpt and proto, or json = { message = \"KEY\", program = \"KEY\" }"
            }
            Self::FormatKey(known) => return Some(format!("valid are {known}").into()),
            Self::NoMessageKey => "add message = \"KEY\" with the key of the message",
            Self::NoStep => "write one as [PORT, \"PORT:udp\", PORT]",
            Self::Step {
                flaw: StepFlaw::Form,
                ..
            }
            | Self::Opens {
                flaw: StepFlaw::Form,
            } => "write PORT, \"PORT:tcp\" or \"PORT:udp\"",
            Self::Step {
                flaw: StepFlaw::Protocol,
                ..
            }
            | Self::Opens {
                flaw: StepFlaw::Protocol,
            }
            | Self::Totp(TotpFlaw::Proto) => "there are tcp and udp",
            Self::NoCount | Self::Count { .. } => {
                "write counts = [1, 2, 3, 4]: the hits in each window"
            }
            Self::LockoutKeys => "write lockout = { fails = 5, within = \"10m\", for = \"1h\" }",
            Self::Totp(TotpFlaw::Key) => {
                "the keys are secret, secret_file, knocks, ports, step, skew, proto"
            }
            Self::Totp(TotpFlaw::OneSecret | TotpFlaw::Short) => {
                "make one with 'logknock totp --new FILE' and write secret_file = \"FILE\""
            }
            Self::Totp(TotpFlaw::Base32) => "write the letters A to Z and the digits 2 to 7",
            Self::Totp(TotpFlaw::Ports) => "write \"LOW-HIGH\", as in \"20000-29999\"",
            Self::Totp(TotpFlaw::Guessable) => "raise 'knocks' or widen 'ports'",
            Self::ListEmpty => "write new sequences into it, one a line",
            Self::Target => "write one IPv4 or IPv6 address",
            Self::Network => "write \"192.0.2.0/24\", \"2001:db8::/32\" or an address",
            Self::HostBits { .. } => "write it so, or leave out /… for the one address",
            Self::FirewallWithoutBackend => "add backend = \"nft\", \"ipset\" or \"iptables\"",
            Self::AllowNobody => {
                "take the key out, or write [\"0.0.0.0/0\", \"::/0\"] for everybody"
            }
            Self::Quotes => "close it, or write the command as an array of words",
            Self::ShellArray => "write it as one string, or set 'shell = false'",
            Self::Knockd(trap) => trap.fix(),
            Self::Door { flaw, .. } => return flaw.fix(),
            _ => return None,
        }))
    }
}

impl DoorFlaw {
    fn fix(&self) -> Option<Cow<'static, str>> {
        Some(Cow::Borrowed(match self {
            Self::GapBeyondWindow => "lower 'min_gap' or raise 'seq_timeout'",
            Self::GapBeyondKnockTimeout => "lower 'min_gap' or raise 'knock_timeout'",
            Self::NoSequence => "add sequence = [PORT, \"PORT:udp\", PORT]",
            Self::TwoRules => "make two doors of it",
            Self::NoPort => "add port = PORT or \"PORT:udp\"",
            Self::NoStartCommand => {
                "add opens = [\"22:tcp\"], or start_command = [\"/path/of/program\", \"%IP%\"]"
            }
            Self::OpensAndCommand | Self::OpensAndUser => "take one of them out",
            Self::NoBackend => "add [firewall] with backend = \"nft\", \"ipset\" or \"iptables\"",
            Self::OnceWithoutOpens => {
                "add opens = [\"22:tcp\"] in place of commands, or take 'once' out"
            }
            Self::HoldBeyondBackend { .. } => "lower 'cmd_timeout'",
            Self::PublicKnock => "take the port out of 'public', or knock at another one",
            Self::PublicOpens => "take the port out of 'public' or out of 'opens'",
            Self::SamePort { .. } => "give the port to one of them",
            Self::StopWithoutStart { family } => {
                return Some(format!("add a start command for {family}, or take it out").into());
            }
            Self::StaysOpen { family } => {
                return Some(format!("add a stop command for {family}").into());
            }
            Self::OneStep => "add more steps",
            Self::InOrder => "take ports in no order, as 'logknock init' does",
            Self::SameSequence { .. } => "give each door a sequence of its own",
            Self::NobodyAllowed | Self::NoEffect { .. } | Self::OtherRule { .. } => return None,
        }))
    }
}

impl UnknownKey {
    fn fix(&self) -> String {
        match (self.nearest, self.elsewhere) {
            (_, Some(section)) => format!("it belongs in {section}"),
            (Some(name), None) => format!("did you mean '{name}'?"),
            (None, None) => format!("valid are {}", self.valid.join(", ")),
        }
    }
}

/// `path` as one word of a shell's command line.
fn quoted(path: &str) -> Cow<'_, str> {
    shlex::try_quote(path).unwrap_or(Cow::Borrowed(path))
}

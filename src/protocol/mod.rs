//! What the running daemon is asked, and what it answers.
//!
//! In and out: one request and one reply on a UNIX stream socket, each a frame (`frame`); neither side
//! waits longer than it wants to. No port of a sequence, no prefix and no command is ever in one of them.
#![expect(
    clippy::disallowed_types,
    reason = "the client's half of the control socket"
)]

mod frame;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::confine::Confined;
pub use crate::engine::grant::{GivenUp, Phase};

pub use self::frame::{FrameError, Timed, decode_frame, encode_frame, read_frame, write_frame};

/// The version spoken here. It changes when the other side would misunderstand.
pub const VERSION: u32 = 1;
/// Longest request, in bytes of JSON.
pub const MAX_REQUEST: usize = 64 * 1024;
/// Longest reply, in bytes of JSON.
pub const MAX_REPLY: usize = 4 * 1024 * 1024;
/// How long a reply may take: `open` waits for its command, which may take an hour and wait for others.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(2 * 3600);
/// Most grants in one [`Status`]: these fit into a reply.
pub const MAX_GRANTS: usize = 8 * 1024;

/// A request to the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// How are you?
    Status,
    /// Open a door as if it had been knocked at.
    Open {
        /// The door's name.
        door: String,
        /// For whom.
        src: IpAddr,
    },
    /// Close what is open.
    Close(Whose),
    /// Read the configuration again.
    Reload,
    /// Open again what is open: the rules have been loaded.
    PutBack,
    /// What do you remember of this address?
    Explain(IpAddr),
}

/// Whose doors are closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whose {
    /// Everybody's.
    Everybody,
    /// Those of one address.
    Of(IpAddr),
}

/// A reply of the daemon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// To [`Request::Explain`].
    Story(Story),
    /// It is being done; how many doors it concerns.
    Done {
        /// Doors, or grants.
        count: usize,
    },
    /// It is not done, and why.
    Failed {
        /// For people; may have several lines.
        message: String,
    },
    /// This peer may not ask.
    Denied,
    /// Too many others are asking.
    Busy,
}

/// The state of the daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// Since it started.
    pub uptime_seconds: u64,
    /// The doors of the configuration.
    pub doors: Vec<DoorStatus>,
    /// Where lines come from.
    pub sources: Vec<SourceStatus>,
    /// What is open or being closed, the oldest first; at most [`MAX_GRANTS`].
    pub grants: Vec<GrantStatus>,
    /// How many are open.
    pub grants_open: usize,
    /// How many are being closed.
    pub grants_closing: usize,
    /// Closes that were given up last: what they were to close may stand open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given_up: Vec<GivenUp>,
    /// Doors at which too many codes failed, and for how many seconds more codes are refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub codes_refused: BTreeMap<String, u64>,
    /// How many addresses are remembered.
    pub addresses: usize,
    /// Packets that counted as hits.
    pub hits: u64,
    /// Packets and lines that did not, by reason.
    pub rejected: BTreeMap<String, u64>,
    /// What happened at the doors, by kind.
    pub events: BTreeMap<String, u64>,
    /// Attempts that ended before their last step, by reason.
    pub resets: BTreeMap<String, u64>,
    /// Commands that failed, by kind: `open`, `close`, `run`.
    pub failed_commands: BTreeMap<String, u64>,
    /// How the fleet is, where this gateway is in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<FleetStatus>,
    /// The last events, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recent: Vec<Happening>,
    /// What the process that reads the log has given up.
    #[serde(default)]
    pub confined: Option<Confined>,
    /// How often it has ended by itself and been started again.
    #[serde(default)]
    pub restarts: u32,
    /// The firewall's rules, where some belong to the doors and were looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firewall: Option<FirewallStatus>,
    /// The wall clock's jump, where it jumped within the last hour and not back again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jump: Option<JumpStatus>,
    /// Why the process that reads the log did not answer: what only it knows is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detector_trouble: Option<String>,
    /// What keeps grants from being put on disk, and doors from opening.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_trouble: Option<String>,
}

/// A jump of the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JumpStatus {
    /// By how much it shows more than it would without; negative where it shows less.
    pub ahead_seconds: i64,
    /// Since it was seen.
    pub seconds_ago: u64,
}

/// The firewall's rules, as they were seen last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirewallStatus {
    /// What the doors need and the rules lack, the worst first.
    pub faults: Vec<String>,
    /// Why they are not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
    /// Whether they were incomplete, and were loaded again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub healed: bool,
    /// Why that did not help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_healed: Option<String>,
    /// How long ago that was.
    #[serde(default)]
    pub looked_seconds: u64,
}

impl FirewallStatus {
    /// Nothing is missing.
    pub const fn is_well(&self) -> bool {
        self.unknown.is_none() && self.faults.is_empty()
    }

    /// The rules cannot be read.
    pub fn unknown(why: &str) -> Self {
        Self {
            unknown: Some(why.to_owned()),
            ..Self::default()
        }
    }
}

impl fmt::Display for FirewallStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.unknown, self.faults.as_slice()) {
            (Some(why), _) => write!(f, "unknown: {why}"),
            (None, []) => f.write_str("logs and guards as configured"),
            (None, faults) => f.write_str(&faults.join("; ")),
        }
    }
}

/// The fleet as this gateway sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetStatus {
    /// Whether `logknock-fleet` runs.
    pub agent: bool,
    /// Whether it reaches the bus.
    pub connected: bool,
    /// The other gateways that may open doors here; under no name, what came from none of them.
    pub peers: Vec<PeerStatus>,
    /// Grants that the bus has not stored yet.
    pub unpublished: usize,
    /// Codes that were used here first.
    pub claims_won: u64,
    /// Codes that another gateway had used.
    pub claims_lost: u64,
    /// Codes that were decided without asking.
    pub claims_without_bus: u64,
}

/// Another gateway of the fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Its name.
    pub name: String,
    /// Grants of it that counted.
    pub grants: u64,
    /// Since the last one was opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_grant_seconds: Option<u64>,
    /// How much later that came, as far as the clocks agree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_ms: Option<i64>,
    /// Those that did not count, by reason.
    #[serde(default)]
    pub refused: BTreeMap<String, u64>,
}

/// A grant of another gateway that would have opened a door and did not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetRefusal {
    /// Since then.
    pub seconds_ago: u64,
    /// The gateway that it names.
    pub gateway: String,
    /// The door.
    pub door: String,
    /// Why it did not count.
    pub reason: String,
}

/// A door of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoorStatus {
    /// Its name.
    pub name: String,
    /// How many knocks it takes.
    pub steps: usize,
    /// Addresses that are part-way through them.
    pub attempts: usize,
}

/// A source of lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// As the configuration names it.
    pub source: String,
    /// Whether the transport vouches for the kernel (`kernel`) or only the text does (`claimed`).
    pub trust: String,
    /// `starting`, `following`, `degraded` or `ended`.
    pub health: String,
    /// Why it is degraded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// The only doors that it may knock at, where the configuration lists them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doors: Option<Vec<String>>,
    /// Lines that came.
    pub lines: u64,
    /// How often inotify had more events than room for them; everything was checked again.
    #[serde(default)]
    pub overflows: u64,
    /// Since the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_line_seconds: Option<u64>,
    /// How much later than its stamp the last packet line came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_ms: Option<u64>,
    /// How often lines are known to be missing: knocks may have been among them.
    #[serde(default)]
    pub gaps: u64,
    /// How many lines are missing, as far as that is known.
    #[serde(default)]
    pub lost_lines: u64,
}

/// A door that is open for an address, or is being closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantStatus {
    /// The door.
    pub door: String,
    /// The address.
    pub src: IpAddr,
    /// The gateway that opened it, if it was another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// How far it is.
    pub phase: Phase,
    /// Until it is closed, or until the next try at that.
    pub left_seconds: u64,
    /// How often its close command failed.
    pub failed: u32,
    /// The last line that its failed close command wrote.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub words: String,
}

/// What is remembered of an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Story {
    /// The address.
    pub src: IpAddr,
    /// The last things that happened, the oldest first.
    pub happenings: Vec<Happening>,
    /// What is open for it.
    pub grants: Vec<GrantStatus>,
    /// What other gateways would have opened for it, and was refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<FleetRefusal>,
}

/// Something that happened to an address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happening {
    /// The address, where it is not that of the story.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub src: Option<IpAddr>,
    /// When, in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// When, in microseconds on a clock of the story's own.
    #[serde(default)]
    pub at_us: i64,
    /// Of several in a row, when the first was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_us: Option<i64>,
    /// The word of an event, or `hit` (a packet that counted and moved nothing), `rejected` (one that did not count), or
    /// `lost` (lines are missing from a source).
    pub event: String,
    /// The door.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub door: Option<String>,
    /// Steps done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<usize>,
    /// Steps there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<usize>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The port of the packet, where no door has it among its knocks: `8080/tcp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// What the packet is to each door that has its port.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seen: Vec<Seen>,
    /// How much later than its stamp a stale line came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_ms: Option<u64>,
    /// How many lines are lost, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<u64>,
    /// The source or file of the line that caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Its number in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// How often in a row.
    pub times: u64,
}

/// How a door with this port among its knocks takes a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The door.
    pub door: String,
    /// The knock that the port is of, from 1; absent where the ports change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<usize>,
    /// Knocks there are.
    pub of: usize,
    /// Why the door does not count it, whatever was knocked before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// For how much longer it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_seconds: Option<u64>,
}

/// Why there is no reply.
#[derive(Debug)]
pub enum AskError {
    /// There is no listener.
    NoDaemon(io::Error),
    /// The socket may not be used by us.
    Denied,
    /// Somebody listens, and no reply came.
    NoReply(FrameError),
}

/// Asks the daemon that listens at `path`. The reply is safe to print on a terminal, although it comes from a process
/// that reads text of strangers.
pub fn ask(path: &Path, request: &Request, within: Duration) -> Result<Reply, AskError> {
    let stream = UnixStream::connect(path).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => AskError::Denied,
        _ => AskError::NoDaemon(error),
    })?;
    let mut timed = Timed::new(&stream, within);
    // A daemon that refuses us says so and hangs up, perhaps before we have sent anything.
    let asked = write_frame(&mut timed, request, MAX_REQUEST);
    let answered = read_frame(&mut timed, MAX_REPLY).map(tame);
    let answered =
        answered.and_then(|reply| serde_json::from_value(reply).map_err(|_| FrameError::Malformed));
    match (answered, asked) {
        (Ok(Reply::Denied), _) => Err(AskError::Denied),
        (Ok(reply), _) => Ok(reply),
        (Err(_), Err(error)) | (Err(error), Ok(())) => Err(AskError::NoReply(error)),
    }
}

/// Replaces each control character, except the end of a line, by a sign.
fn tame(value: Value) -> Value {
    let text = |text: String| {
        text.replace(
            |character: char| character.is_control() && character != '\n',
            "\u{fffd}",
        )
    };
    match value {
        Value::String(said) => Value::String(text(said)),
        Value::Array(values) => values.into_iter().map(tame).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (text(name), tame(value)))
            .collect(),
        other => other,
    }
}

#[cfg(test)]
#[path = "protocol_test.rs"]
mod tests;

//! The config as written: which tables and keys there are.
//!
//! Out: [`Schema`], each key with its value and its place. It knows names and types and no rule about values. To add
//! a key, add its row to a `table!` below: its type says how it is read and whether it is a secret. A serde derive
//! stops at the first error; this reader reports all of them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::dialect::Format;
use crate::engine::door::{Lockout, OnRepeat, Sharing};
use crate::engine::knock::KnockerPrefix;
use crate::engine::sequence::Sequence;
use crate::firewall::Backend;
use crate::fleet::WithoutBus;
use crate::source_spec::SourceSpec;

use super::OnExit;
use super::command::CommandText;
use super::fleet::{Gateway, PublicKey, Servers};
use super::one_time::TotpText;
use super::prefix::Prefix;
use super::report::Span;
use super::scope::{Flags, Interface, Networks, Target};
use super::sequence::{CountedPort, Counts, Ports};
use super::value::{DoorNames, Given, Group, Occasions, User, Value, Within, Written};

/// A key of a table.
pub(super) struct Key {
    pub(super) name: &'static str,
    /// Whether its value may be shown.
    pub(super) secrecy: Secrecy,
}

/// Whether a value may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Secrecy {
    /// Never.
    Secret,
    /// Unless it looks like a part of a sequence.
    Public,
    /// Also where it looks like one: ports that everybody may know.
    Ports,
}

/// A table whose keys are known.
pub(super) trait Table {
    /// They, in the order in which a man page would have them.
    const KEYS: &'static [Key];

    /// Sets `key` to what is written, and replaces its old value. `false` if there is no such key.
    fn set(&mut self, key: &str, at: Span, written: Written<'_>) -> bool;

    /// What is set here, and what only `defaults` has.
    #[must_use]
    fn or(&self, defaults: &Self) -> Self;
}

macro_rules! table {
    ($(#[$doc:meta])* $table:ident { $($key:ident: $value:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Default)]
        pub(super) struct $table {
            $(pub(super) $key: Option<Given<$value>>,)*
        }

        impl Table for $table {
            const KEYS: &'static [Key] = &[
                $(Key { name: stringify!($key), secrecy: <$value as Value>::SECRECY },)*
            ];

            fn set(&mut self, key: &str, at: Span, written: Written<'_>) -> bool {
                match key {
                    $(stringify!($key) => {
                        let value = <$value as Value>::read(written);
                        self.$key = Some(Given { key: at, span: written.span, value });
                    })*
                    _ => return false,
                }
                true
            }

            fn or(&self, defaults: &Self) -> Self {
                Self { $($key: self.$key.clone().or_else(|| defaults.$key.clone()),)* }
            }
        }
    };
}

table! {
    /// `[log]`
    LogTable {
        sources: Vec<SourceSpec>,
        source: Vec<SourceTable>,
        prefix: Prefix,
        format: Format,
        accept_forgeable: bool,
        max_line_age: Duration,
        knocker_prefix_v6: KnockerPrefix,
        udp_peers: Networks,
        relay_user: User,
    }
}

table! {
    /// `[[log.source]]`
    SourceTable {
        path: SourceSpec,
        prefix: Prefix,
        doors: DoorNames,
    }
}

table! {
    /// `[fleet]`
    FleetTable {
        name: Gateway,
        servers: Servers,
        tls_ca: PathBuf,
        tls_cert: PathBuf,
        tls_key: PathBuf,
        signing_key: PathBuf,
        ping_interval: Duration,
        without_bus: WithoutBus,
        claim_timeout: Duration,
        max_opens_per_minute: Within<1, 100_000>,
        socket: PathBuf,
        user: User,
        peer: BTreeMap<String, PeerTable>,
    }
}

table! {
    /// `[fleet.peer.NAME]`
    PeerTable {
        public_key: PublicKey,
        doors: DoorNames,
    }
}

table! {
    /// `[daemon]`
    DaemonTable {
        on_exit: OnExit,
        stop_timeout: Duration,
        command_timeout: Duration,
        max_commands: Within<1, 64>,
        ephemeral: bool,
        control: PathBuf,
        group: Group,
        metrics_file: PathBuf,
        event_log: PathBuf,
        knockd_log: PathBuf,
        knockd_syslog: bool,
    }
}

table! {
    /// `[firewall]`
    FirewallTable {
        backend: Backend,
        always_allow: Networks,
        public: Ports,
        heal: bool,
    }
}

table! {
    /// `[notify]`
    NotifyTable {
        command: CommandText,
        on: Occasions,
        user: User,
    }
}

table! {
    /// `[door.NAME]`, and but for sequences `[defaults]`
    DoorTable {
        sequence: Sequence,
        seq_timeout: Duration,
        knock_timeout: Duration,
        min_gap: Duration,
        tcpflags: Flags,
        interface: Interface,
        target: Target,
        allow: Networks,
        deny: Networks,
        strict: bool,
        counts: Counts,
        port: CountedPort,
        window: Duration,
        totp: TotpText,
        one_time_sequences: PathBuf,
        look_ahead: Within<1, 100>,
        lockout: Lockout,
        cooldown: Duration,
        opens: Ports,
        start_command: CommandText,
        start_command_6: CommandText,
        stop_command: CommandText,
        stop_command_6: CommandText,
        shell: bool,
        ignore_status: bool,
        user: User,
        cmd_timeout: Duration,
        on_repeat: OnRepeat,
        once: bool,
        fleet: Sharing,
    }
}

/// Tables at the top of a file.
pub(super) const SECTIONS: [(&str, Section); 9] = [
    ("log", Section::Keys(LogTable::KEYS)),
    ("log.source", Section::Keys(SourceTable::KEYS)),
    ("daemon", Section::Keys(DaemonTable::KEYS)),
    ("firewall", Section::Keys(FirewallTable::KEYS)),
    ("notify", Section::Keys(NotifyTable::KEYS)),
    ("fleet", Section::Keys(FleetTable::KEYS)),
    ("fleet.peer", Section::Doors(PeerTable::KEYS)),
    ("defaults", Section::Keys(DoorTable::KEYS)),
    ("door", Section::Doors(DoorTable::KEYS)),
];

/// What a table at the top of a file holds.
#[derive(Clone, Copy)]
pub(super) enum Section {
    /// Keys.
    Keys(&'static [Key]),
    /// A table of such keys for each door.
    Doors(&'static [Key]),
}

/// The table at the top of a file that is called `name`.
pub(super) fn section(name: &str) -> Option<Section> {
    SECTIONS
        .iter()
        .find(|(section, _)| *section == name)
        .map(|(_, section)| *section)
}

/// Every table with every key of it.
pub(super) fn keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    let all = SECTIONS.into_iter().flat_map(|(name, section)| {
        let (Section::Keys(keys) | Section::Doors(keys)) = section;
        keys.iter().map(move |key| (name, key.name))
    });
    all.filter(|(table, key)| section(&format!("{table}.{key}")).is_none())
}

/// Whether some table has a key that is called `name`.
pub(super) fn is_key(name: &str) -> bool {
    keys().any(|(_, key)| key == name)
}

/// Whether a door may be called `name`.
pub(super) fn is_door_name(name: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(valid)
}

/// Whether `name` is one that a key could have, and nothing that a key could hide: ports have
/// digits, and so has a prefix that is a secret.
pub(super) fn looks_like_a_key(name: &str) -> bool {
    let word = name.strip_suffix("_6").unwrap_or(name);
    let valid = |byte: u8| byte.is_ascii_alphabetic() || b"_-".contains(&byte);
    (1..=64).contains(&name.len()) && word.bytes().all(valid)
}

/// Everything that the files of a config say.
#[derive(Default)]
pub(super) struct Schema {
    /// Whether a knockd.conf says it.
    pub(super) is_knockds: bool,
    /// The file that a knockd.conf names for its log prefix.
    pub(super) prefix_file: Option<Given<PathBuf>>,
    pub(super) log: LogTable,
    pub(super) daemon: DaemonTable,
    pub(super) firewall: FirewallTable,
    pub(super) notify: NotifyTable,
    pub(super) fleet: FleetTable,
    pub(super) defaults: DoorTable,
    pub(super) doors: Vec<NamedDoor>,
}

/// A `[door.NAME]`.
pub(super) struct NamedDoor {
    pub(super) name: Arc<str>,
    /// Where its name stands.
    pub(super) at: Span,
    pub(super) table: DoorTable,
}

#[cfg(test)]
#[path = "schema_test.rs"]
mod tests;

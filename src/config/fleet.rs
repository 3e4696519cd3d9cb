//! `[fleet]`: this gateway among others, and what each of them may open here.
//!
//! In: the tables as written. Out: a [`Fleet`], or what is wrong with it. Private keys are named by their files and
//! never read here: this runs in the process that reads strangers' text, too.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::VerifyingKey;
use toml::de::DeValue;

use crate::engine::door::{Door, Rule, Sharing};
use crate::fleet::grant::{self, is_name};
use crate::fleet::{Peer, Rules};

use super::door::Draft;
use super::read::fill;
use super::report::{Report, error};
use super::schema::{FleetTable, PeerTable, Secrecy};
use super::value::{Optional as _, User, Value, Within, Written};

const PING_INTERVAL: Duration = Duration::from_secs(2);
const CLAIM_TIMEOUT: Duration = Duration::from_millis(300);
const MOST_A_MINUTE: u32 = 120;
/// The user of the agent.
const USER: &str = "logknock-fleet";
/// Servers of the bus.
const MAX_SERVERS: usize = 16;

/// `[fleet]`: this gateway among others.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// Which grants of others count.
    pub rules: Rules,
    /// `HOST:PORT` of each server of the bus.
    pub servers: Vec<String>,
    /// The certificate authority of the bus, our certificate, and its key: files that the agent reads.
    pub tls: [PathBuf; 3],
    /// The file of the key that signs our grants, which the agent cannot read.
    pub signing_key: PathBuf,
    /// Between two pings of the bus.
    pub ping: Duration,
    /// The agent's socket; `None` means the directory of the control socket.
    pub socket: Option<PathBuf>,
    /// The user that the agent runs as.
    pub user: Box<str>,
}

/// The name of a gateway.
#[derive(Clone)]
pub(super) struct Gateway(String);

impl Value for Gateway {
    fn read(written: Written<'_>) -> Option<Self> {
        let name = written.string("a gateway's name in quotes")?;
        if !is_name(name) {
            return written.refuse(NAME_FORM);
        }
        Some(Self(name.to_owned()))
    }
}

const NAME_FORM: &str = "a gateway's name has 1 to 64 characters of A-Z a-z 0-9 _ -";

/// `servers`
#[derive(Clone)]
pub(super) struct Servers(Vec<String>);

impl Value for Servers {
    fn read(written: Written<'_>) -> Option<Self> {
        let servers = written.each("servers", MAX_SERVERS, |_, item| {
            let text = item.string("a host and a port in quotes")?;
            let (host, port) = text.rsplit_once(':').unwrap_or_default();
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
            let is_host = !host.is_empty() && host.bytes().all(fits);
            let is_bare = host.contains(':') && !host.starts_with('[');
            if !is_host || is_bare || port.parse::<u16>().is_err() {
                let fix =
                    "write \"HOST:PORT\", as in \"192.0.2.10:4222\" or \"[2001:db8::10]:4222\"";
                return item.refuse_with("no host and port", fix);
            }
            Some(text.to_owned())
        })?;
        if servers.is_empty() {
            return written.refuse("there is no server");
        }
        Some(Self(servers))
    }
}

/// `public_key`
#[derive(Clone)]
pub(super) struct PublicKey(VerifyingKey);

impl Value for PublicKey {
    fn read(written: Written<'_>) -> Option<Self> {
        let text = written.string("a key in quotes")?;
        let fix = "write the line 'public_key' that 'logknock-fleet init' printed for this gateway";
        let key = grant::public_key(text);
        key.map(Self)
            .or_else(|| written.refuse_with("not an Ed25519 public key in base64", fix))
    }
}

/// `[fleet.peer.NAME]`
impl Value for BTreeMap<String, PeerTable> {
    const SECRECY: Secrecy = Secrecy::Secret;

    fn read(written: Written<'_>) -> Option<Self> {
        let DeValue::Table(tables) = written.value else {
            return written.wrong_type("tables, each below [fleet.peer.NAME]");
        };
        let mut peers = Self::new();
        for (name, inner) in tables {
            let at = written.span.beside(name.span());
            let item = written.inner(inner);
            if !is_name(name.get_ref()) {
                item.add(error(at, NAME_FORM));
                continue;
            }
            let DeValue::Table(keys) = item.value else {
                let _: Option<()> = item.wrong_type("a table, below [fleet.peer.NAME]");
                continue;
            };
            let mut table = PeerTable::default();
            fill(
                &mut table,
                "[fleet.peer.NAME]",
                keys,
                item.span,
                item.report,
            );
            if table.public_key.is_none() || table.doors.is_none() {
                item.add(error(at, "a peer needs a 'public_key' and 'doors'"));
            }
            peers.insert(name.get_ref().to_string(), table);
        }
        Some(peers)
    }
}

/// What `[fleet]` says; `None` where there is none.
pub(super) fn resolve(table: &FleetTable, doors: &[Arc<Door>], report: &Report) -> Option<Fleet> {
    let keys = [
        table.name.as_ref().map(|given| given.key),
        table.servers.as_ref().map(|given| given.key),
        table.peer.as_ref().map(|given| given.key),
        table.signing_key.as_ref().map(|given| given.key),
    ];
    let at = keys.into_iter().flatten().min()?;
    let needed = [
        ("name", table.name.is_some()),
        ("servers", table.servers.is_some()),
        ("tls_ca", table.tls_ca.is_some()),
        ("tls_cert", table.tls_cert.is_some()),
        ("tls_key", table.tls_key.is_some()),
        ("signing_key", table.signing_key.is_some()),
    ];
    let missing = needed.iter().filter(|(_, is_there)| !is_there);
    let missing: Vec<_> = missing.map(|(name, _)| format!("'{name}'")).collect();
    if !missing.is_empty() {
        let message = format!("[fleet] lacks {}", missing.join(", "));
        report.add(error(at, message).fix("let 'logknock-fleet init' write it"));
        return None;
    }
    let mut peers = BTreeMap::new();
    for (name, peer) in table.peer.value().unwrap_or_default() {
        let key = peer.public_key.value().map(|PublicKey(key)| key);
        let doors = peer
            .doors
            .value()
            .and_then(|names| names.among(doors, report));
        if let (Some(key), Some(doors)) = (key, doors) {
            let doors = doors.to_vec();
            peers.insert(name, Peer { key, doors });
        }
    }
    let most = table.max_opens_per_minute.value();
    let user = table.user.value().map(|User(name)| name);
    let Gateway(name) = table.name.value()?;
    let Servers(servers) = table.servers.value()?;
    Some(Fleet {
        rules: Rules {
            name,
            peers,
            without_bus: table.without_bus.value().unwrap_or_default(),
            claim_timeout: table.claim_timeout.value().unwrap_or(CLAIM_TIMEOUT),
            most_a_minute: most.map_or(MOST_A_MINUTE, |Within(most)| most),
        },
        servers,
        tls: [
            table.tls_ca.value()?,
            table.tls_cert.value()?,
            table.tls_key.value()?,
        ],
        signing_key: table.signing_key.value()?,
        ping: table.ping_interval.value().unwrap_or(PING_INTERVAL),
        socket: table.socket.value(),
        user: user.unwrap_or_else(|| USER.into()),
    })
}

/// What the door of `draft` shares.
pub(super) fn sharing(draft: &Draft<'_>, rule: Option<&Rule>) -> Sharing {
    let Some(given) = &draft.table.fleet else {
        return Sharing::Off;
    };
    let sharing = given.value.unwrap_or_default();
    let is_own = draft.own.table.fleet.is_some();
    let has_codes = matches!(rule, Some(Rule::OneTime(_)));
    let holds = draft.table.opens.is_some()
        || draft.table.stop_command.is_some()
        || draft.table.stop_command_6.is_some();
    let refuse = |what: &str, fix: &str| {
        // A default is for the doors that can use it.
        if is_own {
            draft.add(draft.error(given.key, what).fix(fix));
        }
        Sharing::Off
    };
    match sharing {
        Sharing::Off => sharing,
        _ if !is_name(&draft.own.name) => {
            let fix = "name it with A-Z a-z 0-9 _ - alone";
            refuse("has a name that a fleet cannot share", fix)
        }
        _ if draft.schema.fleet.name.is_none() => {
            let fix = "add [fleet]; 'logknock-fleet init' writes it";
            refuse("is shared with a fleet, but there is no [fleet]", fix)
        }
        Sharing::Once if !has_codes => {
            let what = "has no code that could open once: fleet = \"once\" is for 'totp' and 'one_time_sequences'";
            refuse(what, "write fleet = \"open\"")
        }
        Sharing::Open if !holds => {
            let fix = "give it 'opens' or a 'stop_command'";
            refuse("holds nothing open that a fleet could share", fix)
        }
        _ => sharing,
    }
}

//! The commands of the nft backend as one message of netlink, which the kernel takes without a process.
//!
//! In: the argv of a command that the nft backend has made, now or in an earlier version. Out: the bytes of a batch
//! (`linux/netfilter/nfnetlink.h`, `nf_tables.h`), and what its answers say. Any other argv is not our command. The
//! text stays what people read and what the ledger holds.

use std::net::IpAddr;
use std::time::Duration;

use super::Family;
use super::nft::{TABLE, set};
use crate::engine::sequence::Transport;

/// `NETLINK_NETFILTER` messages: the batch's own, and those of `nf_tables` (subsystem 10).
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NF_TABLES: u16 = 10;
const NEW_SET_ELEMENT: u16 = (NF_TABLES << 8) | 0x0c;
const DELETE_SET_ELEMENT: u16 = (NF_TABLES << 8) | 0x0e;
/// `NLMSG_ERROR`, which an acknowledgement is too.
const ERROR: u16 = 2;
/// `NLM_F_REQUEST`, `NLM_F_ACK`, `NLM_F_CREATE`.
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const CREATE: u16 = 0x400;
/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;
/// `NFTA_SET_ELEM_LIST_TABLE`, `_SET`, `_ELEMENTS`; `NFTA_LIST_ELEM`.
const LIST_TABLE: u16 = 1;
const LIST_SET: u16 = 2;
const LIST_ELEMENTS: u16 = 3;
const LIST_ELEMENT: u16 = 1;
/// `NFTA_SET_ELEM_KEY`, `NFTA_SET_ELEM_TIMEOUT`; `NFTA_DATA_VALUE`.
const ELEMENT_KEY: u16 = 1;
const ELEMENT_TIMEOUT: u16 = 4;
const DATA_VALUE: u16 = 1;
/// `NFPROTO_INET`.
const INET: u8 = 1;
/// Header of a message, in bytes.
const HEADER: usize = 16;

/// A change to the elements of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    family: Family,
    changes: Vec<Change>,
    /// Whether it lets somebody in at its end.
    opens: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    adds: bool,
    elements: Vec<Element>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Element {
    src: IpAddr,
    transport: Transport,
    port: u16,
    timeout: Option<Duration>,
}

/// The kernel's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is done.
    Done,
    /// It is not, by the kernel's number.
    Refused(i32),
}

impl Batch {
    /// What `argv` does, if it is a command of the nft backend.
    pub fn of(argv: &[String]) -> Option<Self> {
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        let text = match argv[..] {
            ["nft", text] => text,
            // A close is given to a shell, which asks whether the table is there at all.
            [shell, "-c", text] if shell.ends_with("/sh") => {
                text.strip_prefix("nft '")?.split_once("' || ")?.0
            }
            _ => return None,
        };
        let mut family = None;
        let mut changes = Vec::new();
        for command in text.split("; ") {
            let (of, change) = Change::of(command)?;
            if family.replace(of).is_some_and(|other| other != of) {
                return None;
            }
            changes.push(change);
        }
        let opens = changes.last()?.adds;
        Some(Self {
            family: family?,
            changes,
            opens,
        })
    }

    /// Its bytes. Only the last change asks for an acknowledgement; a failure is always reported.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        message(&mut bytes, BATCH_BEGIN, REQUEST, 0, NF_TABLES, |_| ());
        for (change, number) in self.changes.iter().zip(1..) {
            let is_last = usize::try_from(number).is_ok_and(|number| number == self.changes.len());
            let ack = if is_last { ACK } else { 0 };
            let (kind, flags) = if change.adds {
                (NEW_SET_ELEMENT, REQUEST | CREATE | ack)
            } else {
                (DELETE_SET_ELEMENT, REQUEST | ack)
            };
            message(&mut bytes, kind, flags, number, 0, |bytes| {
                change.write(self.family, bytes);
            });
        }
        message(&mut bytes, BATCH_END, REQUEST, 0, NF_TABLES, |_| ());
        bytes
    }

    /// What `answers` say of it, each as it was received. To close a missing element is a success.
    pub fn verdict(&self, answers: &[u8]) -> Option<Verdict> {
        const NO_ENTRY: i32 = 2;
        let mut verdict = None;
        for error in errors(answers) {
            if error == 0 {
                verdict = verdict.or(Some(Verdict::Done));
            } else if error == NO_ENTRY && !self.opens {
                return Some(Verdict::Done);
            } else {
                return Some(Verdict::Refused(error));
            }
        }
        verdict
    }
}

impl Change {
    fn of(command: &str) -> Option<(Family, Self)> {
        let (verb, rest) = command.split_once(" element ")?;
        let adds = match verb {
            "add" => true,
            "delete" => false,
            _ => return None,
        };
        let rest = rest.strip_prefix(TABLE)?.strip_prefix(' ')?;
        let (name, rest) = rest.split_once(" { ")?;
        let family = Family::ALL
            .into_iter()
            .find(|family| set(*family) == name)?;
        let elements = rest.strip_suffix(" }")?.split(", ");
        let elements: Vec<_> = elements.map(Element::of).collect::<Option<_>>()?;
        let fits = |element: &Element| family.has(element.src);
        let all_fit = elements.iter().all(fits);
        all_fit.then_some((family, Self { adds, elements }))
    }

    fn write(&self, family: Family, bytes: &mut Vec<u8>) {
        let table = TABLE.rsplit(' ').next().unwrap_or_default();
        attribute(bytes, LIST_TABLE, |bytes| text(bytes, table));
        attribute(bytes, LIST_SET, |bytes| text(bytes, set(family)));
        attribute(bytes, LIST_ELEMENTS | NESTED, |bytes| {
            for element in &self.elements {
                attribute(bytes, LIST_ELEMENT | NESTED, |bytes| element.write(bytes));
            }
        });
    }
}

impl Element {
    fn of(text: &str) -> Option<Self> {
        let (key, timeout) = match text.split_once(" timeout ") {
            Some((key, timeout)) => (key, Some(timeout.strip_suffix('s')?.parse().ok()?)),
            None => (text, None),
        };
        let (src, rest) = key.split_once(" . ")?;
        let (transport, port) = rest.split_once(" . ")?;
        Some(Self {
            src: src.parse().ok()?,
            transport: match transport {
                "tcp" => Transport::Tcp,
                "udp" => Transport::Udp,
                _ => return None,
            },
            port: port.parse().ok()?,
            timeout: timeout.map(Duration::from_secs),
        })
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        attribute(bytes, ELEMENT_KEY | NESTED, |bytes| {
            attribute(bytes, DATA_VALUE, |bytes| self.write_key(bytes));
        });
        if let Some(timeout) = self.timeout {
            let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            attribute(bytes, ELEMENT_TIMEOUT, |bytes| {
                bytes.extend(millis.to_be_bytes());
            });
        }
    }

    /// Address, protocol and port one after another, each filled up to four bytes.
    fn write_key(&self, bytes: &mut Vec<u8>) {
        match self.src {
            IpAddr::V4(src) => bytes.extend(src.octets()),
            IpAddr::V6(src) => bytes.extend(src.octets()),
        }
        let protocol = match self.transport {
            Transport::Tcp => 6,
            Transport::Udp => 17,
        };
        bytes.extend([protocol, 0, 0, 0]);
        bytes.extend(self.port.to_be_bytes());
        bytes.extend([0, 0]);
    }
}

/// Appends a message of nfnetlink.
fn message(
    bytes: &mut Vec<u8>,
    kind: u16,
    flags: u16,
    number: u32,
    resource: u16,
    body: impl FnOnce(&mut Vec<u8>),
) {
    let begin = bytes.len();
    bytes.extend([0; 4]);
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(number.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend([INET, 0]);
    bytes.extend(resource.to_be_bytes());
    body(bytes);
    let length = u32::try_from(bytes.len() - begin).unwrap_or(u32::MAX);
    write_at(bytes, begin, &length.to_ne_bytes());
}

/// Appends an attribute, filled up to four bytes.
fn attribute(bytes: &mut Vec<u8>, kind: u16, body: impl FnOnce(&mut Vec<u8>)) {
    let begin = bytes.len();
    bytes.extend([0; 2]);
    bytes.extend(kind.to_ne_bytes());
    body(bytes);
    let length = u16::try_from(bytes.len() - begin).unwrap_or(u16::MAX);
    write_at(bytes, begin, &length.to_ne_bytes());
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend(text.bytes());
    bytes.push(0);
}

fn write_at(bytes: &mut [u8], begin: usize, what: &[u8]) {
    for (place, byte) in bytes.iter_mut().skip(begin).zip(what) {
        *place = *byte;
    }
}

/// The numbers of the errors in `answers`, 0 for an acknowledgement. What is cut short is left out.
fn errors(answers: &[u8]) -> impl Iterator<Item = i32> {
    let mut rest = answers;
    std::iter::from_fn(move || {
        loop {
            let length = u32::from_ne_bytes(*rest.first_chunk()?);
            let length = usize::try_from(length)
                .ok()
                .filter(|length| *length >= HEADER)?;
            let answer = rest.get(..length)?;
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            let kind = answer
                .get(4..6)
                .and_then(|kind| kind.first_chunk().copied())?;
            let error = answer
                .get(HEADER..)
                .and_then(|body| body.first_chunk().copied());
            if let (ERROR, Some(error)) = (u16::from_ne_bytes(kind), error) {
                return Some(i32::from_ne_bytes(error).saturating_neg());
            }
        }
    })
}

#[cfg(test)]
#[path = "netlink_test.rs"]
mod tests;

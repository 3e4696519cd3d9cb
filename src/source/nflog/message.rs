//! The netlink messages of NFLOG, as bytes.
//!
//! In: a datagram of the kernel. Out: the packets in it, borrowed. Out too: the message that binds to a group
//! (`linux/netfilter/nfnetlink_log.h`). Every length is checked against what is there, and what does not fit
//! ends the datagram.

use crate::engine::packet::Family;

/// Messages and attributes begin at multiples of this.
const ALIGNMENT: usize = 4;
/// `struct nlmsghdr`
const HEADER_SIZE: usize = 16;
/// `NLMSG_ERROR`: an answer.
const ANSWER: u16 = 2;
/// `NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET`
const PACKET: u16 = 0x0400;
/// `NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_CONFIG`
const CONFIG: u16 = 0x0401;

/// What the kernel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A rule has logged a packet.
    Packet(Captured<'a>),
    /// A request was carried out (0) or failed with this error number.
    Answer(i32),
    /// Something else.
    Other,
}

/// A packet as it was logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Captured<'a> {
    /// The protocol of its network header, if that is one that can knock.
    pub family: Option<Family>,
    /// The rule's prefix.
    pub prefix: &'a [u8],
    /// The number of the interface that it arrived at; 0 for none.
    pub iif: u32,
    /// The number of the interface that it leaves by; 0 for none.
    pub oif: u32,
    /// Its first bytes, from the network header on.
    pub payload: &'a [u8],
    /// Its number in the group.
    pub seq: Option<u32>,
}

/// The messages in `datagram`.
pub fn messages(datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let [l0, l1, l2, l3, k0, k1, ..] = *rest.first_chunk::<HEADER_SIZE>()?;
        let length = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).ok()?;
        let body = rest.get(HEADER_SIZE..length)?;
        rest = after(rest, length);
        Some(match u16::from_ne_bytes([k0, k1]) {
            PACKET => captured(body).map_or(Message::Other, Message::Packet),
            ANSWER => body.first_chunk().map_or(Message::Other, |&error| {
                Message::Answer(i32::from_ne_bytes(error).saturating_neg())
            }),
            _ => Message::Other,
        })
    })
}

/// What a packet message says, behind its `struct nfgenmsg`.
fn captured(body: &[u8]) -> Option<Captured<'_>> {
    const AF_INET: u8 = 2;
    const NETDEV: u8 = 5;
    const AF_INET6: u8 = 10;
    const ETHERTYPE_V4: [u8; 2] = [0x08, 0x00];
    const ETHERTYPE_V6: [u8; 2] = [0x86, 0xdd];
    let [family, ..] = *body.first_chunk::<4>()?;
    let mut captured = Captured::default();
    let mut ethertype = [0; 2];
    for (kind, value) in attributes(body.get(4..)?) {
        match kind {
            1 => ethertype = *value.first_chunk()?,
            4 => captured.iif = number(value)?,
            5 => captured.oif = number(value)?,
            9 => captured.payload = value,
            10 => captured.prefix = value.strip_suffix(b"\0").unwrap_or(value),
            12 => captured.seq = Some(number(value)?),
            _ => {}
        }
    }
    captured.family = match (family, ethertype) {
        (AF_INET, _) | (NETDEV, ETHERTYPE_V4) => Some(Family::V4),
        (AF_INET6, _) | (NETDEV, ETHERTYPE_V6) => Some(Family::V6),
        _ => None,
    };
    Some(captured)
}

/// The attributes in `bytes`, each with its number.
fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    /// Two flags of the kernel's stand above the number.
    const NUMBER: u16 = 0x3fff;
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let [l0, l1, k0, k1] = *rest.first_chunk()?;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = rest.get(4..length)?;
        rest = after(rest, length);
        Some((u16::from_ne_bytes([k0, k1]) & NUMBER, value))
    })
}

/// What begins behind the first `length` bytes and their padding.
fn after(bytes: &[u8], length: usize) -> &[u8] {
    let next = length.checked_next_multiple_of(ALIGNMENT);
    next.and_then(|next| bytes.get(next..)).unwrap_or_default()
}

fn number(value: &[u8]) -> Option<u32> {
    value.first_chunk().map(|&bytes| u32::from_be_bytes(bytes))
}

/// The request for the packets of `group`: `copied` bytes of each, each sent at once, and numbered.
pub(super) fn bind(group: u16, copied: u32) -> Vec<u8> {
    const REQUEST_AND_ANSWER: u16 = 1 | 4;
    const BIND: u8 = 1;
    const COPY_PACKET: u8 = 2;
    const NUMBERED: u16 = 1;
    let [c0, c1, c2, c3] = copied.to_be_bytes();
    let attributes: [(u16, &[u8]); 6] = [
        (1, &[BIND]),
        (2, &[c0, c1, c2, c3, COPY_PACKET, 0]),
        // A buffer for each message, as large as it needs: by default a page, which fills the socket soon.
        (3, &1_u32.to_be_bytes()),
        // How many hundredths of a second a packet may wait for others, and how many wait.
        (4, &0_u32.to_be_bytes()),
        (5, &1_u32.to_be_bytes()),
        (6, &NUMBERED.to_be_bytes()),
    ];
    let mut body = vec![0, 0];
    body.extend(group.to_be_bytes());
    for (kind, value) in attributes {
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        body.extend(length.to_ne_bytes());
        body.extend(kind.to_ne_bytes());
        body.extend(value);
        body.resize(body.len().next_multiple_of(ALIGNMENT), 0);
    }
    let length = u32::try_from(HEADER_SIZE + body.len()).unwrap_or(u32::MAX);
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(CONFIG.to_ne_bytes());
    message.extend(REQUEST_AND_ANSWER.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    message
}

#[cfg(test)]
#[path = "message_test.rs"]
mod tests;

//! ulogd2's JSON output of a packet: one key per field, no log line in it.
//!
//! In: a JSON object. Out: the packet, or what is wrong with its fields. Flow records of the same plugin have the
//! same address keys but no interface, so the interface key is what tells a packet.

use std::net::IpAddr;

use serde_json::{Map, Value};

use crate::engine::packet::{Fingerprint, Headers, OwnedPacket, Ports, Proto, TcpFlags};
use crate::engine::reason::Reason;

/// The packet in `object`; `None` when it is not ulogd's record of one.
pub(super) fn read(object: &Map<String, Value>) -> Option<Result<OwnedPacket, Reason>> {
    let is_packet = object.contains_key("oob.in") || object.contains_key("oob.out");
    let is_flow = object
        .keys()
        .any(|key| key.starts_with("orig.") || key.starts_with("reply."));
    if !is_packet || is_flow || !object.contains_key("src_ip") {
        return None;
    }
    Some(logged(object))
}

fn logged(object: &Map<String, Value>) -> Result<OwnedPacket, Reason> {
    let protocol = number(object, "ip.protocol")?.or(number(object, "ip6.nexthdr")?);
    let proto = Proto::from_number(protocol.ok_or(Reason::Grammar)?);
    let (src, dst) = (address(object, "src_ip")?, address(object, "dest_ip")?);
    if src.is_ipv4() != dst.is_ipv4() {
        return Err(Reason::Grammar);
    }
    Ok(OwnedPacket {
        prefix: text(object, "oob.prefix")?,
        iif: text(object, "oob.in")?,
        oif: text(object, "oob.out")?,
        headers: Headers {
            src,
            dst,
            proto,
            ports: ports(object, proto)?,
            flags: flags(object, proto)?,
            mark: Fingerprint {
                len: number(object, "ip.totlen")?,
                ttl: number(object, "ip.ttl")?.or(number(object, "ip6.hoplimit")?),
                id: number(object, "ip.id")?,
                flow: number(object, "ip6.flowlabel")?,
                seq: number(object, "tcp.seq")?,
                udp_len: number(object, "udp.len")?,
            },
        },
    })
}

/// A text; empty where the key is missing.
fn text(object: &Map<String, Value>, key: &str) -> Result<Box<[u8]>, Reason> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(Box::default()),
        Some(Value::String(text)) => Ok(text.as_bytes().into()),
        Some(_) => Err(Reason::Grammar),
    }
}

/// A number within `T`, if the key is there.
fn number<T: TryFrom<u64>>(object: &Map<String, Value>, key: &str) -> Result<Option<T>, Reason> {
    let Some(value) = object.get(key).filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    let number = value.as_u64().and_then(|number| T::try_from(number).ok());
    number.ok_or(Reason::Grammar).map(Some)
}

fn address(object: &Map<String, Value>, key: &str) -> Result<IpAddr, Reason> {
    let text = object.get(key).and_then(Value::as_str);
    let address: Option<IpAddr> = text.and_then(|text| text.parse().ok());
    Ok(address.ok_or(Reason::Grammar)?.to_canonical())
}

fn ports(object: &Map<String, Value>, proto: Proto) -> Result<Option<Ports>, Reason> {
    const OFFSET: u16 = 0x1fff; // the other three bits are DF, MF and a reserved one
    let offset = number::<u16>(object, "ip.fragoff")?.unwrap_or(0) & OFFSET;
    let has_ports = matches!(
        proto,
        Proto::Tcp | Proto::Udp | Proto::UdpLite | Proto::Sctp
    );
    if offset > 0 || !has_ports {
        return Ok(None);
    }
    let (src, dst) = (number(object, "src_port")?, number(object, "dest_port")?);
    Ok(src.zip(dst).map(|(src, dst)| Ports { src, dst }))
}

fn flags(object: &Map<String, Value>, proto: Proto) -> Result<TcpFlags, Reason> {
    if proto != Proto::Tcp {
        return Ok(TcpFlags::NONE);
    }
    TcpFlags::NAMES
        .into_iter()
        .try_fold(TcpFlags::NONE, |set, (name, flag)| {
            Ok(match object.get(&format!("tcp.{name}")) {
                Some(Value::Bool(true)) => set.with(flag),
                Some(Value::Number(number)) if number.as_u64() == Some(1) => set.with(flag),
                Some(Value::Number(number)) if number.as_u64() == Some(0) => set,
                None | Some(Value::Null | Value::Bool(false)) => set,
                Some(_) => return Err(Reason::Grammar),
            })
        })
}

//! The grammar of a packet line, from `IN=` to its last byte.
//!
//! In: the fields behind the log prefix. Out: a packet, or the reason why not. One function per production, in the
//! order in which `nf_log_syslog.c` prints them; ulogd's LOGEMU and the routers that imitate it (no `0x`, no `RES=`,
//! no `URGP=`, fields left out) differ only where a field is optional here. In a line that the kernel is known to
//! have written, only text that the kernel prints is accepted: its messages may end with text that a local user
//! chose. A fragment or a cut header is a packet without ports.

use std::net::IpAddr;

use super::super::reason::Reason;
use super::fields::Fields;
use super::{Fingerprint, Headers, Packet, Ports, Printer, Proto, TcpFlags};

const FRAGMENT_OFFSET_MAX: u32 = 8191;
const FLOW_LABEL_MAX: u32 = 0xF_FFFF;

/// The whole line behind `prefix`.
pub(super) fn packet<'a>(
    prefix: &'a [u8],
    body: &'a [u8],
    printer: Printer,
) -> Result<Packet<'a>, Reason> {
    let mut fields = Fields::new(body, printer);
    let iif = fields.must(b"IN=", Fields::interface)?;
    let oif = match fields.field(b"OUT=", Fields::interface)? {
        Some(oif) => oif,
        None if fields.are_of(Printer::Proxmox) => b"",
        None => return Err(fields.blame()),
    };
    fields.field(b"PHYSIN=", Fields::interface)?;
    fields.field(b"PHYSOUT=", Fields::interface)?;
    link(&mut fields)?;
    let mut network = network(&mut fields)?;
    let transport = transport(&mut fields, &mut network)?;
    tail(&mut fields)?;
    if !fields.at_end() {
        return Err(Reason::Grammar);
    }
    Ok(Packet {
        prefix,
        iif,
        oif,
        headers: Headers {
            src: network.src,
            dst: network.dst,
            proto: transport.proto,
            ports: transport.ports,
            flags: transport.flags,
            mark: network.mark,
        },
    })
}

/// The link header, which may be missing altogether.
fn link(fields: &mut Fields<'_>) -> Result<(), Reason> {
    if fields.field(b"MACSRC=", Fields::link_bytes)?.is_some() {
        fields.must(b"MACDST=", Fields::link_bytes)?;
        if fields.field(b"VPROTO=", |field| field.hex(4, 4))?.is_some() {
            fields.must(b"VID=", |field| field.number_to(4095))?;
        }
        fields.must(b"MACPROTO=", |field| field.hex(4, 4))?;
    } else if fields.field(b"MAC=", Fields::link_bytes)?.is_some() {
        fields.field(b"TUNNEL=", |field| {
            field.ipv4()?;
            field.want(b"->")?;
            field.ipv4()
        })?;
        if fields.are_of(Printer::Ulogd) {
            fields.take(b" "); // versions before 2.0.8
        }
    }
    Ok(())
}

struct Network {
    src: IpAddr,
    dst: IpAddr,
    mark: Fingerprint,
    /// Not the first fragment: there is no transport header in it.
    fragment: bool,
    /// What the extension headers end with, where no `PROTO=` follows.
    ends_with: Option<Proto>,
}

fn network(fields: &mut Fields<'_>) -> Result<Network, Reason> {
    if !fields.is_exact() {
        fields.field(b"TAG=", Fields::number::<u32>)?; // kernels with the vserver patch
    }
    if fields.take(b"ARP ") {
        return Err(Reason::Protocol);
    }
    let src = fields.must(b"SRC=", Fields::address)?;
    let dst = fields.must(b"DST=", Fields::address)?;
    let ipv4_text = src.is_ipv4();
    if ipv4_text != dst.is_ipv4() {
        return Err(Reason::Grammar);
    }
    let (src, dst) = (src.to_canonical(), dst.to_canonical());
    let ipv4_packet = src.is_ipv4();
    if ipv4_packet != dst.is_ipv4() {
        return Err(Reason::Grammar);
    }
    let mut network = Network {
        src,
        dst,
        mark: Fingerprint {
            len: fields.usual(b"LEN=", Fields::number)?,
            ..Fingerprint::default()
        },
        fragment: false,
        ends_with: None,
    };
    if ipv4_text || (ipv4_packet && !fields.is_exact()) {
        ipv4(fields, &mut network)?; // mapped addresses too: a userspace writer's choice
    }
    if !ipv4_text {
        ipv6(fields, &mut network)?;
    }
    Ok(network)
}

fn ipv4(fields: &mut Fields<'_>, network: &mut Network) -> Result<(), Reason> {
    fields.usual(b"TOS=", Fields::loose_hex_byte)?;
    fields.usual(b"PREC=", Fields::loose_hex_byte)?;
    network.mark.ttl = fields.usual(b"TTL=", Fields::number)?;
    network.mark.id = fields.usual(b"ID=", Fields::number)?;
    fields.take(b"CE ");
    fields.take(b"DF ");
    fields.take(b"MF ");
    let offset = fields.field(b"FRAG:", |field| field.number_to(FRAGMENT_OFFSET_MAX))?;
    network.fragment = offset.is_some_and(|offset| offset > 0);
    fields.field(b"OPT (", options)?;
    Ok(())
}

/// The bytes of an option list, and the bracket that closes it.
fn options(fields: &mut Fields<'_>) -> Result<(), Reason> {
    fields.hex(0, 80)?;
    fields.want(b")")
}

fn ipv6(fields: &mut Fields<'_>, network: &mut Network) -> Result<(), Reason> {
    fields.usual(b"TC=", Fields::number::<u8>)?;
    let flow = |field: &mut Fields<'_>| field.number_to(FLOW_LABEL_MAX);
    if !fields.is_exact() {
        network.mark.flow = fields.field(b"FLOWLBL=", flow)?; // some routers turn the two round
    }
    if let Some(hops) = fields.usual(b"HOPLIMIT=", Fields::number)? {
        network.mark.ttl = Some(hops);
    }
    if network.mark.flow.is_none() {
        network.mark.flow = fields.usual(b"FLOWLBL=", flow)?;
    }
    while network.ends_with.is_none() {
        if fields.take(b"OPT ( ") {
            extension(fields, network)?;
        } else if !fragment_header(fields, network)? {
            break;
        }
    }
    Ok(())
}

/// One extension header behind `OPT ( `, to its closing bracket.
fn extension(fields: &mut Fields<'_>, network: &mut Network) -> Result<(), Reason> {
    if fields.take(b"ESP ") {
        network.ends_with = Some(Proto::Esp);
        cut_header(fields)?;
        fields.field(b"SPI=0x", |field| field.hex(1, 8))?;
    } else if fields.take(b"AH ") {
        if cut_header(fields)? {
            network.ends_with = Some(Proto::Ah);
        }
        fields.field(b"SPI=0x", |field| field.hex(1, 8))?;
    } else {
        fragment_header(fields, network)?;
    }
    fields.want(b")")?;
    fields.close()
}

/// `FRAG:offset [INCOMPLETE ]ID:number `; here INCOMPLETE says that more fragments follow.
fn fragment_header(fields: &mut Fields<'_>, network: &mut Network) -> Result<bool, Reason> {
    if !fields.take(b"FRAG:") {
        return Ok(false);
    }
    fields.take_foreign(b" "); // ulogd
    let offset: u16 = fields.must(b"", Fields::number)?;
    fields.take(b"INCOMPLETE ");
    fields.want(b"ID:")?;
    fields.take_foreign(b" ");
    fields.must(b"", |field| field.hex(1, 8))?;
    network.fragment |= offset > 0;
    Ok(true)
}

struct Transport {
    proto: Proto,
    ports: Option<Ports>,
    flags: TcpFlags,
}

impl Transport {
    const fn without_ports(proto: Proto) -> Self {
        Self {
            proto,
            ports: None,
            flags: TcpFlags::NONE,
        }
    }
}

fn transport(fields: &mut Fields<'_>, network: &mut Network) -> Result<Transport, Reason> {
    if let Some(proto) = network.ends_with {
        return Ok(Transport::without_ports(proto));
    }
    if !fields.take(b"PROTO=") {
        // The kernel prints none for a later fragment of AH, and for IPv6 that ends in ESP.
        let missing = network.fragment && fields.at_end();
        return Err(if missing {
            Reason::NoPort
        } else {
            fields.blame()
        });
    }
    let proto = protocol(fields)?;
    fields.close()?;
    if network.fragment {
        cut_header(fields)?;
        return Ok(Transport::without_ports(proto));
    }
    match proto {
        Proto::Tcp => tcp(fields, &mut network.mark),
        Proto::Udp | Proto::UdpLite => udp(fields, &mut network.mark, proto),
        Proto::Sctp => with_ports(fields, proto),
        Proto::Icmp | Proto::Icmpv6 => icmp(fields, proto),
        Proto::Esp | Proto::Ah => {
            if !cut_header(fields)? {
                fields.last(b"SPI=0x", |field| field.hex(1, 8))?;
            }
            Ok(Transport::without_ports(proto))
        }
        Proto::Number(_) => Ok(Transport::without_ports(proto)),
    }
}

fn protocol(fields: &mut Fields<'_>) -> Result<Proto, Reason> {
    let mut number = *fields;
    Ok(match fields.word() {
        b"TCP" => Proto::Tcp,
        b"UDP" => Proto::Udp,
        b"UDPLITE" => Proto::UdpLite,
        b"ICMP" => Proto::Icmp,
        b"ICMPv6" => Proto::Icmpv6,
        b"SCTP" if !fields.is_exact() => Proto::Sctp,
        b"ESP" => Proto::Esp,
        b"AH" => Proto::Ah,
        b"ARP" => return Err(Reason::Protocol),
        _ => {
            let proto = Proto::Number(number.number()?);
            *fields = number;
            proto
        }
    })
}

/// `INCOMPLETE [n bytes]`, if it stands next: the packet ended inside its header. ulogd writes the bare
/// word, without even a blank before what follows.
fn cut_header(fields: &mut Fields<'_>) -> Result<bool, Reason> {
    if fields.take(b"INCOMPLETE [") {
        fields.number::<u32>()?;
        fields.want(b" bytes]")?;
        fields.close()?;
        return Ok(true);
    }
    Ok(fields.take_foreign(b"INCOMPLETE"))
}

fn ports(fields: &mut Fields<'_>) -> Result<Option<Ports>, Reason> {
    if cut_header(fields)? {
        return Ok(None);
    }
    Ok(Some(Ports {
        src: fields.must(b"SPT=", Fields::number)?,
        dst: fields.must(b"DPT=", Fields::number)?,
    }))
}

fn with_ports(fields: &mut Fields<'_>, proto: Proto) -> Result<Transport, Reason> {
    Ok(Transport {
        ports: ports(fields)?,
        ..Transport::without_ports(proto)
    })
}

fn udp(fields: &mut Fields<'_>, mark: &mut Fingerprint, proto: Proto) -> Result<Transport, Reason> {
    let transport = with_ports(fields, proto)?;
    if transport.ports.is_some() {
        mark.udp_len = fields.last(b"LEN=", Fields::number)?;
        if mark.udp_len.is_none() {
            return Err(fields.blame());
        }
    }
    Ok(transport)
}

fn tcp(fields: &mut Fields<'_>, mark: &mut Fingerprint) -> Result<Transport, Reason> {
    let transport = with_ports(fields, Proto::Tcp)?;
    if transport.ports.is_none() {
        return Ok(transport);
    }
    mark.seq = fields.field(b"SEQ=", Fields::number)?;
    if mark.seq.is_some() {
        fields.must(b"ACK=", Fields::number::<u32>)?;
    }
    fields.must(b"WINDOW=", Fields::number::<u16>)?;
    fields.usual(b"RES=0x", Fields::hex_byte)?;
    let flags = flags(fields);
    let urgent = fields.last(b"URGP=", Fields::number::<u16>)?;
    if urgent.is_none() && (flags == TcpFlags::NONE || fields.is_exact()) {
        return Err(fields.blame()); // some routers leave it out, but then a flag shows the end
    }
    fields.last(b"OPT (", |field| {
        if field.take(b"TRUNCATED)") {
            return Ok(());
        }
        options(field)
    })?;
    Ok(Transport { flags, ..transport })
}

/// The set flags, each at most once, in the order of the kernel: the highest bit first. A last one may
/// end the line, but not `URG`: that may be what is left of `URGP=`.
fn flags(fields: &mut Fields<'_>) -> TcpFlags {
    let mut set = TcpFlags::NONE;
    let mut ahead = *fields;
    while let Some(flag) = ahead.flag()
        && flag.bits().trailing_zeros() < set.bits().trailing_zeros()
        && (ahead.take(b" ") || (flag != TcpFlags::URG && ahead.at_end()))
    {
        set = set.with(flag);
        *fields = ahead;
    }
    set
}

/// Type, code, and what some types have. Only its own fields are read: what an error quotes is opaque.
fn icmp(fields: &mut Fields<'_>, proto: Proto) -> Result<Transport, Reason> {
    let transport = Transport::without_ports(proto);
    if cut_header(fields)? {
        return Ok(transport);
    }
    fields.must(b"TYPE=", Fields::number::<u8>)?;
    if fields.last(b"CODE=", Fields::number::<u8>)?.is_none() {
        return Err(fields.blame());
    }
    if cut_header(fields)? {
        return Ok(transport);
    }
    if fields.last(b"ID=", Fields::number::<u16>)?.is_some() {
        fields.last(b"SEQ=", Fields::number::<u16>)?;
        return Ok(transport);
    }
    fields.last(b"PARAMETER=", Fields::number::<u32>)?;
    fields.last(b"POINTER=", |field| field.hex(8, 8))?;
    fields.last(b"GATEWAY=", Fields::ipv4)?;
    fields.quoted()?;
    fields.last(b"MTU=", Fields::number::<u32>)?;
    Ok(transport)
}

/// Whose socket it was, the packet's mark, and the bridge ports where a router prints them last.
fn tail(fields: &mut Fields<'_>) -> Result<(), Reason> {
    if fields.last(b"UID=", Fields::number::<u32>)?.is_some()
        && fields.last(b"GID=", Fields::number::<u32>)?.is_none()
        && fields.is_exact()
    {
        return Err(fields.blame());
    }
    fields.last(b"MARK=", |field| field.loose_hex(1, 8))?;
    if !fields.is_exact() {
        fields.last(b"PHYSIN=", Fields::interface)?;
        fields.last(b"PHYSOUT=", Fields::interface)?;
    }
    Ok(())
}

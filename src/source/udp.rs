//! Syslog over UDP: `udp:ADDR:PORT`.
//!
//! In: datagrams from the peers that are named, or from this machine when none is. Out: lines, and
//! how many were from others. This is the only place of the daemon that opens a network socket, and
//! only where one is configured. The sender of a datagram can be forged: the peers keep strangers
//! out of the counters, and what makes a line believable is its prefix.
#![expect(
    clippy::disallowed_types,
    reason = "the one source on the network, and only where it is configured"
)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use ipnet::{IpNet, Ipv4Net};

use super::stream::errno;
use super::{Handle, Refusal, Sink, datagram};

/// A socket that is bound, and who may send to it.
#[derive(Debug)]
pub struct Bound {
    socket: UdpSocket,
    peers: Vec<IpNet>,
}

/// Binds a socket to `address`. Without `peers` it must be of this machine alone.
pub fn bound(address: SocketAddr, peers: &[IpNet]) -> Result<Bound, Refusal> {
    if peers.is_empty() && !address.ip().to_canonical().is_loopback() {
        return Err(Refusal::NoPeers);
    }
    let bind = |error: io::Error| Refusal::Bind(errno(&error));
    let socket = UdpSocket::bind(address).map_err(bind)?;
    socket.set_nonblocking(true)?;
    let peers = match peers {
        [] => vec![
            IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::LOCALHOST, 8)),
            IpNet::from(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        ],
        peers => peers.to_vec(),
    };
    Ok(Bound { socket, peers })
}

/// Receives in a thread of its own.
pub fn spawn(source: u16, bound: Bound, sink: impl Sink) -> Result<Handle, Refusal> {
    let Bound { socket, peers } = bound;
    let receive = move |socket: &UdpSocket, room: &mut [u8]| {
        let received = socket.recv_from(room);
        let (length, from) = received.map_err(|error| errno(&error))?;
        let from = from.ip().to_canonical();
        let known = peers.iter().any(|peers| peers.contains(&from));
        Ok((length, known))
    };
    Ok(datagram::spawn(source, socket, receive, sink)?)
}

//! A host of the laboratory: one network namespace, and what a knocker does in it.
//!
//! In: addresses and ports. Out: packets on the wire. Sockets are opened by a thread that moves
//! into the namespace and ends there, so no process is started for a packet.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::panic::resume_unwind;
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::socket_error;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::process;

/// Networks of which the near client may have every address: the family's option for `ip`, the network,
/// and the near client's address on the link.
pub(crate) const CROWD: [(&str, &str, &str); 2] = [
    ("-4", "198.18.0.0/15", "192.0.2.2"),
    ("-6", "2001:db8:18::/48", "2001:db8:0:a::2"),
];

/// What came of a connection attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// It was accepted.
    Open,
    /// Nothing answered.
    Closed,
}

/// A network namespace.
#[derive(Debug)]
pub(crate) struct Host {
    namespace: String,
}

impl Host {
    /// Makes the namespace.
    pub(crate) fn new(namespace: String) -> Self {
        process::run("ip", ["netns", "add", &namespace]);
        let host = Self { namespace };
        host.ip("link set lo up");
        host
    }

    /// Its namespace's name.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Runs `ip` in it, with the words of `line`.
    pub(crate) fn ip(&self, line: &str) {
        let words = ["-n", &self.namespace].into_iter();
        process::run("ip", words.chain(line.split_whitespace()));
    }

    /// A command that runs in it.
    pub(crate) fn command(&self, tool: &str) -> Command {
        let mut command = process::command("ip");
        command.args(["netns", "exec", &self.namespace, tool]);
        command
    }

    /// Does something on a thread that is in the namespace.
    pub(crate) fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let entrance = std::fs::File::open(format!("/run/netns/{}", self.namespace))
            .expect("the namespace is there");
        let visit = || {
            move_into_link_name_space(entrance.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("root may enter a namespace");
            act()
        };
        thread::scope(|scope| scope.spawn(visit).join())
            .unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Listens on a TCP port, on all addresses of both families. The kernel answers, and nobody
    /// accepts: so the queue is made long enough for a test that connects all the time.
    pub(crate) fn listen(&self, port: u16) -> TcpListener {
        self.inside(|| {
            let listener = TcpListener::bind(("::", port)).expect("the port is free");
            rustix::net::listen(&listener, 4096).expect("the queue grows");
            listener
        })
    }

    /// Sends one SYN, as knockd's `knock` does: a connection begun and given up at once, so that
    /// nothing is retransmitted.
    pub(crate) fn syn(&self, to: SocketAddr) {
        self.inside(|| single_syn(None, to).expect("a SYN leaves"));
    }

    /// Sends one SYN from an address and port of its own choice.
    pub(crate) fn syn_from(&self, source: SocketAddr, to: SocketAddr) {
        self.inside(|| single_syn(Some(source), to).expect("a SYN leaves"));
    }

    /// Sends one SYN to each port, in their order; calls `breath` after every `burst`.
    pub(crate) fn scan(
        &self,
        to: IpAddr,
        ports: &[u16],
        burst: usize,
        mut breath: impl FnMut() + Send,
    ) {
        self.inside(|| {
            for some in ports.chunks(burst) {
                for port in some {
                    single_syn(None, SocketAddr::new(to, *port)).expect("a SYN leaves");
                }
                breath();
            }
        });
    }

    /// Sends one datagram, and returns the port it came from.
    pub(crate) fn datagram(&self, to: SocketAddr) -> u16 {
        self.inside(|| {
            let socket = UdpSocket::bind((unspecified(to), 0)).expect("a socket");
            socket.send_to(&[0], to).expect("a datagram leaves");
            socket.local_addr().expect("it is bound").port()
        })
    }

    /// Sends one datagram from an address and port of its own choice.
    pub(crate) fn datagram_from(&self, source: SocketAddr, to: SocketAddr) {
        self.inside(|| {
            let socket = UdpSocket::bind(source).expect("the address is its own");
            socket.send_to(&[0], to).expect("a datagram leaves");
        });
    }

    /// Tries to connect from an address of its own choice, as [`connect`](Self::connect) does.
    pub(crate) fn connect_from(&self, source: IpAddr, to: SocketAddr) -> Reach {
        self.inside(|| {
            let socket = begun(Some((source, 0).into()), to).expect("a SYN leaves");
            let mut writable = [PollFd::new(&socket, PollFlags::OUT)];
            let wait = Timespec {
                tv_sec: 0,
                tv_nsec: 250_000_000,
            };
            if poll(&mut writable, Some(&wait)).expect("a socket can be waited for") == 0 {
                return Reach::Closed;
            }
            let ended = socket_error(&socket).expect("a socket tells");
            ended.expect("nobody refuses");
            Reach::Open
        })
    }

    /// Gives the host every address of [`CROWD`], and `server` the way there over the near link.
    pub(crate) fn crowd(&self, server: &Self) {
        for (family, net, gateway) in CROWD {
            self.ip(&format!("{family} route add local {net} dev lo"));
            server.ip(&format!("{family} route add {net} via {gateway}"));
        }
        // An IPv6 socket binds to addresses of an interface only, else.
        let switch = "/proc/sys/net/ipv6/ip_nonlocal_bind";
        self.inside(|| std::fs::write(switch, "1").expect("the switch turns"));
    }

    /// Tries to connect, for a quarter of a second (too short for a second SYN).
    pub(crate) fn connect(&self, to: SocketAddr) -> Reach {
        self.inside(
            || match TcpStream::connect_timeout(&to, Duration::from_millis(250)) {
                Ok(_) => Reach::Open,
                Err(error) if error.kind() == io::ErrorKind::TimedOut => Reach::Closed,
                Err(error) => panic!("connecting to {to}: {error}"),
            },
        )
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = process::command("ip")
            .args(["netns", "del", &self.namespace])
            .output();
    }
}

fn unspecified(to: SocketAddr) -> IpAddr {
    if to.is_ipv4() {
        std::net::Ipv4Addr::UNSPECIFIED.into()
    } else {
        std::net::Ipv6Addr::UNSPECIFIED.into()
    }
}

fn single_syn(source: Option<SocketAddr>, to: SocketAddr) -> io::Result<()> {
    begun(source, to).map(drop)
}

/// A connection that is begun; dropped, it is given up.
pub(crate) fn begun(source: Option<SocketAddr>, to: SocketAddr) -> io::Result<OwnedFd> {
    let family = if to.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    if let Some(source) = source {
        bind(&socket, &source)?;
    }
    match connect(&socket, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

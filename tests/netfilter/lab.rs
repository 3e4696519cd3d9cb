//! One laboratory: a server and two clients, each in a network namespace, joined by veth.
//!
//! ```text
//! near 192.0.2.2  ── veth-near ┐
//!      2001:db8:0:a::2         ├ server 192.0.2.1, 2001:db8::1, listening on 22/tcp
//! far  192.0.2.18 ── veth-far  ┘
//!      2001:db8:0:b::2
//! ```
//! It also owns a directory, a log prefix that is a secret of this lab, and its turn at the
//! kernel's log. Everything is taken down when it is dropped; what a killed run left is taken down
//! by the next lab.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::host::{Host, Reach};
use crate::kmsg::Kmsg;
use crate::need::need;
use crate::process::{eventually, run};
use crate::turn::{LogAllNetns, Ring, Turn};

/// How long anything that must happen may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

const SERVER_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const SERVER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const MARK_PORT: u16 = 9;

/// Which internet protocol a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    /// A port of the server.
    pub(crate) fn server(self, port: u16) -> SocketAddr {
        match self {
            Self::V4 => (SERVER_V4, port).into(),
            Self::V6 => (SERVER_V6, port).into(),
        }
    }
}

/// One knock, or any packet to a closed port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hit {
    Tcp(u16),
    Udp(u16),
}

/// Three hosts, a directory and a prefix.
#[derive(Debug)]
pub(crate) struct Lab {
    /// The host with the firewall and the log.
    pub(crate) server: Host,
    /// A client.
    pub(crate) near: Host,
    /// Another client, with other addresses.
    pub(crate) far: Host,
    /// What the lab's LOG rules write first: a shared secret, blank included.
    pub(crate) prefix: String,
    mark_prefix: String,
    dir: TempDir,
    _listener: TcpListener,
    _switch: LogAllNetns,
    _ring: Turn,
}

impl Lab {
    /// A lab that is up, or `None` when the test has to be skipped for want of something.
    pub(crate) fn new(ring: Ring, tools: &[&str]) -> Option<Self> {
        if !need(tools) {
            return None;
        }
        let ring = Turn::at_ring(ring);
        let switch = LogAllNetns::on();
        let [server, near, far] = namespaces(["server", "near", "far"]);
        join(
            &server,
            &near,
            "veth-near",
            "192.0.2.2/28",
            "192.0.2.1/28",
            'a',
        );
        join(
            &server,
            &far,
            "veth-far",
            "192.0.2.18/28",
            "192.0.2.17/28",
            'b',
        );
        server.ip("addr add 2001:db8::1/128 dev lo nodad");
        let secret = RandomState::new().hash_one(process::id());
        let lab = Self {
            // Some letters and digits first: chance alone may give eight digits, which are no secret.
            prefix: format!("lk-a7c4e{:08x}: ", secret & 0xffff_ffff),
            mark_prefix: format!("lab-{:08x}: ", secret >> 32),
            dir: tempfile::tempdir().expect("a directory"),
            _listener: server.listen(22),
            _switch: switch,
            _ring: ring,
            server,
            near,
            far,
        };
        lab.log_marks();
        lab.wait_for_links();
        Some(lab)
    }

    /// The lab's directory, which only root can enter.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A path in a directory of its own, for what the daemon records.
    pub(crate) fn record(&self, name: &str) -> PathBuf {
        let directory = self.path("records");
        fs::create_dir_all(&directory).expect("a directory");
        directory.join(name)
    }

    /// A path in the lab's directory.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir().join(name)
    }

    /// Writes a file that only root can read, and returns its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("the lab's directory takes files");
        let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&path, owner_only).expect("the owner sets the mode");
        path
    }

    /// Sends packets to closed ports, each when the kernel has logged the one before, so that the
    /// order on the wire is the order in the log.
    pub(crate) fn hit(&self, client: &Host, family: Family, hits: &[Hit]) {
        for hit in hits {
            let mut kernel = Kmsg::from_now();
            let words = match *hit {
                Hit::Tcp(port) => {
                    client.syn(family.server(port));
                    [" PROTO=TCP ".to_owned(), format!(" DPT={port} ")]
                }
                Hit::Udp(port) => {
                    client.datagram(family.server(port));
                    [" PROTO=UDP ".to_owned(), format!(" DPT={port} ")]
                }
            };
            eventually("the kernel logs the packet", PATIENCE, || {
                let lines = kernel.lines(&self.prefix);
                lines
                    .iter()
                    .any(|line| words.iter().all(|word| line.contains(word.as_str())))
            });
        }
    }

    /// Makes the kernel log a line that no door cares for, and returns words that only this line
    /// has. A log that shows them has shown everything before them.
    pub(crate) fn mark(&self) -> String {
        let port = self.near.datagram(Family::V4.server(MARK_PORT));
        format!("{}IN=veth-near ", self.mark_prefix) + &format!("*SPT={port} DPT={MARK_PORT} ")
    }

    /// Does a log hold the line of this [`mark`](Self::mark)?
    pub(crate) fn has_mark(log: &str, mark: &str) -> bool {
        let (start, end) = mark.split_once('*').expect("a mark has two parts");
        log.lines()
            .any(|line| line.contains(start) && line.contains(end))
    }

    fn log_marks(&self) {
        let rule = format!(
            "table inet marks {{ chain before {{ type filter hook prerouting priority -400; \
             udp dport {MARK_PORT} log prefix \"{}\" drop; }}; }}",
            self.mark_prefix
        );
        crate::process::finish(self.server.command("nft").arg(rule));
    }

    /// A first connection also resolves the neighbours, whose queues are short.
    fn wait_for_links(&self) {
        for client in [&self.near, &self.far] {
            for family in [Family::V4, Family::V6] {
                eventually("the link comes up", PATIENCE, || {
                    ssh(client, family) == Reach::Open
                });
            }
        }
    }
}

/// Can the client connect to the server's 22/tcp?
pub(crate) fn ssh(client: &Host, family: Family) -> Reach {
    client.connect(family.server(22))
}

/// Namespaces for hosts with these roles.
pub(crate) fn namespaces<const N: usize>(roles: [&str; N]) -> [Host; N] {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    // `ip netns` of two processes at once can trip over the first mount.
    let _gate = Turn::at_gate();
    remove_stale_namespaces();
    roles.map(|role| Host::new(format!("lk{}-{number}-{role}", process::id())))
}

/// Namespaces are named by the process that made them; those of processes that are gone go.
fn remove_stale_namespaces() {
    let Ok(entries) = fs::read_dir("/run/netns") else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let maker = name
            .strip_prefix("lk")
            .and_then(|rest| rest.split('-').next());
        if let Some(maker) = maker.and_then(|text| text.parse::<u32>().ok())
            && !Path::new(&format!("/proc/{maker}")).exists()
        {
            run("ip", ["netns", "del", &name]);
        }
    }
}

fn join(server: &Host, client: &Host, link: &str, theirs: &str, ours: &str, net: char) {
    server.ip(&format!(
        "link add {link} type veth peer name eth0 netns {}",
        client.namespace()
    ));
    for (host, link, v4, v6) in [(server, link, ours, 1), (client, "eth0", theirs, 2)] {
        host.ip(&format!("addr add {v4} dev {link}"));
        host.ip(&format!(
            "addr add 2001:db8:0:{net}::{v6}/64 dev {link} nodad"
        ));
        host.ip(&format!("link set {link} up"));
    }
    let gateway = ours.split('/').next().expect("an address");
    client.ip(&format!("route add default via {gateway}"));
    client.ip(&format!("-6 route add default via 2001:db8:0:{net}::1"));
}

//! Several gateways and a client on one link, each in a network namespace with a directory of its own.
//!
//! ```text
//! client 192.0.2.2 ──┐
//! gw1   192.0.2.11 ──┤ bridge in the namespace `hub`, 192.0.2.1
//! gw2   192.0.2.12 ──┤
//! gw3   192.0.2.13 ──┘
//! ```
//! Each gateway listens on 22/tcp behind the rules that `logknock rules` prints for its configuration. All
//! namespaces share one kernel log, so each gateway's rules have a log prefix of their own.

use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::host::{Host, Reach};
use crate::lab::{PATIENCE, namespaces};
use crate::need::need;
use crate::process::{self, Running, eventually, finish};
use crate::turn::{LogAllNetns, Ring, Turn};

/// The gateways and who knocks at them.
#[derive(Debug)]
pub(crate) struct Fleet {
    #[cfg_attr(
        not(feature = "fleet"),
        expect(dead_code, reason = "only the bus needs it")
    )]
    pub(crate) hub: Host,
    pub(crate) client: Host,
    pub(crate) gateways: [Gateway; 3],
    dir: TempDir,
    _switch: LogAllNetns,
    _ring: Turn,
}

/// One gateway.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) host: Host,
    pub(crate) name: &'static str,
    pub(crate) address: Ipv4Addr,
    /// What its LOG rules write first.
    pub(crate) prefix: String,
    dir: PathBuf,
    daemon: Option<Running>,
    _listener: TcpListener,
}

/// Where the client is.
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

impl Fleet {
    /// One that is up, with no daemon yet; `None` when the test has to be skipped for want of something.
    pub(crate) fn new(tools: &[&str]) -> Option<Self> {
        if !need(tools) {
            return None;
        }
        let ring = Turn::at_ring(Ring::Shared);
        let switch = LogAllNetns::on();
        let [hub, client, gw1, gw2, gw3] = namespaces(["hub", "client", "gw1", "gw2", "gw3"]);
        hub.ip("link add br0 type bridge");
        hub.ip("addr add 192.0.2.1/24 dev br0");
        hub.ip("link set br0 up");
        join(&hub, &client, CLIENT);
        let dir = tempfile::tempdir().expect("a directory");
        let secret = RandomState::new().hash_one(std::process::id()) % 10_000_000;
        let hosts = [(gw1, "gw1", 11), (gw2, "gw2", 12), (gw3, "gw3", 13)];
        let gateways = hosts.map(|(host, name, last)| {
            let address = Ipv4Addr::new(192, 0, 2, last);
            join(&hub, &host, address);
            let dir = dir.path().join(name);
            fs::create_dir(&dir).expect("a directory");
            Gateway {
                _listener: host.listen(22),
                host,
                name,
                address,
                prefix: format!("lk-{name}x{secret:07}: "),
                dir,
                daemon: None,
            }
        });
        let fleet = Self {
            hub,
            client,
            gateways,
            dir,
            _switch: switch,
            _ring: ring,
        };
        for gateway in &fleet.gateways {
            eventually("the link comes up", PATIENCE, || {
                fleet.reach(gateway) == Reach::Open
            });
        }
        Some(fleet)
    }

    /// A directory for all of them.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Can the client connect to this gateway's 22/tcp?
    pub(crate) fn reach(&self, gateway: &Gateway) -> Reach {
        self.client.connect((gateway.address, 22).into())
    }
}

impl Gateway {
    /// A path in its directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Writes a file that only root can read, and returns its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("the directory takes files");
        let owner_only = fs::Permissions::from_mode(0o600);
        fs::set_permissions(&path, owner_only).expect("the owner sets the mode");
        path
    }

    /// A logknock command for this gateway, in its namespace.
    pub(crate) fn logknock(&self, words: &[&str]) -> Command {
        let mut command = self.host.command(env!("CARGO_BIN_EXE_logknock"));
        command.args(words);
        command.arg("--config").arg(self.path("logknock.toml"));
        command.arg("--state-dir").arg(self.path("state"));
        command
    }

    /// Loads the rules that `logknock rules` prints for its configuration.
    pub(crate) fn load_rules(&self) {
        let rules = finish(&mut self.logknock(&["rules", "--for", "nft"]));
        let file = self.write("rules.nft", &rules);
        finish(self.host.command("nft").arg("-f").arg(file));
    }

    /// Starts its daemon; returns when it follows its sources.
    pub(crate) fn start(&mut self) {
        let stderr = fs::File::create(self.path("logknock.stderr")).expect("a file");
        let mut argv = vec!["ip".into(), "netns".into(), "exec".into()];
        argv.push(self.host.namespace().to_owned());
        argv.push(env!("CARGO_BIN_EXE_logknock").to_owned());
        for (option, name) in [("--config", "logknock.toml"), ("--state-dir", "state")] {
            argv.push(option.to_owned());
            argv.push(self.path(name).display().to_string());
        }
        let running = Running::start("logknock", &argv, |command| {
            command.stderr(stderr);
        });
        self.daemon = Some(running);
        self.until("it follows", |status| {
            // A log that is not there yet is followed from its first line.
            let sources = status["sources"].as_array().expect("an array");
            sources.iter().all(|source| source["health"] != "starting")
        });
    }

    /// `kill -9`.
    #[cfg_attr(
        not(feature = "fleet"),
        expect(dead_code, reason = "only the bus needs it")
    )]
    pub(crate) fn kill(&mut self) {
        let mut daemon = self.daemon.take().expect("it runs");
        daemon.signal(Signal::KILL);
        eventually("logknock is gone", PATIENCE, || daemon.ended().is_some());
    }

    /// What it wrote to stderr.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.path("logknock.stderr")).unwrap_or_default()
    }

    /// What `status --json` says; nothing while it does not answer.
    pub(crate) fn status(&self) -> Option<serde_json::Value> {
        let done = self
            .logknock(&["status", "--json"])
            .output()
            .expect("it runs");
        serde_json::from_slice(&done.stdout).ok()
    }

    /// Waits until `holds` of its status.
    pub(crate) fn until(&mut self, what: &str, holds: impl Fn(&serde_json::Value) -> bool) {
        let deadline = std::time::Instant::now() + PATIENCE;
        let mut last = None;
        while !last.as_ref().is_some_and(&holds) {
            let ended = self.daemon.as_mut().and_then(Running::ended);
            let in_time = std::time::Instant::now() < deadline;
            let said = || format!("{ended:?}: {last:?}\n{}", self.said());
            assert!(
                in_time && ended.is_none(),
                "{what}: {}: {}",
                self.name,
                said()
            );
            std::thread::sleep(std::time::Duration::from_millis(10));
            last = self.status();
        }
    }

    /// Runs a command of logknock to its end.
    pub(crate) fn ask(&self, words: &[&str]) -> String {
        finish(&mut self.logknock(words))
    }
}

/// Joins a host to the hub's bridge.
fn join(hub: &Host, host: &Host, address: Ipv4Addr) {
    let port = format!("port{}", address.octets()[3]);
    let peer = host.namespace();
    hub.ip(&format!(
        "link add {port} type veth peer name eth0 netns {peer}"
    ));
    hub.ip(&format!("link set {port} master br0 up"));
    host.ip(&format!("addr add {address}/24 dev eth0"));
    host.ip("link set eth0 up");
}

/// Runs a tool in `dir`.
pub(crate) fn run_in(dir: &Path, tool: &str, words: &str) {
    let mut command = process::command(tool);
    finish(command.current_dir(dir).args(words.split_whitespace()));
}

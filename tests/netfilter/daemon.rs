//! logknock itself, as root in the server's namespace, and the doors the tests give it.
//!
//! In: a source and doors in the words of its configuration. Out: a daemon that has said it
//! follows. Beside the tested doors stands one called `fence`: its command writes a line, so that a
//! test knows that everything logged before has been decided, without waiting for luck.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::held;
use crate::host::Host;
use crate::lab::{Family, Hit, Lab, PATIENCE};
use crate::process::{self, Running, eventually, find};

const FENCE: u16 = 60_001;

/// A running logknock.
#[derive(Debug)]
pub(crate) struct Daemon {
    running: Running,
    said: PathBuf,
}

impl Daemon {
    /// Writes the configuration and starts the daemon on it; returns when it follows its source.
    pub(crate) fn start(lab: &Lab, source: &str, doors: &str) -> Self {
        Self::start_beside(lab, &[], source, doors)
    }

    /// The same, behind words such as `nsenter …`.
    pub(crate) fn start_beside(lab: &Lab, words: &[String], source: &str, doors: &str) -> Self {
        let configuration = format!(
            "[log]\nsources = [\"{source}\"]\nprefix = \"{}\"\n\n\
             [door.fence]\nsequence = [{FENCE}]\n\
             start_command = [\"/bin/sh\", \"-c\", \"echo $LOGKNOCK_IP >> {}\"]\n\n{doors}",
            lab.prefix,
            fence_file(lab).display(),
        );
        lab.write("logknock.toml", &configuration);
        Self::restart_beside(lab, words)
    }

    /// Starts it once more on the configuration and the state that are there.
    pub(crate) fn restart(lab: &Lab) -> Self {
        Self::restart_beside(lab, &[])
    }

    /// Starts it on a knockd.conf as it is, with the kernel's log as source.
    pub(crate) fn on_knockd_conf(lab: &Lab, conf: &Path) -> Self {
        Self::on_knockd_conf_beside(lab, &[], conf)
    }

    /// The same, behind words such as `unshare …`.
    pub(crate) fn on_knockd_conf_beside(lab: &Lab, words: &[String], conf: &Path) -> Self {
        let conf = conf.to_str().expect("a plain path");
        let line = [
            "--config",
            conf,
            "--follow",
            "kmsg",
            "--prefix",
            &lab.prefix,
        ];
        Self::launch(lab, words, &line)
    }

    fn restart_beside(lab: &Lab, words: &[String]) -> Self {
        let configuration = lab.path("logknock.toml");
        let configuration = configuration.to_str().expect("a plain path");
        Self::launch(lab, words, &["--config", configuration])
    }

    fn launch(lab: &Lab, words: &[String], line: &[&str]) -> Self {
        let path = lab.path("notify");
        let _ = fs::remove_file(&path);
        let notify = UnixDatagram::bind(&path).expect("a notification socket");
        let said = lab.path("logknock.stderr");
        let state = lab.path("state");
        fs::create_dir_all(&state).expect("a state directory");
        let argv = [
            "ip",
            "netns",
            "exec",
            lab.server.namespace(),
            env!("CARGO_BIN_EXE_logknock"),
            "--state-dir",
            state.to_str().expect("a plain path"),
        ];
        let argv = words.iter().map(String::as_str).chain(argv);
        let argv = argv.chain(line.iter().copied());
        let running = Running::start("logknock", argv, |command| {
            let stderr = fs::File::create(&said).expect("a file");
            command.env("NOTIFY_SOCKET", &path).stderr(stderr);
        });
        let mut daemon = Self { running, said };
        daemon.wait_until_ready(&notify);
        daemon
    }

    fn wait_until_ready(&mut self, notify: &UnixDatagram) {
        let pause = Some(Duration::from_millis(20));
        notify.set_read_timeout(pause).expect("a timeout");
        let mut message = [0; 4096];
        eventually("logknock says that it follows", PATIENCE, || {
            if let Some(status) = self.running.ended() {
                panic!(
                    "logknock ended with {status} before it followed: {}",
                    self.said()
                );
            }
            notify.recv(&mut message).is_ok_and(|length| {
                let text = String::from_utf8_lossy(&message[..length]);
                text.lines().any(|line| line == "READY=1")
            })
        });
    }

    /// What it wrote to stderr.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap_or_default()
    }

    /// Returns when it has decided about everything that `client` did, and the commands of that
    /// have ended.
    pub(crate) fn settle(&mut self, lab: &Lab, client: &Host, family: Family) {
        let before = fences(lab);
        lab.hit(client, family, &[Hit::Tcp(FENCE)]);
        eventually("logknock has seen everything", PATIENCE, || {
            self.running.must_run();
            fences(lab) > before
        });
    }

    /// The journalctls that it reads.
    pub(crate) fn journalctls(&self) -> Vec<Pid> {
        let mut children = process::children(self.running.pid());
        children.retain(|&child| process::name(child) == "journalctl");
        children
    }

    /// How often its thread of this name has gone to sleep.
    pub(crate) fn waits(&self, thread: &str) -> u64 {
        let processes = process::children(self.running.pid());
        let tasks = processes.into_iter().flat_map(|process| {
            let tasks = format!("/proc/{}/task", process.as_raw_nonzero());
            fs::read_dir(tasks).into_iter().flatten().flatten()
        });
        let waits = tasks.filter_map(|task| {
            let status = fs::read_to_string(task.path().join("status")).ok()?;
            let is_it = status.starts_with(&format!("Name:\t{thread}\n"));
            let (_, waits) = status.split_once("\nvoluntary_ctxt_switches:\t")?;
            waits.lines().next().filter(|_| is_it)?.parse::<u64>().ok()
        });
        waits.sum()
    }

    /// What `logknock status` prints.
    pub(crate) fn status(lab: &Lab) -> String {
        Self::status_of(lab, &[])
    }

    /// The same with options.
    pub(crate) fn status_of(lab: &Lab, options: &[&str]) -> String {
        let mut command = process::command(env!("CARGO_BIN_EXE_logknock"));
        command.arg("status").args(options);
        command.arg("--config").arg(lab.path("logknock.toml"));
        process::finish(command.arg("--state-dir").arg(lab.path("state")))
    }

    /// Fails the test when it has ended by itself.
    pub(crate) fn must_run(&mut self) {
        self.running.must_run();
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait(mut self) -> ExitStatus {
        let mut status = None;
        eventually("logknock ends by itself", PATIENCE, || {
            status = self.running.ended();
            status.is_some()
        });
        status.expect("it has ended")
    }

    /// Holds it still.
    pub(crate) fn pause(&self) {
        self.processes().into_iter().for_each(held::hold);
    }

    /// Lets it go on.
    pub(crate) fn go_on(&self) {
        self.processes().into_iter().for_each(held::let_go);
    }

    /// The monitor and its detector.
    fn processes(&self) -> Vec<Pid> {
        let own = Pid::from_raw(self.running.pid().cast_signed());
        let children = process::children(self.running.pid());
        own.into_iter().chain(children).collect()
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.running.signal(Signal::KILL);
        eventually("logknock is gone", PATIENCE, || {
            self.running.ended().is_some()
        });
    }

    /// SIGTERM, and its exit status.
    pub(crate) fn stop(mut self) -> ExitStatus {
        self.running.signal(Signal::TERM);
        let mut status = None;
        eventually("logknock stops", PATIENCE, || {
            status = self.running.ended();
            status.is_some()
        });
        status.expect("it has ended")
    }
}

/// A door that opens 22/tcp with a rule of iptables or ip6tables.
pub(crate) fn iptables_door(sequence: &str, window: &str, hold: &str) -> String {
    door(sequence, window, hold, |[how, _], family| {
        let tool = find(["iptables", "ip6tables"][family]).expect("need() found it");
        let tool = tool.display();
        format!("\"{tool} -w {how} INPUT -s %IP% -p tcp --dport 22 -j ACCEPT\"")
    })
}

/// A door that opens 22/tcp with an element of the sets that [`firewall::nft`] makes.
///
/// [`firewall::nft`]: crate::firewall::nft
pub(crate) fn nft_door(sequence: &str, window: &str, hold: &str) -> String {
    door(sequence, window, hold, |[_, how], family| {
        let nft = find("nft").expect("need() found it");
        let nft = nft.display();
        let set = ["open4", "open6"][family];
        format!(r#"["{nft}", "{how}", "element", "inet", "lab", "{set}", "{{", "%IP%", "}}"]"#)
    })
}

/// A door whose commands are made from a verb (as iptables and as nft says it) and 0 for IPv4 or 1
/// for IPv6.
fn door(
    sequence: &str,
    window: &str,
    hold: &str,
    command: impl Fn([&str; 2], usize) -> String,
) -> String {
    let (open, close) = (["-I", "add"], ["-D", "delete"]);
    format!(
        r#"
[door.ssh]
sequence = [{sequence}]
seq_timeout = "{window}"
cmd_timeout = "{hold}"
start_command = {}
stop_command = {}
start_command_6 = {}
stop_command_6 = {}
"#,
        command(open, 0),
        command(close, 0),
        command(open, 1),
        command(close, 1),
    )
}

fn fence_file(lab: &Lab) -> PathBuf {
    lab.path("fence")
}

fn fences(lab: &Lab) -> usize {
    fs::read_to_string(fence_file(lab)).map_or(0, |text| text.lines().count())
}

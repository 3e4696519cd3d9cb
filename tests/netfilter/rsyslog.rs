//! The real rsyslogd, with its own configuration, directory and pid file, writing the kernel's
//! lines of facility 0 to a file that only root can read.
//!
//! `imklog` reads `/proc/kmsg`, which gives each line to one reader only: such a syslog waits for its
//! turn, and where another program of the machine reads there already, `imkmsg` stands in for it.
//! `imkmsg` reads `/dev/kmsg`, side by side with others; its lines carry no `[seconds]`.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::lab::{Lab, PATIENCE};
use crate::process::{Running, eventually, find};
use crate::turn::Turn;

/// The socket that stands for `/dev/log`, and the file of what comes there.
const SOCKET: &str = "dev-log";
const USERS: &str = "users.log";

/// Which module brings the kernel's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Module {
    /// What Debian configures.
    Imklog,
    /// Any number of them may run at once.
    Imkmsg,
}

impl Module {
    fn name(self) -> &'static str {
        match self {
            Self::Imklog => "imklog",
            Self::Imkmsg => "imkmsg",
        }
    }
}

/// A running rsyslogd.
#[derive(Debug)]
pub(crate) struct Rsyslog {
    running: Running,
    log: PathBuf,
    _turn: Option<Turn>,
}

impl Rsyslog {
    /// Starts it, and returns when its file shows what the kernel logs now.
    pub(crate) fn start(lab: &Lab, module: Module) -> Self {
        let (module, turn) = match module {
            Module::Imkmsg => (module, None),
            Module::Imklog => {
                let turn = Turn::at_proc_kmsg();
                match another_reader() {
                    None => (module, Some(turn)),
                    Some(pid) => {
                        let _ = writeln!(
                            io::stderr(),
                            "imkmsg instead of imklog: process {pid} reads /proc/kmsg"
                        );
                        (Module::Imkmsg, None)
                    }
                }
            }
        };
        let log = lab.path("kern.log");
        let configuration = lab.write("rsyslog.conf", &configuration(lab, module, &log));
        let rsyslogd = find("rsyslogd").expect("need() found it");
        let argv: [OsString; 6] = [
            rsyslogd.into(),
            "-n".into(),
            "-f".into(),
            configuration.into(),
            "-i".into(),
            pid_file(lab).into(),
        ];
        let mut syslog = Self {
            running: started(&argv, module),
            log,
            _turn: turn,
        };
        syslog.catch_up(lab);
        syslog
    }

    /// The file it writes.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// The socket to which users send, as they do to `/dev/log`.
    pub(crate) fn socket(&self) -> PathBuf {
        self.log.with_file_name(SOCKET)
    }

    /// The file of what users send.
    pub(crate) fn log_of_users(&self) -> PathBuf {
        self.log.with_file_name(USERS)
    }

    /// Waits until everything that the kernel has logged by now is in the file.
    pub(crate) fn catch_up(&mut self, lab: &Lab) {
        let (mut mark, mut marked) = (lab.mark(), Instant::now());
        eventually("rsyslogd writes what the kernel logs", PATIENCE, || {
            self.running.must_run();
            if marked.elapsed() > Duration::from_secs(1) {
                // The one before may be in a file that was rotated away just then.
                (mark, marked) = (lab.mark(), Instant::now());
            }
            Lab::has_mark(&self.text(), &mark)
        });
    }

    /// What the file holds.
    pub(crate) fn text(&self) -> String {
        fs::read(&self.log).map_or_else(
            |_| String::new(),
            |bytes| String::from_utf8_lossy(&bytes).into_owned(),
        )
    }

    /// Sends SIGHUP: it opens its file anew.
    pub(crate) fn reopen(&self) {
        self.running.signal(Signal::HUP);
    }
}

/// Starts an rsyslogd that reads the kernel's log. `imkmsg` gives up for good when the ring overtakes it
/// in the moment of its start; such a one is started once more.
pub(crate) fn started(argv: &[OsString], module: Module) -> Running {
    let input = format!("in:{}", module.name());
    let mut running = None;
    eventually("rsyslogd reads what the kernel logs", PATIENCE, || {
        let start = || {
            let started = Running::start("rsyslogd", argv, |_| {});
            (started, Instant::now())
        };
        let (it, since) = running.get_or_insert_with(start);
        it.must_run();
        let reads = has_thread(it.pid(), &input);
        if !reads && since.elapsed() > Duration::from_secs(3) {
            running = None;
        }
        reads
    });
    running.expect("it reads").0
}

fn has_thread(pid: u32, name: &str) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    let mut tasks = tasks.into_iter().flatten().flatten();
    tasks.any(|task| {
        fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim() == name)
    })
}

/// Where its process id stands, for a logrotate script.
pub(crate) fn pid_file(lab: &Lab) -> PathBuf {
    lab.path("rsyslogd.pid")
}

fn configuration(lab: &Lab, module: Module, log: &Path) -> String {
    let module = module.name();
    format!(
        r#"global(workDirectory="{dir}")
module(load="{module}")
if $inputname == "{module}" and $syslogfacility == 0 then {{
    action(type="omfile" file="{log}" FileCreateMode="0600")
}}
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{socket}" CreatePath="on" RateLimit.Interval="0")
if $inputname == "imuxsock" then {{
    action(type="omfile" file="{users}" FileCreateMode="0600")
}}
"#,
        dir = lab.dir().display(),
        log = log.display(),
        socket = log.with_file_name(SOCKET).display(),
        users = log.with_file_name(USERS).display(),
    )
}

/// A process that has `/proc/kmsg` open.
fn another_reader() -> Option<String> {
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut numbered = processes.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        name.bytes().all(|b| b.is_ascii_digit()).then_some(name)
    });
    numbered.find(|pid| {
        fs::read_dir(format!("/proc/{pid}/fd")).is_ok_and(|mut open| {
            open.any(|fd| {
                fd.and_then(|fd| fs::read_link(fd.path()))
                    .is_ok_and(|target| target == Path::new("/proc/kmsg"))
            })
        })
    })
}

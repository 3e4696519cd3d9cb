//! Real syslog daemons that write a file which is followed, each as a user's own process.
//!
//! rsyslogd reads lines from a socket in a directory of its own, and opens its file anew at SIGHUP, as
//! logrotate's `postrotate` has it do.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::logknock::eventually;

/// A running rsyslogd.
pub(crate) struct Rsyslogd {
    child: Child,
    socket: UnixDatagram,
}

impl Rsyslogd {
    /// One that writes to `log`, with its own files in `dir`. Returns when it takes lines.
    pub(crate) fn start(dir: &Path, log: &Path) -> Self {
        let (socket, pid_file) = (dir.join("socket"), dir.join("rsyslogd.pid"));
        let configuration = format!(
            "global(workDirectory=\"{dir}\" net.enableDNS=\"off\")\n\
             module(load=\"imuxsock\" SysSock.Use=\"off\")\n\
             input(type=\"imuxsock\" Socket=\"{socket}\" RateLimit.Interval=\"0\" ParseHostname=\"off\")\n\
             template(name=\"line\" type=\"string\" string=\"%msg:2:$%\\n\")\n\
             action(type=\"omfile\" file=\"{log}\" template=\"line\" FileCreateMode=\"0600\")\n",
            dir = dir.display(),
            socket = socket.display(),
            log = log.display(),
        );
        fs::write(dir.join("rsyslog.conf"), configuration).unwrap();
        let child = Command::new("rsyslogd")
            .arg("-n")
            .arg("-f")
            .arg(dir.join("rsyslog.conf"))
            .arg("-i")
            .arg(&pid_file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        eventually(
            || pid_file.exists() && sender.connect(&socket).is_ok(),
            || "rsyslogd does not start".to_owned(),
        );
        Self {
            child,
            socket: sender,
        }
    }

    /// A handle for another thread to send with.
    pub(crate) fn socket(&self) -> UnixDatagram {
        self.socket.try_clone().unwrap()
    }
}

impl Drop for Rsyslogd {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Sends a line as a program's message.
pub(crate) fn send(socket: &UnixDatagram, line: &str) {
    let message = format!("<4>Jan  1 00:00:00 test: {line}");
    socket.send(message.as_bytes()).unwrap();
}

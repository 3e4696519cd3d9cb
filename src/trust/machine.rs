//! What of this machine matters for trust: who we are, who syslog is, and two switches.
//!
//! In: nothing. Out: a [`Machine`]. The only reader of these files; what cannot be read is taken as it
//! is on a machine that has it not.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "user names, a sysctl and whether a device opens are in files"
)]

use std::fs::{self, File};

/// The account that writes logs on Debian and its descendants.
const SYSLOG: &str = "syslog";

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The user that we run as.
    pub user: u32,
    /// Users that may own a log: root, us, and syslog where it has a user of its own.
    pub log_owners: Vec<u32>,
    /// Groups that may write where logs are: root's and syslog's.
    pub log_groups: Vec<u32>,
    /// Whether namespaces other than the first write to the kernel's log.
    pub logs_all_netns: bool,
    /// Whether `/dev/kmsg` opens for us.
    pub can_read_kmsg: bool,
}

impl Machine {
    /// This machine.
    pub fn look() -> Self {
        let user = rustix::process::geteuid().as_raw();
        let mut log_owners = vec![0, user];
        log_owners.extend(number_of(SYSLOG, "/etc/passwd"));
        let mut log_groups = vec![0];
        log_groups.extend(number_of(SYSLOG, "/etc/group"));
        let all_netns = fs::read_to_string("/proc/sys/net/netfilter/nf_log_all_netns");
        Self {
            user,
            log_owners,
            log_groups,
            logs_all_netns: all_netns.is_ok_and(|value| value.trim() == "1"),
            can_read_kmsg: File::open("/dev/kmsg").is_ok(),
        }
    }
}

/// The number of the user that is named, or given as a number.
pub fn user_number(name: &str) -> Option<u32> {
    name.parse().ok().or_else(|| number_of(name, "/etc/passwd"))
}

/// The number of the account called `name`, in a file of `name:password:number:…`.
fn number_of(name: &str, path: &str) -> Option<u32> {
    let accounts = fs::read_to_string(path).ok()?;
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        fields.nth(1)?.parse().ok()
    })
}

//! What of this machine matters for trust: our user, syslog's user, and a few switches.
//!
//! In: nothing. Out: a [`Machine`]. The only reader of these files. A file that cannot be read counts as missing.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a sysctl and whether a device opens are in files"
)]

use std::fs::{self, File};
use std::path::Path;

use crate::accounts::{group_number, user_number};

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
    /// Whether every user can read the kernel's log.
    pub shows_kernel_log: bool,
    /// Whether `/dev/kmsg` opens for us.
    pub can_read_kmsg: bool,
}

impl Machine {
    /// This machine.
    pub fn look() -> Self {
        let user = rustix::process::geteuid().as_raw();
        let mut log_owners = vec![0, user];
        log_owners.extend(user_number(SYSLOG));
        let mut log_groups = vec![0];
        log_groups.extend(group_number(SYSLOG));
        let is = |switch: &str, wanted: &str| {
            let value = fs::read_to_string(Path::new("/proc/sys").join(switch));
            value.is_ok_and(|value| value.trim() == wanted)
        };
        Self {
            user,
            log_owners,
            log_groups,
            logs_all_netns: is("net/netfilter/nf_log_all_netns", "1"),
            shows_kernel_log: is("kernel/dmesg_restrict", "0"),
            can_read_kmsg: File::open("/dev/kmsg").is_ok(),
        }
    }
}

//! A bare Debian to boot: made by debootstrap once, in the directory for tests.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::fs::{FlockOperation, flock};

use crate::need::lacks;
use crate::process::command;

/// What tests need of it beside the smallest system.
const INCLUDED: &str = "systemd,systemd-sysv,nftables,iptables,ipset,iptables-persistent,iproute2,logrotate,openssh-server,netcat-openbsd";

/// A root directory of Debian (or Ubuntu, as this machine is) without anything of ours. `None` where it cannot be made, for
/// which the test is skipped. The tool `debootstrap` must be there.
pub(crate) fn debian() -> Option<PathBuf> {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian");
    let lock = OpenOptions::new()
        .append(true)
        .create(true)
        .open(place.with_extension("lock"))
        .expect("a lock");
    flock(&lock, FlockOperation::LockExclusive).expect("the lock is granted");
    let included = place.with_extension("included");
    if !place.exists() || fs::read_to_string(&included).unwrap_or_default() != INCLUDED {
        let half = place.with_extension("half");
        for old in [&half, &place] {
            let _ = fs::remove_dir_all(old);
        }
        let release = fs::read_to_string("/etc/os-release").expect("it is there");
        let name = release
            .lines()
            .find_map(|line| line.strip_prefix("VERSION_CODENAME="));
        // Where Ubuntu has some of them.
        let is_ubuntu = release.lines().any(|line| line == "ID=ubuntu");
        let components = if is_ubuntu { "main,universe" } else { "main" };
        let made = command("debootstrap")
            .args(["--variant=minbase", &format!("--include={INCLUDED}")])
            .arg(format!("--components={components}"))
            .arg(name.unwrap_or("stable"))
            .arg(&half)
            .stdin(Stdio::null())
            .output()
            .expect("debootstrap");
        if !made.status.success() {
            let said = String::from_utf8_lossy(&made.stdout);
            lacks(&format!(
                "an archive of packages: {:?}",
                said.lines().last()
            ));
            return None;
        }
        fs::rename(half, &place).expect("a name");
        fs::write(included, INCLUDED).expect("a file");
    }
    Some(place)
}

//! What a test needs, and what happens where it is missing: a skip that says so, or a failure.
//!
//! In: the names of tools. Out: whether to go on. It never lets a skip look like a pass: each one
//! is a line on stderr and in the file named by `LOGKNOCK_SKIPS`, from where `tests/run` counts.

use std::env;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::thread;

use crate::process;

/// The switch that lets the kernel log packets of namespaces other than the first.
pub(crate) const LOG_ALL_NETNS: &str = "/proc/sys/net/netfilter/nf_log_all_netns";

/// True when root, network namespaces, netfilter logging and `tools` are all there; else the test
/// is skipped, or fails where everything is required.
pub(crate) fn need(tools: &[&str]) -> bool {
    match missing(tools) {
        None => true,
        Some(cause) => {
            lacks(&cause);
            false
        }
    }
}

/// Skips this test for want of `cause`, or fails it where everything is required.
pub(crate) fn lacks(cause: &str) {
    let required = env::var_os("LOGKNOCK_REQUIRE").is_some_and(|v| v == "1");
    assert!(
        !required,
        "needs {cause}, and LOGKNOCK_REQUIRE=1 allows no skip"
    );
    skip(cause);
}

/// True when the long form of a test is asked for.
pub(crate) fn long() -> bool {
    env::var_os("LOGKNOCK_LONG").is_some_and(|v| v == "1")
}

fn missing(tools: &[&str]) -> Option<String> {
    static MACHINE: OnceLock<Option<String>> = OnceLock::new();
    MACHINE.get_or_init(missing_in_machine).clone().or_else(|| {
        tools
            .iter()
            .find(|tool| process::find(tool).is_none())
            .map(|tool| (*tool).to_owned())
    })
}

fn missing_in_machine() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("root".to_owned());
    }
    if let Some(tool) = ["ip", "nft", "setpriv", "unshare"]
        .into_iter()
        .find(|tool| process::find(tool).is_none())
    {
        return Some(tool.to_owned());
    }
    if !Path::new(LOG_ALL_NETNS).exists() {
        return Some("net.netfilter.nf_log_all_netns (netfilter logging in namespaces)".to_owned());
    }
    let unshared = Command::new("unshare").args(["--net", "true"]).output();
    if !unshared.is_ok_and(|done| done.status.success()) {
        return Some("the right to make network namespaces".to_owned());
    }
    OpenOptions::new()
        .write(true)
        .open(LOG_ALL_NETNS)
        .err()
        .map(|error| format!("a writable net.netfilter.nf_log_all_netns ({error})"))
}

/// Says that this test is skipped for want of `cause`.
pub(crate) fn skip(cause: &str) {
    let name = thread::current().name().unwrap_or("?").to_owned();
    // Past the test harness, which shows nothing of a test that ends well.
    let _ = writeln!(io::stderr(), "skipped: needs {cause}");
    let Some(list) = env::var_os("LOGKNOCK_SKIPS") else {
        return;
    };
    let mut list = OpenOptions::new()
        .append(true)
        .create(true)
        .open(list)
        .expect("the file named by LOGKNOCK_SKIPS takes lines");
    // One write, so that lines of parallel tests do not mix.
    list.write_all(format!("{name}: needs {cause}\n").as_bytes())
        .expect("the skip is written down");
}

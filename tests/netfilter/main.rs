//! End to end, with the real parts: the kernel's LOG lines, nft, iptables, rsyslogd, journald,
//! logrotate, knockd, inside network namespaces of their own.
//!
//! Root is needed, and the tools that a test names. Where one is missing the test says
//! `skipped: needs …` on stderr and in the file named by `LOGKNOCK_SKIPS`, and `tests/run` does not
//! count it as passed; with `LOGKNOCK_REQUIRE=1` it fails instead. `LOGKNOCK_LONG=1` lengthens some.
//!
//! The surprising fact: namespaces share one kernel log. Each lab has a random prefix, so that labs
//! do not disturb each other; what reads `/proc/kmsg` (one reader only) or floods the log takes turns.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a laboratory is all edge: it starts processes, opens sockets and waits for real time"
)]

#[cfg(test)]
mod agree;
#[cfg(test)]
mod attack;
#[cfg(test)]
mod benches;
#[cfg(test)]
mod beside;
#[cfg(test)]
mod booted;
#[cfg(test)]
mod client;
#[cfg(test)]
mod container;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod daemon;
#[cfg(test)]
mod debian;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod doors;
#[cfg(test)]
mod firewall;
#[cfg(test)]
mod fleet;
#[cfg(feature = "fleet")]
#[cfg(test)]
mod fleet_attacks;
#[cfg(feature = "fleet")]
#[cfg(test)]
mod fleet_bus;
#[cfg(test)]
mod fleet_logs;
#[cfg(feature = "fleet")]
#[cfg(test)]
mod fleet_power;
#[cfg(test)]
mod forgery;
#[cfg(test)]
mod guard;
#[cfg(test)]
#[path = "../integration/held.rs"]
mod held;
#[cfg(test)]
mod host;
#[cfg(test)]
mod journal_faults;
#[cfg(test)]
mod journald;
#[cfg(test)]
mod kernel_only;
#[cfg(test)]
mod kernel_scenarios;
#[cfg(test)]
mod kmsg;
#[cfg(test)]
mod kmsg_faults;
#[cfg(test)]
mod knockd;
#[cfg(test)]
mod knockd_conf;
#[cfg(test)]
mod lab;
#[cfg(test)]
mod latency;
#[cfg(test)]
mod lives_on;
#[cfg(test)]
mod logrotate;
#[cfg(test)]
mod need;
#[cfg(test)]
mod netlink;
#[cfg(test)]
mod new_user;
#[cfg(test)]
mod nflog;
#[cfg(test)]
mod nflog_differs;
#[cfg(test)]
mod once;
#[cfg(test)]
mod open_sesamy;
#[cfg(test)]
mod opens;
#[cfg(test)]
mod other_firewalls;
#[cfg(test)]
mod packages;
#[cfg(feature = "fleet")]
mod packages_fleet;
#[cfg(test)]
mod packages_scripts;
#[cfg(test)]
mod parts;
#[cfg(test)]
mod process;
#[cfg(test)]
#[path = "../integration/random.rs"]
mod random;
#[cfg(test)]
mod readme;
#[cfg(test)]
mod relays;
#[cfg(test)]
mod replayed;
#[cfg(test)]
mod rotation;
#[cfg(test)]
mod rsyslog;
#[cfg(test)]
mod scan;
#[cfg(test)]
mod sesamy_patterns;
#[cfg(test)]
mod sesamy_scene;
#[cfg(test)]
mod sources;
#[cfg(test)]
mod turn;
#[cfg(test)]
mod unit;
#[cfg(test)]
mod wire;

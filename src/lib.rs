//! `logknock`: a port-knock detector that reads the firewall's own log. This page is the map.
//!
//! ```text
//! source ──lines▶ engine ──findings▶ privsep ══▶ monitor ──▶ grants ──▶ ledger, commands
//!                   │ events
//!                   ▼
//!            detector::report, render
//! ```
//!
//! * [`engine`] — pure: bytes and times in, orders and events out. The detection and the grants are here.
//! * [`source`] — edge in: follows what a syslog writes, and hands over whole lines.
//! * [`detector`] — the loop of the process that reads the logs. [`confine`] — what it gives up.
//! * [`monitor`] — the process that may act: grants on disk, commands, requests. [`privsep`] — what the two
//!   say to each other.
//! * [`signals`], [`systemd`] — signals to us, and notifications to systemd. [`replay`] — the same engine on a
//!   finished log.
//! * [`config`] — the file, and all its mistakes at once. [`source_spec`] — where lines come from.
//! * [`firewall`] — `opens` as commands, and the base rules as text.
//! * [`fleet`] — which grants of other gateways count here, and who may use a code.
//! * [`trust`] — what a source may be believed, and why not.
//! * [`dialect`] — the forms of a line: the built-in formats and the operator's own. [`calendar`] — header stamps in UTC.
//! * [`knock`] — the client, apart from all that.
//! * [`memory`] — the last events of each address, and their meaning at each door.
//! * [`protocol`] — what the daemon is asked and answers. [`metrics`] — its counters as Prometheus text.
//! * [`rights`] — the other users that could change a file. [`accounts`] — the users and groups of this machine.
//! * [`clock`] — the only reader of clocks. [`render`] — events as text and JSON. [`report`] — a replay as a page.
//! * [`cli`] — the command line, and the only printing code.
//!
//! `ARCHITECTURE.md` says who may import whom.

pub mod accounts;
pub mod calendar;
pub mod child;
pub mod cli;
pub mod clock;
pub mod config;
pub mod confine;
pub mod detector;
pub mod dialect;
pub mod engine;
pub mod firewall;
pub mod fleet;
pub mod knock;
pub mod memory;
pub mod metrics;
pub mod monitor;
pub mod privsep;
pub mod protocol;
pub mod render;
pub mod replay;
pub mod report;
pub mod rights;
pub mod signals;
pub mod source;
pub mod source_spec;
pub mod systemd;
pub mod trust;

// Tests inside and outside name it alike, so that both can have the same examples.
#[cfg(test)]
extern crate self as logknock;

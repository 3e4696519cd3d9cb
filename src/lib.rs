//! `logknock`: a port-knock detector that reads the firewall's own log.

pub mod clock;
pub mod config;
pub mod dialect;
pub mod engine;
pub mod runner;
pub mod source;
pub mod source_spec;

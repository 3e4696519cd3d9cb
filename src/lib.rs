//! `logknock`: a port-knock detector that reads the firewall's own log.

pub mod config;
pub mod dialect;
pub mod clock;
pub mod engine;

pub mod source;
pub mod source_spec;
pub mod runner;

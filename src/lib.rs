//! `logknock`: a port-knock detector that reads the firewall's own log.

pub mod engine;

//! The engine: bytes and times in, actions and events out.

pub mod action;
pub mod command;
pub mod door;
pub mod event;
pub mod line;
pub mod packet;
pub mod reason;
pub mod sequence;
pub mod time;

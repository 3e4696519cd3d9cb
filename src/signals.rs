//! Signals: what they ask of the daemon.
//!
//! In: SIGTERM, SIGINT, SIGHUP. Out: descriptors that become readable, and what came. A process that is
//! not to have them ignores them.

use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::fs::{OFlags, fcntl_setfl};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::low_level::pipe;

/// What a signal asks of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT: stop.
    Stop,
    /// SIGHUP: read the configuration again.
    Reload,
}

/// Leaves signals to another process: a terminal sends them to both.
pub fn ignore() -> io::Result<()> {
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        // A handler that does nothing, and undoes what a parent may have left.
        flag::register(signal, Arc::default())?;
    }
    Ok(())
}

/// The signals of this process, from now on.
#[derive(Debug)]
pub struct Signals {
    stop: PipeReader,
    reload: PipeReader,
}

impl Signals {
    /// Takes over the signals of this process.
    pub fn take() -> io::Result<Self> {
        Ok(Self {
            stop: listen_for(&[SIGTERM, SIGINT])?,
            reload: listen_for(&[SIGHUP])?,
        })
    }

    /// What becomes readable when a signal has come.
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.stop.as_fd(), self.reload.as_fd()]
    }

    /// What has come since the last call, each once.
    pub fn pending(&mut self) -> Vec<Signal> {
        let pipes = [
            (&mut self.stop, Signal::Stop),
            (&mut self.reload, Signal::Reload),
        ];
        let came = pipes.into_iter().filter_map(|(pipe, signal)| {
            let mut bytes = [0; 64];
            let mut has_come = false;
            while pipe.read(&mut bytes).is_ok_and(|length| length > 0) {
                has_come = true;
            }
            has_come.then_some(signal)
        });
        came.collect()
    }
}

fn listen_for(signals: &[i32]) -> io::Result<PipeReader> {
    let (reader, writer) = io::pipe()?;
    fcntl_setfl(&reader, OFlags::NONBLOCK)?;
    for &signal in signals {
        pipe::register(signal, writer.try_clone()?)?;
    }
    Ok(reader)
}

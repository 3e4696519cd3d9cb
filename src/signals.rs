//! Signals: what they ask of the daemon, told to whoever has them; or, for who has them not, nothing.

use std::io;
use std::sync::Arc;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
pub use signal_hook::iterator::Handle;
use signal_hook::iterator::Signals;

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

/// Tells signals by `tell` from now on, until it says that nobody listens or the handle is closed.
pub fn listen(mut tell: impl FnMut(Signal) -> bool + Send + 'static) -> io::Result<Handle> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let handle = signals.handle();
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in &mut signals {
                let signal = if signal == SIGHUP {
                    Signal::Reload
                } else {
                    Signal::Stop
                };
                if !tell(signal) {
                    return;
                }
            }
        })?;
    Ok(handle)
}

//! The detector as the monitor has started it: it reads the logs, and reports its findings to the monitor.
//!
//! In: the command line, and what the monitor says of the configuration. Out: the detector's loop, until its end.

use std::io;
use std::os::fd::AsFd;

use rustix::process::{Signal, set_parent_process_death_signal};

use super::Format;
use super::exit::{Code, Failure};
use super::follow;
use super::settings::{Global, Settings};
use crate::config::{self, Written};
use crate::privsep::Link;

/// Runs the detector, which the monitor has started.
pub(super) fn run(args: &follow::Args, global: &Global, format: Format) -> Result<(), Failure> {
    follow::log_to_stderr(args);
    // It ends with the monitor, however that ends.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(io::Error::from)?;
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    let (link, mut welcome) =
        Link::open(socket).map_err(|error| Failure::new(Code::Usage, error))?;
    if !link.is_attended() {
        // It was gone before we asked to go with it.
        return Err(Failure::new(Code::Internal, ""));
    }
    let settings = read(global, &std::mem::take(&mut welcome.rules))
        .map_err(|message| Failure::new(Code::Internal, message))?;
    let sources = args.sources(&settings);
    let again = global.clone();
    let reload = Box::new(move |text: &str| Ok(follow::rules(read(&again, text)?)));
    let monitor = Some((link, welcome));
    follow::work(args, global, settings, sources, format, monitor, reload)
}

fn read(global: &Global, text: &str) -> Result<Settings, String> {
    let written = serde_json::from_str(text).map_err(|error| error.to_string())?;
    reread(global, &written)
}

/// What the monitor has read.
pub(super) fn reread(global: &Global, written: &Written) -> Result<Settings, String> {
    let config = config::reread(written).map_err(|errors| errors.to_string())?;
    Ok(global.settings(config))
}

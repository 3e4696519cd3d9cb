//! The look at the firewall's rules that the monitor has started.
//!
//! In: on standard input, whether they may be loaded again, and what the monitor has of the configuration. Out: one line.

use std::io::{self, Write as _};

use rustix::process::{Signal, set_parent_process_death_signal};

use super::exit::{Code, Failure};
use super::load::Loaded;
use super::settings::Global;
use super::{detector, kernel};
use crate::config::{Config, Written};
use crate::firewall::live::Fault;
use crate::protocol::FirewallStatus;

/// The name that tells this program that it is one.
pub(super) const LOOK: &str = "logknock-firewall";
/// The most faults that are reported.
const MAX_FAULTS: usize = 16;

/// Runs the look.
pub(super) fn run(global: &Global) -> Result<(), Failure> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(io::Error::from)?;
    let (may_heal, written): (bool, Written) = serde_json::from_reader(io::stdin().lock())?;
    let settings = detector::reread(global, &written)
        .map_err(|message| Failure::new(Code::Internal, message))?;
    let status = look(&settings.config, global, may_heal);
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, &status)?;
    Ok(out.flush()?)
}

fn look(config: &Config, global: &Global, may_heal: bool) -> FirewallStatus {
    let mut faults = match kernel::faults(config) {
        Ok(faults) => faults,
        Err(why) => return FirewallStatus::unknown(&why),
    };
    let is_wanted = config
        .firewall
        .as_ref()
        .is_some_and(|firewall| firewall.heal);
    let mut status = FirewallStatus::default();
    let is_missing = |faults: &[Fault]| faults.iter().any(Fault::is_of_missing_rules);
    if is_wanted
        && is_missing(&faults)
        && let Some(loaded) = Loaded::read(&global.state_dir)
    {
        let healed = if may_heal {
            loaded.load_again(config, global)
        } else {
            Err("that was tried too often within an hour".to_owned())
        };
        faults = kernel::faults(config).unwrap_or(faults);
        status.not_healed = match healed {
            Ok(()) if is_missing(&faults) => {
                Some("the rules that were loaded last do not fit the configuration".to_owned())
            }
            healed => healed.err(),
        };
        status.healed = status.not_healed.is_none();
    }
    let faults = faults.iter().take(MAX_FAULTS);
    status.faults = faults.map(ToString::to_string).collect();
    status
}

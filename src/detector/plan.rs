//! What the daemon is to do, as the command line and the config say it.
//!
//! In: nothing; the caller fills it in. It holds two callbacks, because only the caller reads the config and prints.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::dialect::Readers;
use crate::engine::door::Door;
use crate::engine::event::Event;
use crate::engine::knock::KnockerPrefix;
use crate::engine::time::Time;
use crate::privsep::{Link, Record, Welcome};
use crate::source_spec::SourceSpec;

/// What counts as a knock, and what it opens.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The doors.
    pub doors: Vec<Arc<Door>>,
    /// How the lines of each source are read, what they must begin with, and at which doors they may knock.
    pub readers: Readers,
    /// How old a line may be.
    pub max_line_age: Duration,
    /// Which IPv6 addresses are one knocker.
    pub knocker_prefix: KnockerPrefix,
}

/// What is reported to the caller while the daemon runs.
#[derive(Debug)]
pub enum Told<'a> {
    /// Something happened, at this time from the Unix epoch, to a line of this source.
    Event(&'a Event, Time, Option<&'a SourceSpec>),
    /// In a dry run: what would be run.
    Would(&'a [String]),
}

/// Makes rules of a text that the monitor has read, or says what is wrong with them. In a dry run there is no
/// monitor, and it reads the files itself.
pub type Reload = Box<dyn FnMut(&str) -> Result<Rules, String>>;

/// Everything the daemon is to do.
pub struct Plan {
    /// What counts and what it opens.
    pub rules: Rules,
    /// Where lines come from.
    pub sources: Vec<SourceSpec>,
    /// Networks that may send to a `udp:` source; none means this machine.
    pub udp_peers: Vec<IpNet>,
    /// The number of the user who may send to a `unix:` source, beside root and ourselves.
    pub relay: Option<u32>,
    /// The monitor, which holds the grants, with what it said first; none in a dry run, where commands are only
    /// told.
    pub monitor: Option<(Link, Welcome)>,
    /// The files of a dry run's records; those of a daemon come from the monitor.
    pub records: Vec<(Record, Option<OwnedFd>)>,
    /// Called when the configuration is to be taken again.
    pub reload: Reload,
    /// Called once, when this process has given up all rights that it does not need.
    pub confined: Box<dyn FnOnce()>,
    /// Called for every event.
    pub tell: Box<dyn FnMut(Told<'_>)>,
}

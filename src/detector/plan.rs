//! What the daemon is to do, as the command line and the config say it.
//!
//! In: nothing; the caller fills it in. It holds two callbacks, because only the caller reads the config and prints.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::dialect::Readers;
use crate::engine::door::Door;
use crate::engine::event::Event;
use crate::engine::knock::KnockerPrefix;
use crate::engine::time::Time;
use crate::privsep::{Link, Welcome};
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

/// Gets every event, with its time from the Unix epoch and the source of its line.
pub type Tell = Box<dyn FnMut(&Event, Time, Option<&SourceSpec>)>;

/// Makes rules of a text that the monitor has read, or says what is wrong with them.
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
    /// The monitor, which holds the grants, with what it said first.
    pub monitor: (Link, Welcome),
    /// Called when the configuration is to be taken again.
    pub reload: Reload,
    /// Called once, when this process has given up all rights that it does not need.
    pub confined: Box<dyn FnOnce()>,
    /// Called for every event.
    pub tell: Tell,
}

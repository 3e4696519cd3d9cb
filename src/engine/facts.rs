//! What the commands of a door may know.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use super::command::Facts;
use super::door::Door;
use super::knock::Hit;
use super::sequence::{Step, Transport};

/// Of a door that is opened by `hit`.
pub fn of(hit: &Hit<'_>, door: &Door) -> Facts {
    Facts {
        src: hit.src,
        dst: hit.dst,
        step: hit.step,
        interface: String::from_utf8_lossy(hit.interface).into(),
        door: Arc::clone(&door.name),
        hold: hold(door, hit.src),
    }
}

/// Of a door that is opened by hand: what the last right knock would have told them, as far as the door
/// says it.
pub fn by_hand(src: IpAddr, door: &Door) -> Facts {
    let anywhere = match src {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let nowhere = Step {
        port: 0,
        transport: Transport::Tcp,
    };
    Facts {
        src,
        dst: door.scope.target.unwrap_or(anywhere),
        step: door.rule.last_step().unwrap_or(nowhere),
        interface: door.scope.interface.clone().unwrap_or_default(),
        door: Arc::clone(&door.name),
        hold: hold(door, src),
    }
}

/// How long `door` stays open for `src`; `None` where nothing is held open.
pub fn hold(door: &Door, src: IpAddr) -> Option<Duration> {
    door.grant.close.of(src).map(|_| door.grant.hold)
}

//! Any bytes as a line for `parse`: JSON envelopes, ulogd, any tag and prefix.

use logknock::dialect::{self, Verdict};
use logknock::engine::line::Origin;
use logknock::engine::reading::Expected;

pub(crate) fn run(data: &[u8]) {
    let reading = dialect::read(data);
    let record = reading.record();
    if let Some(uptime) = record.uptime {
        assert!(uptime.as_nanos() >= 0);
    }
    if let Verdict::Packet(packet) = reading.verdict() {
        assert!(!packet.to_string().contains('\n'), "one packet is one line");
    }
    what_the_daemon_believes_is_shown(data);
}

/// A line that can be a knock is never shown as anything else. (What an ICMP error quotes may look like
/// the beginning of a packet to a reader that does not know the prefix.)
fn what_the_daemon_believes_is_shown(line: &[u8]) {
    let expected = Expected::Prefix(b"lk-4f9a1c7e: ".as_slice().into());
    let Ok(Some((_, believed))) = expected.read(line, Origin::Claimed) else {
        return;
    };
    if believed.headers.ports.is_none() {
        return;
    }
    match dialect::read(line).verdict() {
        Verdict::Packet(shown) => assert_eq!(shown, believed),
        other => panic!("believed, but shown as {other:?}"),
    }
}

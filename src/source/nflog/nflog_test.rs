//! What the numbers of packets tell.

use super::*;

#[test]
fn the_numbers_tell_how_many_packets_are_missing() {
    let mut next = None;
    let mut lost = |seq| super::lost(seq, &mut next);
    assert_eq!(lost(Some(7)), 0, "the first");
    assert_eq!(lost(Some(8)), 0);
    assert_eq!(lost(Some(12)), 3);
    assert_eq!(lost(None), 0);
    assert_eq!(lost(Some(13)), 0);
}

#[test]
fn the_numbers_begin_again_after_the_last() {
    let mut next = None;
    assert_eq!(lost(Some(u32::MAX), &mut next), 0);
    assert_eq!(lost(Some(0), &mut next), 0);
    assert_eq!(lost(Some(2), &mut next), 1);
}

#[test]
fn a_packet_of_another_protocol_has_no_headers_to_read() {
    let socket = rustix::event::eventfd(0, rustix::event::EventfdFlags::empty()).unwrap();
    let arp = Captured::default();
    assert_eq!(packet(&arp, &socket), Err(Reason::Protocol));
}

//! Which networks leave nobody who could knock.

use super::*;

fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn nobody(allow: &[&str], deny: &[&str], target: Option<&str>) -> bool {
    let target = target.map(|text| text.parse().unwrap());
    leaves_nobody(&nets(allow), &nets(deny), target)
}

#[test]
fn networks_that_are_all_denied_leave_no_address() {
    assert!(nobody(&["192.0.2.0/25"], &["192.0.2.0/24"], None));
    assert!(nobody(
        &["192.0.2.0/24"],
        &["192.0.2.0/25", "192.0.2.128/25"],
        None
    ));
    assert!(nobody(&[], &["0.0.0.0/0", "::/0"], None));
    assert!(!nobody(&["192.0.2.0/24"], &["192.0.2.0/25"], None));
    assert!(!nobody(&[], &["0.0.0.0/0"], None));
    assert!(!nobody(&[], &[], None));
}

#[test]
fn networks_of_another_family_than_the_target_leave_no_address() {
    assert!(nobody(&["2001:db8::/32"], &[], Some("192.0.2.1")));
    assert!(nobody(&[], &["::/0"], Some("2001:db8::1")));
    assert!(!nobody(&["2001:db8::/32"], &[], Some("2001:db8::1")));
}

#[test]
fn a_mapped_network_is_its_ipv4_network() {
    let mapped = "::ffff:192.0.2.0/120".parse().unwrap();
    assert_eq!(canonical(mapped), "192.0.2.0/24".parse().unwrap());
    let wider = "::ffff:0:0/95".parse().unwrap();
    assert_eq!(canonical(wider), wider);
}

use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::knock::Logged;
use super::super::packet::Ports;
use super::super::sequence::Step;
use super::super::time::Time;
use super::*;

#[test]
fn packets_of_both_families_and_transports_are_distinguished() {
    let identity = Identity::default();
    let mut all = HashSet::new();
    let mut count = 0;
    for transport in [Transport::Tcp, Transport::Udp] {
        for (number, port) in (0..64).flat_map(|number| (1..64).map(move |port| (number, port))) {
            let v4 = |number| IpAddr::V4(Ipv4Addr::from_bits(number));
            let v6 = |number| IpAddr::V6(Ipv6Addr::from_bits(number));
            let high = 1 << 63 | u128::from(number) << 64;
            for (src, dst) in [
                (v4(number), v4(9)),
                (v4(9), v4(number << 24)),
                (v6(number.into()), v6(1 << 100)),
                (v6(high), v6(1 << 100)),
            ] {
                let hit = Hit {
                    at: Time::default(),
                    uptime: None,
                    src,
                    dst,
                    ports: Ports { src: 1, dst: port },
                    step: Step { port, transport },
                    flags: TcpFlags::SYN,
                    interface: b"eth0",
                    mark: Fingerprint::default(),
                    source: 0,
                    rule: 0,
                    logged: Logged::default(),
                };
                all.insert(identity.of(&hit));
                count += 1;
            }
        }
    }
    assert_eq!(all.len(), count);
}

//! What a server and a gateway can do to the others once somebody has taken them over, with the real parts: no more than
//! `docs/fleet.md` says, and the others tell of it.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use logknock::clock;
use logknock::fleet::grant::{SignedGrant, signing_key};
use logknock::fleet::message::{ToAgent, line};

use crate::fleet::Gateway;
use crate::fleet_bus::{Bus, VPN, code, names};
use crate::lab::PATIENCE;
use crate::process::eventually;

/// How many events of this kind a gateway has had.
fn count(gateway: &Gateway, kind: &str) -> Option<u64> {
    gateway.status()?["events"][kind].as_u64().or(Some(0))
}

/// Why grants from `peer` were refused at a gateway.
fn refused(gateway: &Gateway, peer: &str) -> BTreeSet<String> {
    let status = gateway.status().unwrap_or_default();
    let peers = status["fleet"]["peers"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let of = peers.iter().filter(|one| one["name"] == peer);
    let refused = of.filter_map(|one| one["refused"].as_object());
    refused
        .flat_map(|refused| refused.keys().cloned())
        .collect()
}

#[test]
fn a_server_that_lets_everybody_win_lets_a_code_open_once_on_each_gateway() {
    let Some(bus) = Bus::lying("60s", VPN) else {
        return;
    };
    bus.lies("won");
    let knock = |number: u16| {
        for gateway in &bus.fleet.gateways {
            for port in code(number) {
                bus.fleet.client.syn((gateway.address, port).into());
            }
        }
    };
    let opened = |times: u64| {
        eventually("each gateway opens", PATIENCE, || {
            let gateways = bus.fleet.gateways.iter();
            gateways
                .map(|gateway| count(gateway, "open"))
                .all(|count| count == Some(times))
        });
        bus.close_all();
    };
    knock(0);
    opened(1);
    // The same code again, and then another one, by which each has seen the first.
    knock(0);
    knock(1);
    opened(2);
    for gateway in &bus.fleet.gateways {
        assert_eq!(count(gateway, "open"), Some(2), "{}", gateway.name);
    }
}

#[test]
fn a_server_that_changes_repeats_reorders_and_drops_grants_opens_nothing_of_its_own() {
    let Some(mut bus) = Bus::lying("300s", "") else {
        return;
    };
    let src = |last: u8| Ipv4Addr::new(192, 0, 2, last);
    for last in 101..=107 {
        bus.fleet
            .client
            .ip(&format!("addr add {}/24 dev eth0", src(last)));
    }

    bus.lies("change");
    bus.knock(0, src(101));
    bus.until_all_have(&names(&[src(101)]));
    let gw3 = &bus.fleet.gateways[2];
    eventually("what was changed is refused", PATIENCE, || {
        let why = &refused(gw3, "gw1") | &refused(gw3, "gw2");
        ["signature", "wrong_subject"]
            .iter()
            .all(|word| why.contains(*word))
    });
    assert!(gw3.said().contains("a grant was refused"), "{}", gw3.said());
    let told = gw3.ask(&["explain", "192.0.2.66"]);
    assert!(told.contains("gw1") && told.contains("sign"), "{told}");

    // What was closed by hand stays closed, however often it comes.
    bus.lies("replay");
    bus.knock(1, src(102));
    bus.until_all_have(&names(&[src(101), src(102)]));
    bus.fleet.gateways[2].ask(&["close", &src(102).to_string()]);
    // The agent itself hands over only once what it has had lately; a new one knows nothing of it.
    bus.start_agent(2);
    bus.knock(1, src(103));
    eventually(
        "the next one opens, the closed one does not",
        PATIENCE,
        || {
            let all = names(&[src(101), src(102), src(103)]);
            let without = names(&[src(101), src(103)]);
            bus.open("ssh") == Some([all.clone(), all, without])
        },
    );
    let gw3 = &bus.fleet.gateways[2];
    eventually("what came before is refused", PATIENCE, || {
        refused(gw3, "gw2").contains("known")
    });
    bus.until_connected();

    bus.lies("reorder");
    bus.close_all();
    bus.knock(0, src(104));
    bus.knock(2, src(105));
    bus.until_all_have(&names(&[src(104), src(105)]));

    bus.lies("drop");
    bus.knock(0, src(106));
    eventually("each opens its own doors", PATIENCE, || {
        bus.open("ssh")
            .is_some_and(|[own, ..]| own.contains(&src(106).to_string()))
    });
    bus.lies("honest");
    bus.knock(1, src(107));
    bus.until_all_have(&names(&[src(104), src(105), src(106), src(107)]));
}

#[test]
fn a_gateway_that_is_taken_over_or_an_hour_off_opens_what_is_listed_for_it_within_its_bounds() {
    let Some(mut bus) = Bus::new("300s", "") else {
        return;
    };
    // In place of the daemon of gw3 somebody has its key, its certificate and its agent.
    let mut agent = bus.play_daemon(2);
    let own = bus.fleet.dir().join("bus/gw3/signing.key");
    let text = fs::read_to_string(own).expect("it is there");
    let key = signing_key(&text).expect("a key");
    let mut say = |message: &ToAgent| agent.write_all(&line(message)).expect("it listens");
    let now = clock::wall_now().as_nanos() / 1_000_000;
    let minute = now.div_euclid(60_000) * 60_000;
    let hold = 300_000;
    let plain = |number: u8| SignedGrant {
        id: format!("attack-{number}"),
        door: "ssh".to_owned(),
        src: IpAddr::from([203, 0, 113, number]),
        opened: minute,
        expires: minute + hold,
        origin: "gw3".to_owned(),
        signature: String::new(),
    };
    let hours = |hours: i64, number: u8| SignedGrant {
        opened: now + hours * 3_600_000,
        expires: now + hours * 3_600_000 + hold,
        ..plain(number)
    };
    let sent = [
        plain(1),
        SignedGrant {
            expires: now + 86_400_000,
            ..plain(1)
        },
        SignedGrant {
            expires: now + 86_400_000,
            ..plain(2)
        },
        SignedGrant {
            door: "admin".to_owned(),
            ..plain(3)
        },
        hours(1, 4),
        hours(-1, 5),
    ];
    for grant in sent {
        say(&ToAgent::Publish(grant.signed(&key)));
    }
    let other = signing_key(&logknock::fleet::grant::key_text(&[7; 32])).expect("a key");
    say(&ToAgent::Publish(plain(6).signed(&other)));
    for number in 10..=200 {
        say(&ToAgent::Publish(plain(number).signed(&key)));
    }
    for gateway in &bus.fleet.gateways[..2] {
        eventually("all of it is refused", PATIENCE, || {
            let why = refused(gateway, "gw3");
            let words = ["clock", "door_not_listed", "known", "rate", "signature"];
            words.iter().all(|word| why.contains(*word))
        });
        let status = gateway.status().expect("it answers");
        let grants = status["grants"].as_array().expect("a list");
        assert_eq!(grants.len(), 120, "the most that one minute takes");
        let srcs: BTreeSet<_> = grants
            .iter()
            .filter_map(|grant| grant["src"].as_str())
            .collect();
        for number in 3..=6 {
            assert!(!srcs.contains(&*format!("203.0.113.{number}")), "{srcs:?}");
        }
        for grant in grants {
            let left = grant["left_seconds"].as_u64().expect("a time");
            assert!(
                Duration::from_secs(left) <= Duration::from_secs(300),
                "{grant}"
            );
        }
        let doctor = gateway.logknock(&["doctor"]).output().expect("it runs");
        let doctor = String::from_utf8_lossy(&doctor.stdout);
        assert!(
            doctor.contains("grants of gw3 ") && doctor.contains("in the future"),
            "{doctor}"
        );
    }
}

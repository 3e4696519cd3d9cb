//! `knocker_prefix_v6`: all addresses of one network knock as one, and no network minds another.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use crate::chained::Engine;
use logknock::calendar::rfc3339;
use logknock::clock;
use logknock::engine::Sighting;
use logknock::engine::attempts::Limits;
use logknock::engine::door::{Door, GrantRule, PerFamily};
use logknock::engine::event::Event;
use logknock::engine::knock::KnockerPrefix;
use logknock::engine::time::Time;
use proptest::prelude::*;
use rustix::process::Signal;

use super::knocks::{Knock, door, knocks, named, packet, run_out, run_to, settle, sighting};
use super::logknock::{Logknock, PREFIX};

/// A knock, and from which host of which network.
type Sent = (Knock, (u16, u16));

fn sent() -> impl Strategy<Value = Vec<Sent>> {
    let hosts = prop::collection::vec((1..3_u16, 1..5_u16), 60);
    (knocks(60), hosts).prop_map(|(knocks, hosts)| knocks.into_iter().zip(hosts).collect())
}

fn address((network, host): (u16, u16)) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, network, 0xa, host, 0, host).into()
}

fn run(doors: &[Arc<Door>], bits: u8, sent: &[Sent]) -> Vec<Event> {
    let mut engine = Engine::new(doors.to_vec(), Duration::ZERO, Limits::default());
    engine
        .detection
        .attempts
        .set_knocker_prefix(KnockerPrefix::new(bits).unwrap());
    let mut now = Time::from_secs(0);
    for (number, (knock, host)) in sent.iter().enumerate() {
        now = now.after(Duration::from_secs(knock.after));
        run_to(&mut engine, now);
        let mut packet = packet(number, knock);
        packet.headers.src = address(*host);
        packet.headers.dst = IpAddr::V6(Ipv6Addr::LOCALHOST);
        let sighting = Sighting {
            packet,
            ..sighting(number, knock, now)
        };
        engine.handle_packet(now, &sighting).unwrap();
        settle(&mut engine, now);
    }
    run_out(&mut engine);
    std::iter::from_fn(|| engine.poll_event()).collect()
}

fn doors() -> impl Strategy<Value = Vec<Arc<Door>>> {
    prop::collection::vec(door(), 1..4).prop_map(named)
}

/// The same doors, of which nothing stays open: what stays open is open for one address.
fn without_grants(doors: &[Arc<Door>]) -> Vec<Arc<Door>> {
    let without = |door: &Arc<Door>| {
        let close = PerFamily::default();
        let grant = GrantRule {
            close,
            ..door.grant.clone()
        };
        Arc::new(Door {
            grant,
            ..Door::clone(door)
        })
    };
    doors.iter().map(without).collect()
}

/// All from the first host of their network.
fn from_one_host(sent: &[Sent]) -> Vec<Sent> {
    let one = |(knock, (network, _)): &Sent| (knock.clone(), (*network, 1));
    sent.iter().map(one).collect()
}

fn of(events: &[Event], network: u16) -> Vec<Event> {
    let is_of = |event: &&Event| matches!(event.src, IpAddr::V6(v6) if v6.segments()[3] == network);
    events.iter().filter(is_of).cloned().collect()
}

proptest! {
    #[test]
    fn the_hosts_of_a_network_knock_as_one_would(doors in doors(), sent in sent()) {
        let doors = without_grants(&doors);
        let many = run(&doors, 64, &sent);
        let one = run(&doors, 128, &from_one_host(&sent));
        let alike = |events: &[Event]| {
            let what = |event: &Event| format!("{} {:?} {:?} {:?}", event.door, event.at, event.kind, event.whence);
            events.iter().map(what).collect::<Vec<_>>()
        };
        prop_assert_eq!(alike(&many), alike(&one));
        // What a line does is told of, and opened for, the address that sent it.
        for event in &many {
            if let Some(whence) = event.whence {
                let (_, host) = sent[usize::try_from(whence.line).unwrap() - 1];
                prop_assert_eq!(event.src, address(host));
            }
        }
    }

    #[test]
    fn networks_never_influence_each_other(doors in doors(), sent in sent()) {
        let together = run(&doors, 64, &sent);
        for network in 1..3 {
            let mut alone = sent.clone();
            for (_, host) in &mut alone {
                if host.0 != network { *host = (200, 1); }
            }
            prop_assert_eq!(of(&together, network), of(&run(&doors, 64, &alone), network));
        }
    }

    #[test]
    fn where_each_network_has_one_host_nothing_changes(doors in doors(), sent in sent()) {
        let one = from_one_host(&sent);
        prop_assert_eq!(run(&doors, 64, &one), run(&doors, 128, &one));
    }
}

/// What the kernel logs of a SYN from this host of one network.
fn line(host: u16, port: u16) -> String {
    format!(
        "{} gw1 kernel: {PREFIX}IN=eth0 OUT= MAC=00:00:5e:00:53:01:00:00:5e:00:53:fe:86:dd \
         SRC=2001:0db8:0000:0000:0000:0000:0000:{host:04x} DST=2001:0db8:ffff:0000:0000:0000:0000:0001 \
         LEN=80 TC=0 HOPLIMIT=52 FLOWLBL=0 PROTO=TCP SPT=4{port} DPT={port} WINDOW=64800 RES=0x00 SYN URGP=0 \n",
        rfc3339(clock::wall_now())
    )
}

#[test]
fn the_daemon_replay_and_explain_take_a_network_as_one_knocker_if_asked() {
    let logknock = Logknock::new();
    let acts = logknock.path("acts").display().to_string();
    let text = |prefix: u8| {
        format!(
            "[log]\nprefix = \"{PREFIX}\"\nknocker_prefix_v6 = {prefix}\n[door.ssh]\nsequence = [7000, 8000]\n\
             start_command = [\"/bin/sh\", \"-c\", \"echo open $1 >> $2\", \"sh\", \"%IP%\", \"{acts}\"]\n"
        )
    };
    let logknock = logknock.config(&text(64));
    let mut daemon = logknock.follow("");
    logknock.append("kern.log", &(line(1, 7000) + &line(2, 8000)));
    logknock.awaits_act("open 2001:db8::2");
    let opens = "  ssh  open ";
    let replayed = logknock.run("replay kern.log").succeeds();
    assert!(replayed.stdout.contains(opens), "{}", replayed.stdout);
    logknock
        .run("explain 2001:db8::2 --log kern.log")
        .prints_among_others("open");

    logknock.write("logknock.toml", text(128));
    daemon.signal(Signal::HUP);
    daemon.says("reloaded");
    logknock.append("kern.log", &(line(3, 7000) + &line(4, 8000)));
    logknock.append("kern.log", &(line(5, 7000) + &line(5, 8000)));
    logknock.awaits_act("open 2001:db8::5");
    assert_eq!(
        logknock.read("acts"),
        "open 2001:db8::2\nopen 2001:db8::5\n"
    );
    let replayed = logknock.run("replay kern.log").succeeds().stdout;
    assert_eq!(replayed.matches(opens).count(), 1, "{replayed}");
}

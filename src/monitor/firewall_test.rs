use super::*;
use crate::clock;

fn firewall() -> Firewall {
    Firewall::new(Start {
        name: "",
        arguments: Vec::new(),
    })
}

/// A look that this line of shell is.
fn looks(firewall: &mut Firewall, line: &str, now: Time) {
    let mut command = Command::new("sh");
    command.args(["-c", line]);
    firewall.looking = Some(Looking::start(command, "{}", true, now).unwrap());
}

/// Turns until the look is over.
fn settle(firewall: &mut Firewall, now: Time) {
    while let Some(looking) = &firewall.looking {
        let fd = looking.answers.try_clone().unwrap();
        let mut fds = [rustix::event::PollFd::new(
            &fd,
            rustix::event::PollFlags::IN,
        )];
        rustix::event::poll(&mut fds, None).unwrap();
        firewall.turn(now, "{}");
    }
}

#[test]
fn a_look_is_asked_with_the_configuration_and_answers_with_what_it_saw() {
    let (mut firewall, now) = (firewall(), clock::boot_now());
    looks(
        &mut firewall,
        r#"read asked; test "$asked" = "[true,{}]" && echo '{"faults":["a"]}'"#,
        now,
    );
    settle(&mut firewall, now);
    let status = firewall.status(now.after(Duration::from_secs(7))).unwrap();
    assert_eq!(
        (status.faults, status.looked_seconds),
        (vec!["a".to_owned()], 7)
    );
}

#[test]
fn a_look_that_never_ends_or_never_ends_its_answer_is_ended_with_its_children() {
    let now = clock::boot_now();
    let late = now.after(LOOK_TIMEOUT);
    for (line, at) in [
        ("sleep 1000 & sleep 1000", late),
        ("while :; do echo 0000000; done", now),
    ] {
        let mut firewall = firewall();
        looks(&mut firewall, line, now);
        let answers = firewall
            .looking
            .as_ref()
            .unwrap()
            .answers
            .try_clone()
            .unwrap();
        while firewall.looking.is_some() {
            firewall.turn(at, "{}");
        }
        assert!(firewall.status(now).unwrap().unknown.is_some(), "{line}");
        // Nobody is left to write.
        rustix::fs::fcntl_setfl(&answers, OFlags::empty()).unwrap();
        let _ = io::copy(&mut &answers, &mut io::sink()).unwrap();
    }
}

#[test]
fn rules_are_loaded_again_three_times_an_hour_and_no_more() {
    let (mut firewall, now) = (firewall(), clock::boot_now());
    let healed = FirewallStatus {
        healed: true,
        ..FirewallStatus::default()
    };
    for _ in 0..MAX_HEALS {
        assert!(firewall.may_heal(now));
        assert!(firewall.saw(healed.clone(), now), "it is reported");
    }
    assert!(!firewall.may_heal(now));
    let refused = FirewallStatus {
        not_healed: Some(String::new()),
        ..FirewallStatus::default()
    };
    // What is refused does not count.
    firewall.saw(refused, now.after(HEALS_WITHIN / 2));
    assert!(!firewall.may_heal(now.after(HEALS_WITHIN)));
    let later = now.after(HEALS_WITHIN + Duration::from_nanos(1));
    assert!((0..MAX_HEALS).all(|_| firewall.may_heal(later)));
}

#[test]
fn doors_that_need_no_rules_are_not_looked_at() {
    let (mut firewall, now) = (firewall(), clock::boot_now());
    firewall.look_at(now);
    assert_eq!(firewall.due(), Some(now));
    firewall.rest();
    firewall.turn(now, "{}");
    assert!(
        firewall.due().is_none() && firewall.looking.is_none() && firewall.status(now).is_none()
    );
}

#[test]
fn rules_that_go_missing_are_reported_once() {
    let (mut firewall, now) = (firewall(), clock::boot_now());
    let gone = FirewallStatus {
        faults: vec!["gone".to_owned()],
        ..FirewallStatus::default()
    };
    assert!(!firewall.saw(gone.clone(), now), "it never was there");
    assert!(!firewall.saw(FirewallStatus::default(), now));
    assert!(firewall.saw(gone.clone(), now));
    assert!(!firewall.saw(gone, now), "it is reported");
}

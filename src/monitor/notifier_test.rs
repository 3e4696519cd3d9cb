//! How much is reported, and in which words.

use super::*;

fn about(src: &str) -> About {
    vec![("DOOR", "ssh".to_owned()), ("IP", src.to_owned())]
}

#[test]
fn a_flood_reports_a_few_events_and_counts_the_others() {
    let mut notifier = Notifier::default();
    notifier.set(Some(Notify {
        argv: vec!["no-such-program".to_owned()],
        account: None,
        on: vec![Occasion::Open],
        timeout: Duration::from_secs(10),
    }));
    for _ in 0..1000 {
        notifier.tell(Occasion::Open, about("192.0.2.7"));
        notifier.tell(Occasion::SourceLost, Vec::new());
    }
    assert_eq!(notifier.waiting.len(), MAX_WAITING);
    assert_eq!(notifier.missed, 1000 - MAX_WAITING as u64);
    notifier.turn();
    assert_eq!(notifier.started, MAX_A_MINUTE);
    assert_eq!(notifier.missed, 0, "the first command got it");
    assert!(notifier.is_idle(), "the others wait for the next minute");
    let due = notifier.due().unwrap();
    assert!(due.since(clock::boot_now()) <= MINUTE);
}

#[test]
fn without_a_command_nothing_waits() {
    let mut notifier = Notifier::default();
    notifier.tell(Occasion::Open, about("192.0.2.7"));
    assert!(notifier.is_idle() && notifier.due().is_none());
}

#[test]
fn a_message_is_one_line_with_what_it_is_about() {
    let source = vec![("SOURCE", "/var/log/a\nBcc: b".to_owned())];
    let variables = environment(Occasion::SourceLost, source, 3);
    let value = |name: &str| &variables.iter().find(|(key, _)| key == name).unwrap().1;
    assert_eq!(value("LOGKNOCK_EVENT"), "source_lost");
    assert_eq!(value("LOGKNOCK_MISSED"), "3");
    let said = "a source cannot be read; source /var/log/a Bcc: b; 3 more were left out";
    assert!(value("LOGKNOCK_MESSAGE").ends_with(said));
}

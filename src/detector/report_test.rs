use super::*;

#[test]
fn losses_are_reported_once_a_minute_for_each_source_and_cause() {
    let (kmsg, journald) = (SourceSpec::Kmsg, SourceSpec::Journald);
    let mut losses = Losses::default();
    let mut tell =
        |source, cause, seconds| losses.tell(source, cause, Some(3), Time::from_secs(seconds));
    assert!(tell(&kmsg, Cause::Overrun, 100));
    assert!(!tell(&kmsg, Cause::Overrun, 159));
    assert!(tell(&kmsg, Cause::Said, 159));
    assert!(tell(&journald, Cause::Overrun, 159));
    assert!(tell(&kmsg, Cause::Overrun, 160));
    assert!(!tell(&kmsg, Cause::Overrun, 219));
}

#[test]
fn what_was_held_back_is_added_up() {
    let mut pause = Pause::new(Time::from_secs(100), PAUSE);
    assert_eq!(pause.add(1, Time::from_secs(100)), Some(1));
    assert_eq!(pause.add(2, Time::from_secs(101)), None);
    assert_eq!(pause.add(u64::MAX, Time::from_secs(102)), None);
    assert_eq!(pause.add(1, Time::from_secs(160)), Some(u64::MAX));
}

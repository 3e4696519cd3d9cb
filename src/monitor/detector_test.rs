use super::*;

fn deaf() -> (Detector, OwnedFd) {
    let (channel, theirs) = Channel::pair().unwrap();
    let child = Owned::new(Command::new("sleep").arg("600").spawn().unwrap());
    (Detector::new(child, channel), theirs)
}

#[test]
fn little_waits_for_a_detector_that_does_not_read_and_few_descriptors() {
    let (mut detector, _theirs) = deaf();
    let descriptor = || Some(Channel::pair().unwrap().1);
    let mut tell = || detector.tell(&ToDetector::Journal(0), descriptor());
    let told = (0..10_000).take_while(|_| tell().is_ok()).count();
    assert!((16..2_000).contains(&told), "{told}");
    assert!(detector.descriptors <= MAX_DESCRIPTORS + 1);

    let (mut detector, _theirs) = deaf();
    let event = ToDetector::Ended("x".repeat(64).into(), None);
    let mut bytes = 0;
    while detector.tell(&event, None).is_ok() {
        bytes += event.encode().unwrap().len();
    }
    assert!((MAX_UNREAD..2 * MAX_UNREAD).contains(&bytes), "{bytes}");
}

#[test]
fn messages_taken_in_one_turn_are_bounded() {
    let (detector, theirs) = deaf();
    for _ in 0..100 {
        rustix::io::write(&theirs, br#""exhausted""#).unwrap();
    }
    let (heard, broken) = detector.hear();
    assert_eq!((heard.len(), broken), (MAX_MESSAGES, None));
    drop(theirs);
    // The other process may have had it open for a moment more.
    let (mut heard, mut broken) = detector.hear();
    while broken.is_none() {
        let (more, end) = detector.hear();
        heard.extend(more);
        broken = end;
    }
    assert_eq!(
        (heard.len(), broken),
        (100 - MAX_MESSAGES, Some(Broken::Ended))
    );
}

#[test]
fn in_one_turn_one_child_is_waited_for() {
    let (detector, theirs) = deaf();
    let end = ToMonitor::JournalEnd {
        source: 0,
        latest: false,
    };
    let says = [ToMonitor::Exhausted, end.clone(), end];
    for message in &says {
        rustix::io::write(&theirs, &message.encode().unwrap()).unwrap();
    }
    assert_eq!(detector.hear().0, says[..2]);
    assert_eq!(detector.hear().0, says[2..]);
}

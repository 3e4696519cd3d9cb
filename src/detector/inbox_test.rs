use std::thread;

use super::*;
use crate::source::Report;

fn ended(source: u16) -> Message {
    Message::Source(source, Report::Ended)
}

fn word(next: Next) -> String {
    match next {
        Next::Message(Message::Source(source, Report::Ended)) => source.to_string(),
        Next::Message(Message::Heard(Heard::Gone)) => "stop".to_owned(),
        other => format!("{other:?}"),
    }
}

#[test]
fn other_messages_go_before_waiting_lines_which_keep_their_order() {
    let (outlet, inbox) = Inbox::new();
    for source in 0..64 {
        outlet.send(ended(source)).unwrap();
    }
    assert_eq!(word(inbox.wait(None)), "0");
    outlet.send(Message::Heard(Heard::Gone)).unwrap();
    outlet.send(Message::Heard(Heard::Gone)).unwrap();
    assert_eq!(word(inbox.wait(None)), "stop");
    assert_eq!(word(inbox.wait(None)), "stop");
    for source in 1..64 {
        assert_eq!(word(inbox.wait(None)), source.to_string());
    }
    assert_eq!(word(inbox.wait(Some(Time::default()))), "Due");
}

#[test]
fn another_message_ends_a_wait_for_lines() {
    let (outlet, inbox) = Inbox::new();
    thread::scope(|scope| {
        let waiting = scope.spawn(move || word(inbox.wait(None)));
        outlet.send(Message::Heard(Heard::Gone)).unwrap();
        assert_eq!(waiting.join().unwrap(), "stop");
    });
}

#[test]
fn what_was_sent_last_is_received_before_the_loop_is_deserted() {
    let (outlet, inbox) = Inbox::new();
    outlet.send(ended(1)).unwrap();
    outlet.send(Message::Heard(Heard::Gone)).unwrap();
    drop(outlet);
    let words = [(); 3].map(|()| word(inbox.wait(None)));
    assert_eq!(words, ["stop", "1", "Deserted"]);
}

#[test]
fn a_sender_learns_that_the_loop_has_ended() {
    let (outlet, inbox) = Inbox::new();
    drop(inbox);
    assert_eq!(outlet.send(ended(1)), Err(Gone));
    assert_eq!(outlet.send(Message::Heard(Heard::Gone)), Err(Gone));
}

//! What ends a wait.

use super::*;

#[test]
fn a_wait_ends_with_input_or_time_or_the_request_which_is_for_ever() {
    let stop = Stop::new().unwrap();
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let moment = Some(Duration::from_millis(1));
    assert_eq!(stop.wait(None, moment), Woken::Timeout);
    assert_eq!(stop.wait(Some(reader.as_fd()), moment), Woken::Timeout);
    rustix::io::write(&writer, b"x").unwrap();
    assert_eq!(stop.wait(Some(reader.as_fd()), None), Woken::Input);
    stop.clone().ask();
    assert_eq!(stop.wait(Some(reader.as_fd()), None), Woken::Stop);
    assert_eq!(stop.wait(None, None), Woken::Stop);
}

#[test]
fn the_end_of_the_input_is_input() {
    let stop = Stop::new().unwrap();
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    drop(writer);
    assert_eq!(stop.wait(Some(reader.as_fd()), None), Woken::Input);
}

//! Reads that are short, interrupted or fail.

use super::*;

#[test]
fn short_reads_and_signals_are_not_the_end_of_the_file() {
    let file = b"0123456789";
    let mut signals = 0;
    let mut space = [0; 8];
    let read = fill(&mut space, 5, |space, done| {
        signals += 1;
        if signals % 2 == 1 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        space[0] = file[usize::try_from(done).unwrap()];
        Ok(1)
    });
    assert_eq!(read.unwrap(), b"012345");
}

#[test]
fn a_read_stops_at_the_end_of_the_file_and_of_the_space() {
    let mut space = [1; 4];
    assert_eq!(fill(&mut space, 9, |_, _| Ok(0)).unwrap(), b"");
    assert_eq!(fill(&mut space, 9, |_, _| Ok(2)).unwrap(), [1; 4]);
}

#[test]
fn an_error_of_the_device_is_passed_on() {
    let error = fill(&mut [0; 4], 1, |_, _| Err(Errno::IO.into())).unwrap_err();
    assert_eq!(errno(&error), Errno::IO);
}

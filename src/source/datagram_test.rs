//! Datagrams as lines: what ends one, what is none, and how long one may be.

use proptest::prelude::*;

use super::*;

fn read(datagram: &[u8]) -> Result<Vec<u8>, Reason> {
    let mut room = [b'#'; ROOM];
    let length = datagram.len().min(ROOM);
    room[..length].copy_from_slice(&datagram[..length]);
    line(&mut room, length).map(<[u8]>::to_vec)
}

#[test]
fn a_datagram_is_a_line_whatever_ends_it() {
    for end in ["", "\n", "\r\n", "\0", "\n\0"] {
        let datagram = format!("<4>Nov 20 10:00:00 gw kernel: lk: IN=eth0 {end}");
        assert_eq!(
            read(datagram.as_bytes()).unwrap(),
            b"<4>Nov 20 10:00:00 gw kernel: lk: IN=eth0 \n"
        );
    }
}

#[test]
fn what_syslog_does_not_allow_is_no_line() {
    for datagram in [
        "",
        "\n",
        "kernel: lk: IN=eth0",
        "4,7,5000001,-;lk: IN=eth0",
        "MESSAGE=lk: IN=eth0",
        "<>x",
        "<192>x",
        "<004>x",
        "<-1>x",
        "<4x",
        "23 <4>kernel: lk: IN=eth0",
        "<4>kernel: a\n<4>kernel: lk: IN=eth0",
        "<4>kernel: a\0lk: IN=eth0",
    ] {
        assert_eq!(
            read(datagram.as_bytes()),
            Err(Reason::Grammar),
            "{datagram:?}"
        );
    }
}

#[test]
fn the_longest_line_passes_and_one_byte_more_does_not() {
    let datagram = |length: usize| [b"<4>".to_vec(), vec![b'x'; length - 3]].concat();
    assert_eq!(read(&datagram(MAX_LINE)).unwrap().len(), MAX_LINE + 1);
    for length in [MAX_LINE + 1, MAX_LINE + 2, MAX_LINE + 3, 65_507] {
        assert_eq!(read(&datagram(length)), Err(Reason::TooLong), "{length}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_one_line_or_none(datagram in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(line) = read(&datagram) {
            prop_assert_eq!(memchr::memchr_iter(b'\n', &line).count(), 1);
            prop_assert!(line.ends_with(b"\n") && datagram.starts_with(&line[..line.len() - 1]));
        }
    }
}

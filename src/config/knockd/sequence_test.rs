//! Numbers as C's atoi reads them.

use super::*;

/// As the real knockd was seen to read them.
#[test]
fn numbers_are_those_of_atoi() {
    for (text, value, length) in [
        ("7000", 7000, 4),
        (" 7000 # x", 7000, 5),
        ("+7", 7, 2),
        ("-1", -1, 2),
        ("0x10", 0, 1),
        ("08", 8, 2),
        ("abc", 0, 0),
        ("", 0, 0),
        ("-", 0, 0),
        ("7000-7005", 7000, 4),
        ("4294974296", 7000, 10),
        ("99999999999999999999", -1, 20),
        ("-99999999999999999999", 0, 21),
        ("15s", 15, 2),
    ] {
        assert_eq!(number(text), Number { value, length }, "{text:?}");
    }
}

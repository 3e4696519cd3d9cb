//! Numbers as knockd reads them: with C's `atoi`, which takes what it can and says nothing.

/// What `atoi` makes of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number {
    /// Its value: 0 when there was no digit.
    pub(super) value: i32,
    /// How much of the text is the number; 0 when there is none.
    pub(super) length: usize,
}

/// Reads the number at the start of `text`.
pub(super) fn number(text: &str) -> Number {
    let behind = text.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    let unsigned = behind.strip_prefix(['-', '+']).unwrap_or(behind);
    let digits = unsigned.trim_start_matches(|character: char| character.is_ascii_digit());
    let end = text.len() - digits.len();
    if digits.len() == unsigned.len() {
        return Number {
            value: 0,
            length: 0,
        };
    }
    let written = text.get(text.len() - behind.len()..end).unwrap_or("");
    // glibc: strtol stops at the ends of a long, and the cast to int keeps its low half.
    let long = written
        .parse::<i64>()
        .unwrap_or(if written.starts_with('-') {
            i64::MIN
        } else {
            i64::MAX
        });
    let [a, b, c, d, ..] = long.to_le_bytes();
    Number {
        value: i32::from_le_bytes([a, b, c, d]),
        length: end,
    }
}

#[cfg(test)]
mod tests {
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
}

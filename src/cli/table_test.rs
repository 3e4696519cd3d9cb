use anstyle::AnsiColor;

use super::*;

#[test]
fn columns_are_aligned_whatever_their_colour() {
    let green = AnsiColor::Green.on_default();
    let table = lines(
        ["door", "knocks", "state"],
        &[
            ["ssh".into(), 3.into(), Cell::styled("open", green)],
            ["a-long-one".into(), 12.into(), "shut".into()],
        ],
    );
    let plain: Vec<_> = table
        .iter()
        .map(|line| anstream::adapter::strip_str(line).to_string())
        .collect();
    assert_eq!(
        plain,
        [
            "door        knocks  state",
            "ssh              3  open",
            "a-long-one      12  shut",
        ]
    );
    assert!(table[1].contains(&format!("{green}open")));
}

#[test]
fn spans_have_two_units_at_most() {
    for (seconds, text) in [
        (0, "0s"),
        (59, "59s"),
        (60, "1m"),
        (252, "4m12s"),
        (3600, "1h"),
        (3659, "1h"),
        (3660, "1h1m"),
        (86_400 * 2 + 3600 * 5 + 59, "2d5h"),
    ] {
        assert_eq!(span(seconds), text);
    }
}

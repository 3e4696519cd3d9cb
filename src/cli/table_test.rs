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
fn a_line_is_clipped_behind_its_styles() {
    let green = AnsiColor::Green.on_default();
    let line = format!("{green}open{green:#} for ever");
    assert_eq!(clip(&line, 80), line);
    assert_eq!(clip(&line, 13), line);
    assert_eq!(clip(&line, 6), format!("{green}open{green:#} …"));
    assert_eq!(clip(&line, 3), format!("{green}op…{green:#}"));
}

#[test]
fn a_text_is_folded_between_words() {
    assert_eq!(fold("one two three", 7), ["one two", "three"]);
    assert_eq!(fold("incomprehensible", 7), ["incomprehensible"]);
    assert_eq!(fold("", 7), [""]);
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

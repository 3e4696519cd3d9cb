//! Which texts are durations.

use super::*;

#[test]
fn every_form_is_read() {
    for (text, millis) in [
        ("15", 15_000),
        ("0.5", 500),
        ("15s", 15_000),
        ("1m30s", 90_000),
        ("1h 2m 3s 4ms", 3_723_004),
        ("500ms", 500),
        ("1.5 h", 5_400_000),
        ("2 s", 2_000),
        (" 2s ", 2_000),
        ("366d", 366 * 86_400_000),
        ("0.1s", 100),
    ] {
        let span = Duration::from_millis(millis);
        assert_eq!(from_text(text), Ok(span), "{text:?}");
    }
    assert_eq!(from_seconds(7), Ok(Duration::from_secs(7)));
    assert_eq!(from_float(0.25), Ok(Duration::from_millis(250)));
}

#[test]
fn anything_else_is_no_duration() {
    for text in [
        "",
        "s",
        "15x",
        "1s1m",
        "1s1s",
        "1.2.3s",
        ".5s",
        "1.s",
        "1e3",
        "١s",
        "1m30",
        "+1s",
        "99999999999999999999s",
        "0.0000000001s",
        "15 seconds",
        "1h-2m",
    ] {
        assert_eq!(from_text(text), Err(DurationError::Form), "{text:?}");
    }
    assert_eq!(from_float(f64::NAN), Err(DurationError::Form));
}

#[test]
fn nothing_and_less_is_refused() {
    for text in ["0", "0s", "0h0m", "-1s", "-5"] {
        assert_eq!(from_text(text), Err(DurationError::NotPositive), "{text:?}");
    }
    assert_eq!(from_seconds(0), Err(DurationError::NotPositive));
    assert_eq!(from_seconds(i64::MIN), Err(DurationError::NotPositive));
    assert_eq!(from_float(-0.5), Err(DurationError::NotPositive));
    assert_eq!(from_float(1e-12), Err(DurationError::NotPositive));
}

#[test]
fn more_than_a_year_is_refused() {
    for text in ["367d", "366d1ms", "18446744073709551615d"] {
        assert_eq!(from_text(text), Err(DurationError::TooLong), "{text:?}");
    }
    assert_eq!(from_seconds(i64::MAX), Err(DurationError::TooLong));
    assert_eq!(from_float(f64::INFINITY), Err(DurationError::TooLong));
}

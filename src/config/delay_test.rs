use super::*;

#[test]
fn a_number_is_milliseconds_as_knockd_has_it() {
    assert_eq!(parse("500"), Ok(Duration::from_millis(500)));
    assert_eq!(parse("0"), Ok(Duration::ZERO));
}

#[test]
fn a_unit_may_be_said() {
    assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
    assert_eq!(parse("1.5s"), Ok(Duration::from_millis(1500)));
    assert_eq!(parse("0ms"), Ok(Duration::ZERO));
    assert_eq!(with_unit("500"), Err(DelayError::Form));
}

#[test]
fn nothing_else_is_a_delay() {
    for text in ["", "-1", "-1ms", "1.5", "soon", "5x"] {
        assert_eq!(parse(text), Err(DelayError::Form), "{text:?}");
    }
    for text in ["60001", "2m", "99999999999999999999", "400d"] {
        assert_eq!(parse(text), Err(DelayError::TooLong), "{text:?}");
    }
}

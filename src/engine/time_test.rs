use super::*;

#[test]
fn sums_saturate_instead_of_wrapping() {
    let end = Time::from_nanos(i64::MAX);
    assert_eq!(end.after(Duration::from_secs(1)), end);
    assert_eq!(
        Time::from_nanos(i64::MIN).before(Duration::MAX),
        Time::from_nanos(i64::MIN)
    );
    assert_eq!(Time::from_secs(i64::MAX), end);
}

#[test]
fn a_span_backwards_is_zero() {
    assert_eq!(Time::from_secs(1).since(Time::from_secs(2)), Duration::ZERO);
    assert_eq!(
        Time::from_secs(5).since(Time::from_secs(2)),
        Duration::from_secs(3)
    );
}

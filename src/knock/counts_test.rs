use super::*;

#[test]
fn counts_are_four_digits_however_they_are_parted() {
    for text in ["1234", "1,2,3,4", "1-2-3-4"] {
        assert_eq!(text.parse::<Counts>().map(Counts::groups), Ok([1, 2, 3, 4]));
    }
}

#[test]
fn nothing_else_is_counts() {
    for text in [
        "",
        "123",
        "12345",
        "1230",
        "1,2,3",
        "1,2,3,10",
        "1,2,3,",
        "12,34",
        "1 2 3 4",
        "१२३४",
    ] {
        assert_eq!(text.parse::<Counts>(), Err(CountsError), "{text:?}");
    }
}

#[test]
fn debug_says_nothing_of_the_counts() {
    assert_eq!(format!("{:?}", "7395".parse::<Counts>()), "Ok(Counts(*))");
}

#[test]
fn a_window_is_bounded() {
    assert_eq!(window("4s"), Ok(Duration::from_secs(4)));
    assert_eq!(window("3"), Ok(Duration::from_secs(3)));
    for text in ["0", "499ms", "61s", "4x", ""] {
        assert_eq!(window(text), Err(WindowError), "{text:?}");
    }
}

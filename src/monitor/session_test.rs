use super::*;

#[test]
fn what_does_not_say_whom_is_not_run() {
    for words in [
        "",
        "0 0 0 /bin/true",
        "x 0 0 /bin/true true",
        "0 4294967295 0 /bin/true true",
        "0 0 0, /bin/true true",
    ] {
        let words: Vec<_> = words.split(' ').map(OsString::from).collect();
        assert_eq!(run(&words).kind(), io::ErrorKind::InvalidInput, "{words:?}");
    }
}

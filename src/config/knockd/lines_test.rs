//! How the lines of a knockd.conf are cut.

use super::*;

fn shown(text: &str) -> Vec<String> {
    let show = |line: &Line<'_>| match line {
        Line::Section(name) => format!("[{}]", name.text),
        Line::Directive { key, value: None } => key.text.to_owned(),
        Line::Directive {
            key,
            value: Some(value),
        } => format!("{}={}", key.text, value.text),
        Line::Ours { key, value } => {
            let value = value.as_ref().map_or("", |value| value.text);
            format!("ours:{}={value}", key.text)
        }
        Line::Unreadable(_) => "?".to_owned(),
    };
    lines(text).iter().map(show).collect()
}

#[test]
fn lines_are_cut_as_knockd_cuts_them() {
    for (text, expected) in [
        (
            "\t[a b] \r\n\x0bK = v = w\x0c\nUseSyslog",
            "[a b]|K=v = w|UseSyslog",
        ),
        ("[ options ]\n# c\n  # c\n; c\n\n", "[ options ]|; c"),
        ("[A] # x\n[A]]\n[]\n[\n]", "[A] # x|[A]]|[]|[|]"),
        ("=5\nk=\n k =", "=5|k=|k="),
        (
            " #logknock: prefix-file = /a b \n#logknock:x\n# logknock: x = y",
            "ours:prefix-file=/a b|ours:x=",
        ),
    ] {
        assert_eq!(shown(text).join("|"), expected, "{text:?}");
    }
}

#[test]
fn a_line_that_knockd_reads_otherwise_is_told_apart() {
    let long = format!("command = {}", "x".repeat(MAX_LINE));
    assert_eq!(shown(&long), ["?"]);
    assert_eq!(shown("command = a\0b"), ["?"]);
}

#[test]
fn places_are_those_of_the_text() {
    let text = "[A]\n\t k =  v \n";
    let [Line::Section(name), Line::Directive { key, value }] = &lines(text)[..] else {
        panic!("a section and a directive");
    };
    assert_eq!(&text[name.at.clone()], "A");
    assert_eq!(&text[key.at.clone()], "k");
    assert_eq!(&text[value.as_ref().unwrap().at.clone()], "v");
}

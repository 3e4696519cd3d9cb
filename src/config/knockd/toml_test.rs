//! Strings that are written as TOML.

use super::*;

#[test]
fn a_string_is_read_back_as_it_was() {
    for text in [
        "plain",
        "a\"b",
        "a'b",
        "a'\"\\b",
        "tab\there",
        "\u{1}\u{7f}\u{85}",
        "é'\"",
    ] {
        let toml = format!("key = {}\n", quoted(text));
        let read: toml::Table = toml::from_str(&toml).unwrap();
        assert_eq!(read["key"].as_str(), Some(text), "{toml}");
    }
}

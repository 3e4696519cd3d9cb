//! Which valid name a misspelt one is taken for.

use super::nearest;

const NAMES: [&str; 5] = ["sequence", "seq_timeout", "cmd_timeout", "min_gap", "nft"];

#[test]
fn a_misspelt_name_finds_its_own() {
    for (word, name) in [
        ("sequenc", "sequence"),
        ("SEQUENCE", "sequence"),
        ("seq-timeout", "seq_timeout"),
        ("comd_timeot", "cmd_timeout"),
        ("mingap", "min_gap"),
        ("mni_gap", "min_gap"),
        ("nftables", "nft"),
        ("cmd", "cmd_timeout"),
    ] {
        assert_eq!(nearest(word, &NAMES), Some(name), "{word}");
    }
    // What it begins with, before what differs from it by three letters.
    let backends = ["nft", "ipset", "iptables"];
    assert_eq!(nearest("nftables", &backends), Some("nft"));
    assert_eq!(nearest("iptable", &backends), Some("iptables"));
}

#[test]
fn a_strange_name_finds_none() {
    assert_eq!(nearest("user", &NAMES), None);
    assert_eq!(nearest("", &NAMES), None);
    assert_eq!(nearest("n", &NAMES), None);
    assert_eq!(nearest(&"s".repeat(4000), &NAMES), None);
}

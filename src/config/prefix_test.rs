//! Which texts are prefixes, and which of them are secrets.

use super::*;

fn secret(text: &str) -> bool {
    text.parse::<Prefix>().unwrap().is_secret()
}

#[test]
fn names_are_no_secrets() {
    assert!(!secret("KNOCK: "));
    assert!(!secret("[UFW BLOCK] "));
    assert!(!secret("kernelknocks "), "no digit");
    assert!(!secret("20261120: "), "no letter");
    assert!(!secret("aaaaaaa1: "), "two different ones");
    assert!(!secret("4f9a-1c7e: "), "two short runs");
}

#[test]
fn eight_random_characters_are_a_secret() {
    assert!(secret("lk-4f9a1c7e: "));
    assert!(secret("Zx81qWv0"));
}

#[test]
fn what_no_rule_can_log_is_no_prefix() {
    assert_eq!("".parse::<Prefix>(), Err(PrefixError::Empty));
    assert_eq!("x".repeat(128).parse::<Prefix>(), Err(PrefixError::TooLong));
    assert!("x".repeat(127).parse::<Prefix>().is_ok());
    for text in ["a\0", "a\nb", "a\t"] {
        assert_eq!(text.parse::<Prefix>(), Err(PrefixError::Control));
    }
}

#[test]
fn debug_hides_it() {
    let prefix: Prefix = "lk-4f9a1c7e: ".parse().unwrap();
    assert_eq!(format!("{prefix:?}"), "Prefix(*)");
}

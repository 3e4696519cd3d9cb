//! The digest, and a damaged checkpoint.

use super::*;

#[test]
fn the_digest_is_the_published_one() {
    assert_eq!(digest(b""), 0xcbf2_9ce4_8422_2325);
    assert_eq!(digest(b"a"), 0xaf63_dc4c_8601_ec8c);
    assert_eq!(digest(b"foobar"), 0x8594_4171_f739_67e8);
}

#[test]
fn a_damaged_checkpoint_asks_for_no_more_than_a_file_can_have() {
    let damaged = r#"{"device":1,"inode":2,"offset":3,"known":999999999,"digest":4,"begun":9}"#;
    let checkpoint: Checkpoint = serde_json::from_str(damaged).unwrap();
    assert_eq!(checkpoint.proof(), (0, 3));
    assert!(!checkpoint.is_proven_by(b"abc"));
    assert_eq!(checkpoint.next_line(), Some(0));
}

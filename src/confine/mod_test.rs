//! What is given up, and what is left.

use super::*;

#[test]
fn what_is_missing_is_said() {
    let none = Confined {
        files: Strength::None,
        calls: Strength::Full,
        capabilities: vec!["DAC_READ_SEARCH".to_owned()],
        uid: 0,
    };
    assert_eq!(
        none.to_string(),
        "files: no, this kernel lacks it (Landlock); system calls: yes (seccomp); uid 0, only DAC_READ_SEARCH"
    );
    assert!(!none.is_full());
}

//! The unit that is packaged for systemd.

use std::path::Path;
use std::process::Command;

use super::need;

/// systemd's own figure for what a service could do, from 0 to 10; this is ten times as much.
const MOST: &str = "20";

#[test]
fn systemd_gives_the_unit_less_than_two_points() {
    if !need::program("systemd-analyze") {
        return;
    }
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd/logknock.service");
    let looked = Command::new("systemd-analyze")
        .args([
            "security",
            "--no-pager",
            "--offline=true",
            "--threshold",
            MOST,
        ])
        .arg(unit)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&looked.stdout);
    let error = String::from_utf8_lossy(&looked.stderr);
    assert!(said.contains("Overall exposure level"), "{error}");
    assert!(looked.status.success(), "{said}");
    // What it does not understand it only tells.
    assert_eq!(error, "");
}

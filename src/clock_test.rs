//! The clocks themselves.

use super::*;

#[test]
fn the_clocks_run_forwards_and_the_boot_keeps_its_number() {
    let (boot, monotonic) = (boot_now(), monotonic_now());
    assert!(boot_now() >= boot && monotonic_now() >= monotonic);
    assert!(boot_now() >= monotonic, "the boot clock counts suspend too");
    assert!(wall_now() > Time::from_secs(1_700_000_000));
    assert_eq!(boot_id().unwrap(), boot_id().unwrap());
}

use super::*;

#[test]
fn a_sequence_is_of_four_uncommon_ports_of_both_transports_and_each_time_another() {
    let all: Vec<_> = (0..200).map(|_| sequence().unwrap()).collect();
    for steps in &all {
        assert!(is_mixed(steps));
        let fits = |step: &Step| step.port >= 1024 && !COMMON.contains(&step.port);
        assert!(steps.iter().all(fits));
    }
    assert_ne!(all[0], all[1]);
}

#[test]
fn a_prefix_is_a_secret_that_fits_an_iptables_rule() {
    let prefix = prefix().unwrap();
    assert!(prefix.parse::<Prefix>().unwrap().is_secret());
    assert!(prefix.len() <= crate::firewall::rules::MAX_IPTABLES_PREFIX);
}

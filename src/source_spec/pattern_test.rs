//! Patterns of file names.

use super::*;

fn meant<'a>(pattern: &str, names: &[&'a str]) -> Vec<&'a str> {
    let pattern = Pattern::parse(pattern).unwrap();
    let names = names.iter().copied();
    names
        .filter(|name| pattern.means(OsStr::new(name)))
        .collect()
}

#[test]
fn what_log_rotation_has_put_aside_is_not_meant() {
    let aside = [
        "fw.log.1",
        "fw.log.12",
        "fw.log.2.gz",
        "fw.log-20260101",
        "fw.log-20260101.gz",
        "fw.1.log",
        "fw-20260101.log",
        "fw.log-2026-01-01",
        "fw.log-1767225600",
        "fw.log-20260101-0600",
        "fw.log.old",
        "fw.log~",
        "fw.log.xz",
        "fw.log.bak",
        "fw.log.20260101",
    ];
    assert_eq!(meant("/var/log/*", &aside), [""; 0]);
    assert_eq!(meant("/var/log/*.log*", &aside), [""; 0]);
}

#[test]
fn names_that_only_look_a_little_like_it_are_meant() {
    let names = [
        "fw.log",
        "fw2.log",
        "eth0.log",
        "fw-3.log",
        "kern",
        "2026.log",
        "a.b.log",
        "vlan-100.log",
    ];
    assert_eq!(meant("/var/log/*", &names), names);
}

#[test]
fn a_pattern_with_digits_means_dated_names() {
    let names = ["fw-20260101.log", "fw-20260102.log", "fw-20260101.log.gz"];
    assert_eq!(meant("/var/log/fw-20*.log", &names), names[..2]);
    assert_eq!(meant("/var/log/fw-[0-9]*.log", &names), names[..2]);
}

#[test]
fn hidden_files_are_meant_only_by_a_dot() {
    assert_eq!(meant("*", &[".fw.log", "fw.log"]), ["fw.log"]);
    assert_eq!(meant(".*", &[".fw.log"]), [".fw.log"]);
}

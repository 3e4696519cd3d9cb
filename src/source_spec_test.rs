//! Sources as they are named.

use super::*;

#[test]
fn every_form_is_read_and_printed_alike() {
    for text in [
        "/var/log/kern.log",
        "./journald",
        "/var/log/fw/*.log",
        "fw-[0-9]?.log",
        "journald",
        "kmsg",
        "nflog:0",
        "nflog:65535",
        "-",
        "unix:/run/logknock/syslog",
        "udp:127.0.0.1:514",
        "udp:[::1]:514",
    ] {
        assert_eq!(text.parse::<SourceSpec>().unwrap().to_string(), text);
    }
}

#[test]
fn the_device_is_the_ring_buffer_and_no_file() {
    assert_eq!("/dev/kmsg".parse(), Ok(SourceSpec::Kmsg));
}

#[test]
fn what_names_no_source_says_why() {
    for (text, error) in [
        ("", SourceSpecError::NoPath),
        ("unix:", SourceSpecError::NoPath),
        ("/var/log/\0", SourceSpecError::Nul),
        ("/var/*/fw.log", SourceSpecError::Wildcard),
        ("/var/*/fw*.log", SourceSpecError::Wildcard),
        ("/var/log/[.log", SourceSpecError::Pattern),
        ("udp:514", SourceSpecError::Address),
        ("udp:localhost:514", SourceSpecError::Address),
        ("udp:127.0.0.1:0", SourceSpecError::Port),
        ("nflog:", SourceSpecError::Group),
        ("nflog:65536", SourceSpecError::Group),
        ("nflog:+5", SourceSpecError::Group),
    ] {
        assert_eq!(text.parse::<SourceSpec>(), Err(error), "{text:?}");
    }
}

#[test]
fn only_a_relative_path_depends_on_the_working_directory() {
    let relative = |text: &str| {
        let spec: SourceSpec = text.parse().unwrap();
        spec.relative_path().is_some()
    };
    assert!(relative("kern.log") && relative("unix:socket") && relative("*.log"));
    assert!(!relative("/kern.log") && !relative("-") && !relative("kmsg"));
}

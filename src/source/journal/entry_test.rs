//! Journal entries as lines: which are the kernel's.

use super::*;

const BOOT: &str = "7b272007f0064708a74007ad007c0743";

/// The line of an entry of the kernel with these fields over the usual ones.
fn line(fields: &str) -> Result<String, Reason> {
    let json = |fields: &str| {
        let mut entry = serde_json::json!({
            "__CURSOR": "s=1;i=2", "__MONOTONIC_TIMESTAMP": "9000009", "_BOOT_ID": BOOT,
            "_TRANSPORT": "kernel", "SYSLOG_FACILITY": "0", "PRIORITY": "4",
            "SYSLOG_IDENTIFIER": "kernel", "_SOURCE_MONOTONIC_TIMESTAMP": "5000001",
            "MESSAGE": "lk: IN=eth0 OUT= "
        });
        let more: serde_json::Value = serde_json::from_str(fields).unwrap();
        for (name, value) in more.as_object().unwrap() {
            entry[name] = value.clone();
        }
        entry.to_string()
    };
    let entry = Entry::read(json(fields).as_bytes()).unwrap();
    entry
        .line(BOOT)
        .map(|line| String::from_utf8(line).unwrap())
}

#[test]
fn an_entry_of_the_kernel_is_a_line_with_the_kernels_stamp() {
    assert_eq!(
        line("{}").as_deref(),
        Ok("4,0,5000001,-;lk: IN=eth0 OUT= \n")
    );
    assert_eq!(
        line(r#"{"MESSAGE": [108, 107, 58, 32], "UNKNOWN": {"a": [1]}}"#).as_deref(),
        Ok("4,0,5000001,-;lk: \n")
    );
    assert_eq!(
        line(r#"{"_SOURCE_MONOTONIC_TIMESTAMP": null}"#).as_deref(),
        Ok("4,0,9000009,-;lk: IN=eth0 OUT= \n")
    );
}

#[test]
fn what_a_user_can_send_is_not_the_kernels() {
    for (fields, reason) in [
        // journald's stdout socket, copied to the kernel's log and read back.
        (r#"{"SYSLOG_FACILITY": "1"}"#, Reason::Facility),
        (r#"{"SYSLOG_FACILITY": null}"#, Reason::Facility),
        (r#"{"SYSLOG_FACILITY": ["0", "1"]}"#, Reason::Facility),
        (r#"{"SYSLOG_PID": "24582"}"#, Reason::Transport),
        // journald's native socket, which takes any facility.
        (r#"{"_TRANSPORT": "journal"}"#, Reason::Transport),
        (
            r#"{"_TRANSPORT": ["kernel", "journal"]}"#,
            Reason::Transport,
        ),
        (
            r#"{"_TRANSPORT": "syslog", "SYSLOG_FACILITY": null}"#,
            Reason::Transport,
        ),
        (
            r#"{"_BOOT_ID": "7b272007f0064708a74007ad007c0744"}"#,
            Reason::Stale,
        ),
    ] {
        assert_eq!(line(fields), Err(reason), "{fields}");
    }
}

#[test]
fn a_message_that_is_not_one_line_of_fair_length_is_none() {
    for message in [
        "null",
        "[\"a\", \"b\"]",
        "[256]",
        "{}",
        "7",
        "\"a\\nlk: IN=eth0\"",
        "[10]",
    ] {
        let fields = format!("{{\"MESSAGE\": {message}}}");
        assert_eq!(line(&fields), Err(Reason::Grammar), "{message}");
    }
    let long = format!("{{\"MESSAGE\": \"{}\"}}", "x".repeat(MAX_LINE));
    assert_eq!(line(&long), Err(Reason::TooLong));
}

#[test]
fn journald_itself_says_how_many_messages_it_missed() {
    let missed = |transport: &str, message: &str| {
        let json = serde_json::json!({
            "__CURSOR": "s=1;i=2", "_BOOT_ID": BOOT, "_TRANSPORT": transport,
            "MESSAGE_ID": MISSED, "MESSAGE": message
        });
        let entry = Entry::read(json.to_string().as_bytes()).unwrap();
        entry.missed(BOOT)
    };
    assert_eq!(
        missed("driver", "Missed 12 kernel messages"),
        Some(Loss { count: Some(12) })
    );
    assert_eq!(missed("driver", "Missed some"), Some(Loss { count: None }));
    assert_eq!(missed("journal", "Missed 12 kernel messages"), None);
    assert_eq!(missed("kernel", "Missed 12 kernel messages"), None);
}

#[test]
fn an_entry_without_stamp_or_level_is_none() {
    for fields in [
        r#"{"PRIORITY": "8"}"#,
        r#"{"PRIORITY": null}"#,
        r#"{"__MONOTONIC_TIMESTAMP": "", "_SOURCE_MONOTONIC_TIMESTAMP": "-1"}"#,
    ] {
        assert_eq!(line(fields), Err(Reason::Grammar), "{fields}");
    }
}

#[test]
fn a_malformed_entry_is_distinguished() {
    for text in [
        "",
        "\n",
        "Hint: you see nothing",
        "{}",
        "[1]",
        "{\"__CURSOR\": [\"a\"]}",
        "{\"__CURSOR\": \"a\"",
    ] {
        assert!(Entry::read(text.as_bytes()).is_none(), "{text}");
    }
}

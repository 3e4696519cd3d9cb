//! The benchmarks of `benches/` in small: what they count must be all that there was. What they measure is for people.

use crate::need::need;
use crate::process::{command, finish};

const AGENT: &str = match option_env!("CARGO_BIN_EXE_logknock-fleet") {
    Some(path) => path,
    None => "",
};

/// The words of the row that begins so.
fn row(script: &str, words: &[&str], begins: &str) -> Vec<String> {
    let script = format!("{}/benches/{script}", env!("CARGO_MANIFEST_DIR"));
    let said = finish(
        command(&script)
            .args(words)
            .env("LOGKNOCK", env!("CARGO_BIN_EXE_logknock"))
            .env("LOGKNOCK_FLEET", AGENT),
    );
    let row = said.lines().find(|line| line.starts_with(begins));
    let row = row.unwrap_or_else(|| panic!("no row of {begins}: {said}"));
    row.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn doors_that_are_knocked_at_within_a_second_all_open_and_close() {
    if !need(&["ip", "nft", "python3"]) {
        return;
    }
    for begins in ["nft: open ", "nft: closed "] {
        assert_eq!(row("doors", &["50", "nft"], begins)[2], "50", "{begins}");
    }
}

#[test]
fn every_knock_within_a_flood_opens_where_no_packet_is_lost() {
    if !need(&["ip", "nft", "python3"]) {
        return;
    }
    let row = row("flood", &["5000", "nflog"], "nflog ");
    assert_eq!(row[4..8], ["5", "of", "5", "0"], "{row:?}");
}

#[test]
fn the_kernel_tells_when_an_element_opens_a_door() {
    let tools = ["ip", "nft", "knockd", "python3", "rsyslogd", "journalctl"];
    if !need(&tools) || !need(&["unshare", "nsenter", "tail", "systemd-journald"]) {
        return;
    }
    let row = row("latency", &["--element", "1", "nflog"], "nflog ");
    assert!(
        row[1].parse::<f64>().is_ok_and(|took| took > 0.0),
        "{row:?}"
    );
}

#[test]
#[cfg(feature = "fleet")]
fn each_open_door_is_published_to_two_other_gateways() {
    if !need(&["ip", "nft", "python3", "stdbuf", "nats-server"]) {
        return;
    }
    let row = row("fleet", &["6"], "open here -> element at a peer");
    assert_eq!(row[7], "12", "{row:?}");
}

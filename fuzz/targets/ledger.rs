//! Any bytes as a journal of open grants: it is read, and reads the same when it is read again.
//!
//! A random line never has the right checksum, so one that ends in a lone `+` instead of its sum is
//! given the sum that it would have had.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use logknock::clock;
use logknock::engine::grant::{Grant, GrantId};
use logknock::engine::time::Time;
use logknock::monitor::ledger::{Boot, Ledger, Opened};

pub(crate) fn run(data: &[u8]) {
    let dir = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let state = dir.path().join("state");
    drop(open(&state));
    fs::write(state.join("grants.jsonl"), with_sums(data))
        .unwrap_or_else(|error| panic!("{error}"));
    let first = open(&state);
    let (grants, next) = (kept(&first), first.grants.next_id());
    drop(first);
    let is_lower = |(id, ..): &Kept| id.0 < next;
    assert!(grants.iter().all(is_lower), "a number twice");
    let again = open(&state);
    assert!(again.notice.is_none(), "damaged by writing it anew");
    assert_eq!(again.grants.next_id(), next);
    assert_eq!(kept(&again), grants, "a grant lost or changed");
}

/// What must not change of a grant: number, door, address, deadline, and whether it is known to be open.
type Kept = (GrantId, Arc<str>, IpAddr, Time, bool);

fn kept(opened: &Opened) -> Vec<Kept> {
    let facts = |(id, grant): (GrantId, &Grant)| {
        let door = Arc::clone(&grant.door);
        (id, door, grant.src, grant.deadline, grant.opened.is_some())
    };
    opened.grants.iter().map(facts).collect()
}

fn open(dir: &Path) -> Opened {
    // Never before what has just been written: such a deadline would count as reached.
    let boot = Boot {
        id: "this-boot".into(),
        now: clock::boot_now(),
    };
    Ledger::open(dir, &boot).unwrap_or_else(|error| panic!("{error}"))
}

fn with_sums(data: &[u8]) -> Vec<u8> {
    let mut journal = Vec::new();
    for line in data.split_inclusive(|&byte| byte == b'\n') {
        match line.strip_suffix(b"+\n") {
            Some(body) => {
                journal.extend_from_slice(body);
                journal.extend(format!(",\"sum\":\"{:016x}\"}}\n", sum(body)).bytes());
            }
            None => journal.extend_from_slice(line),
        }
    }
    journal
}

/// FNV-1a, as its authors describe it.
fn sum(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for &byte in bytes {
        hash ^= u64::from(byte);
        hash = hash.wrapping_mul(0x100_0000_01b3);
    }
    hash
}

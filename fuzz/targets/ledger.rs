//! Any bytes as a journal of open grants: it is read, and reads the same when it is read again.
//!
//! A random line never has the right checksum, so one that ends in a lone `+` instead of its sum is
//! given the sum that it would have had.

use std::fs;

use logknock::engine::grant::SavedGrant;
use logknock::engine::time::Time;
use logknock::runner::ledger::{Boot, Ledger, Opened};

pub(crate) fn run(data: &[u8]) {
    let dir = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let state = dir.path().join("state");
    let boot = Boot {
        id: "this-boot".into(),
        now: Time::from_secs(1_000),
    };
    drop(open(&state, &boot));
    fs::write(state.join("grants.jsonl"), with_sums(data))
        .unwrap_or_else(|error| panic!("{error}"));
    let first = open(&state, &boot);
    let (grants, next) = (first.grants.clone(), first.next);
    drop(first);
    assert!(grants.iter().all(|grant| grant.id < next), "a number twice");
    let again = open(&state, &boot);
    assert!(again.notice.is_none(), "damaged by writing it anew");
    assert_eq!(again.next, next);
    let kept = |grants: &[SavedGrant]| {
        let facts = |grant: &SavedGrant| {
            (
                grant.id,
                grant.door.clone(),
                grant.src,
                grant.deadline,
                grant.proven,
            )
        };
        grants.iter().map(facts).collect::<Vec<_>>()
    };
    assert_eq!(
        kept(&again.grants),
        kept(&grants),
        "a grant lost or changed"
    );
}

fn open(dir: &std::path::Path, boot: &Boot) -> Opened {
    Ledger::open(dir, boot).unwrap_or_else(|error| panic!("{error}"))
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

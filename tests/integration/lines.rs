//! `fixtures/lines/*.txt`: a log line, the packet it must give in the form that `parse` prints (`-` for
//! none), and `ok` (a packet), `no` (not a packet line) or `bad` (not to be believed).
//!
//! `BLESS=1` writes the second line anew. The third is never written: whether a line is to be believed
//! is for a human to say.

use std::fmt::Write as _;
use std::path::Path;

use logknock::dialect::{self, Verdict};

#[test]
fn every_fixture_line_is_read_as_it_says() {
    let bless = std::env::var_os("BLESS").is_some();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/lines");
    let mut wrong = String::new();
    let mut cases = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let before = std::fs::read_to_string(&path).unwrap();
        let mut after = String::new();
        for block in before.split_inclusive("\n\n") {
            after.push_str(&check(block, &mut wrong, &mut cases));
        }
        if after == before {
            continue;
        }
        if bless {
            std::fs::write(&path, after).unwrap();
        } else {
            let name = path.file_name().unwrap().display();
            writeln!(
                wrong,
                "{name} is read as follows; BLESS=1 writes it so\n{after}"
            )
            .unwrap();
        }
    }
    assert!(cases > 50, "only {cases} cases were found");
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// The block with its second line as it is read; what else is wrong goes to `wrong`.
fn check(block: &str, wrong: &mut String, cases: &mut usize) -> String {
    let comments: String = block
        .split_inclusive('\n')
        .take_while(|line| line.starts_with('#'))
        .collect();
    let case = &block[comments.len()..];
    if case.trim().is_empty() {
        return block.to_owned();
    }
    *cases += 1;
    let [line, expected, kind] = case.trim_end_matches('\n').split('\n').collect::<Vec<_>>()[..]
    else {
        writeln!(wrong, "not three lines: {case}").unwrap();
        return block.to_owned();
    };
    let reading = dialect::read(line.as_bytes());
    let (read, read_kind) = match reading.verdict() {
        Verdict::Packet(packet) => (packet.to_string(), "ok"),
        Verdict::Other => ("-".to_owned(), "no"),
        Verdict::Rejected(_) => ("-".to_owned(), "bad"),
    };
    if read_kind != kind {
        writeln!(wrong, "{read_kind}, not {kind}: {line}").unwrap();
    }
    let end = &case[line.len() + expected.len() + kind.len() + 2..];
    format!("{comments}{line}\n{read}\n{kind}{end}")
}

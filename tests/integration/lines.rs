//! `fixtures/lines/*.txt`: a log line, the packet it must give in the form that `parse` prints (`-` for
//! none), and `ok` (a packet), `no` (not a packet line) or `bad` (not to be believed).
//!
//! `BLESS=1` writes the second line anew. The third is never written: whether a line is to be believed
//! is for a human to say.
//!
//! `fixtures/real/NAME.txt`: log lines of real writers, each with what a daemon makes of it that reads the
//! format NAME (the default where there is none; `kmsg` is the kernel's own log): `counts`, `nothing` or the reason. The first line has the
//! prefix. `BLESS=1` writes reasons anew; what counts is for a human to say.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use logknock::dialect::{self, Format, Reader, Verdict};
use logknock::engine::reading::Expected;
use logknock::source_spec::SourceSpec;

fn fixtures(directory: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let files = std::fs::read_dir(directory).unwrap();
    let files = files.map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension() == Some("txt".as_ref()))
        .collect()
}

/// A file's reader: its first line has the prefix, its name is that of the format, or of the kernel's own source.
fn reader(path: &Path, text: &str) -> Reader {
    let prefix = text.lines().next().unwrap().strip_prefix("# prefix ");
    let expected = Expected::Prefix(prefix.unwrap().as_bytes().into());
    let name = path.file_stem().unwrap().to_str().unwrap();
    let mut formats = Format::named().into_iter();
    let format = formats.find(|(known, _)| *known == name);
    let format = format.map(|(_, format)| format).unwrap_or_default();
    let reader = Reader::new(format, expected);
    match name {
        "kmsg" => reader.of(&SourceSpec::Kmsg),
        _ => reader,
    }
}

#[test]
fn packets_of_real_writers_count_and_no_others() {
    for path in fixtures("fixtures/real") {
        let before = std::fs::read_to_string(&path).unwrap();
        let reader = reader(&path, &before);
        let mut after = Vec::new();
        let mut lines = before.lines();
        while let Some(line) = lines.next() {
            after.push(line);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let opened = reader.open(line.as_bytes());
            let is = match reader.read(&opened) {
                Ok(Some(_)) => "counts",
                Ok(None) => "nothing",
                Err(reason) => reason.as_str(),
            };
            let counts = lines.next() == Some("counts");
            assert_eq!(is == "counts", counts, "{is}: {line}");
            after.push(is);
        }
        let after = after.join("\n") + "\n";
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, after).unwrap();
        } else {
            assert_eq!(after, before, "{}", path.display());
        }
    }
}

#[test]
fn every_fixture_line_is_read_as_it_says() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut wrong = String::new();
    let mut cases = 0;
    for path in fixtures("fixtures/lines") {
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

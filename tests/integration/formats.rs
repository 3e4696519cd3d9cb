//! `fixtures/formats/NAME.txt`, read by the regex of `fixtures/config/ok/format_NAME.toml`: a log line,
//! the packet it must give in the form that `parse` prints (`-` for none), and `ok`, `no` (a line of
//! another kind) or `bad` (not to be believed), as in `fixtures/lines`.
//!
//! `BLESS=1` writes the second line anew, and the third where it is `?`.

use std::path::Path;

use logknock::config;
use logknock::dialect::Reader;
use logknock::engine::reading::Expected;

#[test]
fn other_firewalls_lines_are_read_as_they_say() {
    for name in ["routeros", "pf", "windows"] {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let lines = fixtures.join(format!("formats/{name}.txt"));
        let before = std::fs::read_to_string(&lines).unwrap();
        let config = fixtures.join(format!("config/ok/format_{name}.toml"));
        let reader = reader(&std::fs::read_to_string(config).unwrap());
        let blocks = before.split("\n\n").map(|block| check(&reader, block));
        let after = blocks.collect::<Vec<_>>().join("\n\n");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&lines, &after).unwrap();
        } else {
            assert_eq!(after, before, "{name}");
        }
    }
}

fn reader(text: &str) -> Reader {
    let log = config::parse("format.toml", text).unwrap().log;
    let prefix = log.prefix.as_ref();
    let expected = prefix.map_or(Expected::AnyPrefix, |prefix| {
        Expected::Prefix(prefix.as_bytes().into())
    });
    Reader::new(log.format, expected)
}

/// The block as it is read.
fn check(reader: &Reader, block: &str) -> String {
    let lines: Vec<&str> = block.trim_end().lines().collect();
    let [comments @ .., line, _, kind] = lines.as_slice() else {
        return block.to_owned();
    };
    let opened = reader.open(line.as_bytes());
    let (read, found) = match reader.read(&opened) {
        Ok(Some((_, packet))) => (packet.to_string(), "ok"),
        Ok(None) => ("-".to_owned(), "no"),
        Err(_) => ("-".to_owned(), "bad"),
    };
    assert!(
        found == *kind || *kind == "?",
        "{found}, not {kind}: {line}"
    );
    let end = &block[block.trim_end().len()..];
    let mut block: Vec<&str> = comments.to_vec();
    block.extend([line, read.as_str(), found]);
    block.join("\n") + end
}

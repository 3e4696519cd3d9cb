//! Logs as packers leave them: whole, behind each other, cut and damaged.

use std::io::Write;

use flate2::write::GzEncoder;

use super::*;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// [`text`], as `zstd -19` packs it.
const ZSTD: &[u8] = include_bytes!("../../fixtures/real/text.zst");

fn unpacked(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let raw = Box::new(Cursor::new(bytes.to_vec()));
    let mut text = Vec::new();
    let read = unpack(raw).and_then(|mut log| log.read_to_end(&mut text));
    read.map(|_| text).map_err(|error| error.to_string())
}

fn text() -> Vec<u8> {
    let lines = (0..300).flat_map(|line| format!("line {line}\n").into_bytes());
    lines.collect()
}

#[test]
fn an_archive_is_told_by_its_first_bytes() {
    let text = text();
    for packed in [text.clone(), gzip(&text), ZSTD.to_vec()] {
        assert!(unpacked(&packed).unwrap() == text);
    }
    for short in [&b""[..], b"a", b"\x1f\n", b"(\xb5"] {
        assert_eq!(unpacked(short).unwrap(), short);
    }
}

#[test]
fn archives_behind_each_other_are_one_text() {
    let text = text();
    let twice = text.repeat(2);
    assert!(unpacked(&gzip(&text).repeat(2)).unwrap() == twice);
    assert!(unpacked(&ZSTD.repeat(2)).unwrap() == twice);
    let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..], ZSTD].concat();
    assert!(unpacked(&skipped).unwrap() == text);
}

#[test]
fn an_archive_that_is_cut_short_says_so_wherever_it_is_cut() {
    for packed in [gzip(&text()), ZSTD.to_vec()] {
        for length in (4..packed.len()).step_by(7).chain([packed.len() - 1]) {
            let error = unpacked(&packed[..length]).unwrap_err();
            assert_eq!(
                error, "the archive is cut short: its end is missing",
                "{length}"
            );
        }
    }
}

#[test]
fn a_damaged_archive_is_never_another_log() {
    let text = text();
    for packed in [gzip(&text), ZSTD.to_vec()] {
        for place in (10..packed.len()).step_by(11) {
            let mut packed = packed.clone();
            packed[place] ^= 0x10;
            // A bit of a header may mean nothing: then the text is as it was.
            if let Ok(read) = unpacked(&packed) {
                assert!(read == text, "{place}");
            }
        }
    }
}

#[test]
fn what_is_not_unpacked_here_says_what_unpacks_it() {
    let error = unpacked(b"\xfd7zXZ\0").unwrap_err();
    assert!(error.contains("xzcat"), "{error}");
    assert!(unpacked(b"BZh91AY").unwrap_err().contains("bzcat"));
}

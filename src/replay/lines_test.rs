use super::*;

/// Gives its bytes `step` at a time.
struct Drip(Vec<u8>, usize);

impl Read for Drip {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let count = self.1.min(self.0.len()).min(room.len());
        room[..count].copy_from_slice(&self.0[..count]);
        self.0.drain(..count);
        Ok(count)
    }
}

fn lines(text: &[u8], step: usize) -> Vec<Option<Vec<u8>>> {
    let mut lines = Lines::new(Box::new(Drip(text.to_vec(), step)));
    let mut all = Vec::new();
    while let Some(line) = lines.next_line().unwrap() {
        all.push(match line {
            Line::Whole(bytes) => Some(bytes.to_vec()),
            Line::TooLong => None,
        });
    }
    all
}

#[test]
fn lines_do_not_depend_on_how_they_come() {
    for step in [1, 2, 3, 100] {
        assert_eq!(
            lines(b"one\n\ntwo\r\nend", step),
            [&b"one"[..], b"", b"two\r", b"end"].map(|l| Some(l.to_vec()))
        );
        assert!(lines(b"", step).is_empty());
        assert_eq!(lines(b"\n", step), [Some(Vec::new())]);
    }
}

#[test]
fn a_long_line_is_skipped_and_the_next_one_is_whole() {
    for length in [MAX_LINE + 1, PIECE, 3 * PIECE] {
        let text = [vec![b'x'; length], b"\nnext\n".to_vec()].concat();
        assert_eq!(lines(&text, usize::MAX), [None, Some(b"next".to_vec())]);
        assert_eq!(lines(&text[..length], usize::MAX), [None]);
    }
    assert_eq!(
        lines(&vec![b'x'; MAX_LINE], usize::MAX),
        [Some(vec![b'x'; MAX_LINE])]
    );
}

use super::*;

/// Gives its bytes at most `1` at a time.
struct Drip(Vec<u8>, usize);

impl Read for Drip {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let count = self.1.min(self.0.len()).min(room.len());
        room[..count].copy_from_slice(&self.0[..count]);
        self.0.drain(..count);
        Ok(count)
    }
}

fn blocks(text: &[u8], step: usize, piece: usize) -> Vec<(bool, Vec<u8>)> {
    let mut blocks = Blocks::new(Box::new(Drip(text.to_vec(), step)), piece);
    let (mut all, mut block) = (Vec::new(), Block::default());
    while blocks.fill(&mut block).unwrap() {
        all.push((block.begins_too_long, block.bytes().to_vec()));
    }
    assert!(!blocks.fill(&mut block).unwrap());
    all
}

#[test]
fn only_the_last_block_ends_without_a_newline() {
    let text = b"one\n\ntwo\r\nend";
    for (step, piece) in [(1, 1), (2, 9), (100, 3), (100, 100)] {
        let blocks = blocks(text, step, piece);
        let (last, others) = blocks.split_last().unwrap();
        assert!(others.iter().all(|(_, bytes)| bytes.ends_with(b"\n")));
        assert!(last.1.ends_with(b"end"));
        let all: Vec<_> = blocks.iter().flat_map(|(_, bytes)| bytes).collect();
        assert_eq!(all, text.iter().collect::<Vec<_>>(), "{step} {piece}");
    }
    assert!(blocks(b"", 1, 1).is_empty());
}

#[test]
fn of_a_line_that_is_too_long_only_the_end_is_kept() {
    for length in [MAX_LINE + 1, 3 * MAX_LINE] {
        let text = [b"a\n", &vec![b'x'; length][..], b"\nnext\n"].concat();
        for piece in [1, 1000, MAX_LINE, 2 * MAX_LINE] {
            let blocks = blocks(&text, usize::MAX, piece);
            assert!(
                blocks
                    .iter()
                    .all(|(_, block)| block.len() <= piece + MAX_LINE)
            );
            assert!(blocks.last().unwrap().1.ends_with(b"next\n"));
        }
        let cut = blocks(&text[..length + 2], usize::MAX, 1000);
        assert!(cut.last().unwrap().0, "what is left of it ends it");
    }
}

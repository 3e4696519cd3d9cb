//! A line with one thing wrong with it, in every way: for readers of usual lines, which must agree with the
//! others on whatever else comes.

/// Passes damaged copies of `line` to `read`: cut at any place, with any byte changed into any other, with any byte
/// left out, or with one of `between` before it.
pub(super) fn damage(line: &[u8], between: &[u8], mut read: impl FnMut(&[u8])) {
    for place in 0..line.len() {
        read(&line[..place]);
        let mut changed = line.to_vec();
        for byte in 0..=u8::MAX {
            changed[place] = byte;
            read(&changed);
        }
        changed = line.to_vec();
        changed.insert(place, 0);
        for &byte in between {
            changed[place] = byte;
            read(&changed);
        }
        changed.remove(place);
        changed.remove(place);
        read(&changed);
    }
}

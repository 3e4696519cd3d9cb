//! Messages as bytes: JSON, with a bound.
//!
//! In: a message, or bytes of the other process. Out: the other of them, or nothing: what is too long, has a
//! field that it should not have, or says anything else than its type is none.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The version spoken here. Both ends are the same program; it is looked at all the same.
pub const VERSION: u32 = 1;

/// The last place in `text` that is not beyond `most` bytes and not within a character.
pub(super) fn boundary(text: &str, most: usize) -> usize {
    let mut places = (0..=most.min(text.len())).rev();
    places.find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

pub(super) fn encode(message: &impl Serialize, most: usize) -> Option<Vec<u8>> {
    let bytes = serde_json::to_vec(message).ok()?;
    (bytes.len() <= most).then_some(bytes)
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8], most: usize) -> Option<T> {
    if bytes.len() > most {
        return None;
    }
    serde_json::from_slice(bytes).ok()
}

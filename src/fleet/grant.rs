//! A grant as it goes over the bus: which door one gateway has opened for whom, until when, signed by it.
//!
//! In: what is open, and a key; or what came from a stranger. Out: a signed grant; or whether it is sound and whose
//! key signed it. Nothing here knows which gateway may open which door.

use std::net::IpAddr;

use data_encoding::BASE64;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

/// Longest name of a door or a gateway.
pub const MAX_NAME: usize = 64;
/// What is signed begins with this, so that a signature means nothing elsewhere.
const CONTEXT: &str = "logknock grant 1";

/// A grant with its signature. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedGrant {
    /// The same for the same grant, however often it is sent.
    pub id: String,
    /// The door.
    pub door: String,
    /// For whom it is open.
    pub src: IpAddr,
    /// Since when.
    pub opened: i64,
    /// Until when.
    pub expires: i64,
    /// The gateway that opened it.
    pub origin: String,
    /// Ed25519 over all of the above, in base64.
    pub signature: String,
}

impl SignedGrant {
    /// The same, signed with `key`.
    #[must_use]
    pub fn signed(self, key: &SigningKey) -> Self {
        let signature = key.sign(self.text().as_bytes());
        Self {
            signature: BASE64.encode(&signature.to_bytes()),
            ..self
        }
    }

    /// Whether the owner of `key` signed it as it is.
    pub fn is_signed_by(&self, key: &VerifyingKey) -> bool {
        let bytes = BASE64.decode(self.signature.as_bytes()).ok();
        let signature = bytes.and_then(|bytes| Signature::from_slice(&bytes).ok());
        signature.is_some_and(|signature| {
            key.verify_strict(self.text().as_bytes(), &signature)
                .is_ok()
        })
    }

    /// Whether its texts are within their bounds and its times in their order.
    pub fn is_sound(&self) -> bool {
        let is_id = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=MAX_NAME).contains(&self.id.len())
            && self.id.bytes().all(is_id)
            && is_name(&self.origin)
            && is_name(&self.door)
            && self.src == self.src.to_canonical()
            && self.opened > 0
            && self.opened < self.expires
    }

    fn text(&self) -> String {
        let Self {
            id,
            door,
            src,
            opened,
            expires,
            origin,
            signature: _,
        } = self;
        format!("{CONTEXT}\n{id}\n{door}\n{src}\n{opened}\n{expires}\n{origin}\n")
    }
}

/// Whether a gateway, or a door that a fleet shares, can have this name: it is one part of a subject of the bus.
pub fn is_name(name: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(valid)
}

/// The public key that `text` is in base64.
pub fn public_key(text: &str) -> Option<VerifyingKey> {
    let bytes = BASE64.decode(text.trim().as_bytes()).ok()?;
    let key = VerifyingKey::from_bytes(&bytes.try_into().ok()?).ok()?;
    // With such a key anybody could sign.
    (!key.is_weak()).then_some(key)
}

/// The private key that `text` is in base64.
pub fn signing_key(text: &str) -> Option<SigningKey> {
    let bytes = BASE64.decode(text.trim().as_bytes()).ok()?;
    Some(SigningKey::from_bytes(&bytes.try_into().ok()?))
}

/// A key as text.
pub fn key_text(bytes: &[u8; 32]) -> String {
    BASE64.encode(bytes)
}

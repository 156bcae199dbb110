//! Digests: the release of a tree, the revision of an instance, and the key under which both are made.
//!
//! Whatever may contain a secret is digested with HMAC-SHA-256 under the cluster's random key, so that a digest that shows
//! up in a header, a znode or a log says nothing about the secret, not even to somebody who can guess it.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretBox};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// How many bytes of a digest are kept: short enough to read out, long enough never to collide by accident.
const KEPT: usize = 8;

/// The cluster's HMAC key (`/superset/key`, or a file in `state_dir` with a directory source).
#[derive(Debug)]
pub struct DigestKey(SecretBox<[u8; 32]>);

impl DigestKey {
    /// How many bytes a key has.
    pub const LEN: usize = 32;

    /// Takes the key from its stored bytes; `None` unless there are exactly [`Self::LEN`] of them.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; Self::LEN] = bytes.try_into().ok()?;
        Some(Self(SecretBox::new(Box::new(bytes))))
    }

    /// Its bytes, for whoever stores it.
    #[must_use]
    pub fn expose(&self) -> &[u8; Self::LEN] {
        self.0.expose_secret()
    }

    /// Starts a digest that means `purpose` and nothing else.
    #[must_use]
    pub fn digest(&self, purpose: &str) -> Digest {
        // HMAC pads a shorter key with zeros to the hash's block: doing it here keeps the constructor that cannot fail.
        let mut block = [0; 64];
        block[..Self::LEN].copy_from_slice(self.0.expose_secret());
        let mac = Hmac::<Sha256>::new(&block.into());
        let mut digest = Digest(mac);
        digest.field(purpose.as_bytes());
        digest
    }
}

/// A digest in the making: fields go in one by one, and no two lists of fields make the same bytes.
pub struct Digest(Hmac<Sha256>);

impl Digest {
    /// Adds one field.
    pub fn field(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// All 32 bytes of the digest.
    #[must_use]
    pub fn full(self) -> [u8; 32] {
        self.0.finalize().into_bytes().into()
    }

    /// The digest as 16 hexadecimal digits.
    #[must_use]
    pub fn short(self) -> String {
        use fmt::Write;
        self.full()[..KEPT].iter().fold(String::with_capacity(2 * KEPT), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// The digest of a set, kept up to date at the cost of what changed: the sum of its members' digests (law 12).
///
/// A sum of HMACs under a secret key, each of a different text, tells nobody which sets sum alike; it goes out only through
/// another [`Digest`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DigestSum([u64; 4]);

impl DigestSum {
    /// The sum of this one member.
    #[must_use]
    pub fn of(member: Digest) -> Self {
        let bytes = member.full();
        let mut lanes = [0; 4];
        for (lane, chunk) in lanes.iter_mut().zip(bytes.chunks_exact(8)) {
            *lane = chunk.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
        }
        Self(lanes)
    }

    /// Puts these members in.
    pub fn add(&mut self, members: Self) {
        self.each(members, u64::wrapping_add);
    }

    /// Takes these members out.
    pub fn take(&mut self, members: Self) {
        self.each(members, u64::wrapping_sub);
    }

    /// Adds the sum to a digest as one field.
    pub fn write(&self, digest: &mut Digest) {
        digest.field(&self.0.map(u64::to_le_bytes).concat());
    }

    fn each(&mut self, members: Self, with: fn(u64, u64) -> u64) {
        for (lane, other) in self.0.iter_mut().zip(members.0) {
            *lane = with(*lane, other);
        }
    }
}

macro_rules! digest_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Names it by the digest's text.
            #[must_use]
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The digest's text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

digest_name! {
    /// Which config tree was published, before labels select.
    Release
}
digest_name! {
    /// What one instance resolves from a release: its config, templates, base and the rendering format's number.
    Revision
}

digest_name! {
    /// Which whole tree, datasources included: what a person confirms when the guard holds it.
    TreeDigest
}

impl Revision {
    /// What files have that are not ours: found where ours are to lie, or a fallback. Superset names no revision with them.
    #[must_use]
    pub fn unnamed() -> Self {
        Self::new("unnamed")
    }

    /// Whether it is that of files that are not ours.
    #[must_use]
    pub fn is_unnamed(&self) -> bool {
        *self == Self::unnamed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> DigestKey {
        DigestKey::from_bytes(&[byte; 32]).unwrap()
    }

    fn digest(key: &DigestKey, fields: &[&str]) -> String {
        let mut digest = key.digest("test");
        for field in fields {
            digest.field(field.as_bytes());
        }
        digest.short()
    }

    #[test]
    fn the_same_fields_make_the_same_digest_and_others_another() {
        assert_eq!(digest(&key(1), &["a", "b"]), digest(&key(1), &["a", "b"]));
        assert_ne!(digest(&key(1), &["a", "b"]), digest(&key(1), &["ab"]));
        assert_ne!(digest(&key(1), &["a"]), digest(&key(2), &["a"]));
        assert_eq!(digest(&key(1), &[]).len(), 16);
    }

    #[test]
    fn a_sum_does_not_depend_on_the_order_or_on_what_was_taken_out() {
        let member = |text: &str| {
            let mut digest = key(1).digest("member");
            digest.field(text.as_bytes());
            DigestSum::of(digest)
        };
        let mut one = DigestSum::default();
        for text in ["a", "b", "c"] {
            one.add(member(text));
        }
        one.take(member("b"));
        let mut other = member("c");
        other.add(member("a"));
        assert_eq!(one, other);
        assert_ne!(one, member("a"));
    }

    #[test]
    fn a_key_of_another_length_is_no_key() {
        assert!(DigestKey::from_bytes(&[0; 31]).is_none());
    }
}

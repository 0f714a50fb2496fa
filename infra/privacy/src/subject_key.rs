//! One subject's key: how a text is sealed and opened.
//!
//! Sealed is base64 (RFC 4648, URL-safe, without padding) of a format version (one byte, 1), a nonce (12 bytes) and the
//! ciphertext with its tag (AES-256-GCM, NIST SP 800-38D). The version and the subject are associated data.
//!
//! **Deterministic.** The nonce is the first 12 bytes of the HMAC-SHA256 of version and padded text, so the same text of the
//! same subject is sealed into the same text, and a retry can be told from a change. Who has no key learns from it that two
//! texts of one subject are equal, whatever fields they stand in, and nothing about texts of different subjects. Two texts
//! of one subject share a nonce by chance only: 2^-33 after four thousand million of them.
//!
//! **Padded.** The byte 0x80 and then zeros follow the text (ISO/IEC 7816-4) up to 64 bytes, or the next power of two that
//! has room. So every name, e-mail address and telephone number of up to 63 bytes has the same length, and of a longer
//! text only its power of two is known.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kontor_domain::SubjectId;
use kontor_domain::personal::Personal;
use ring::aead::{self, AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{hkdf, hmac};
use std::fmt;

/// Length of a key in bytes.
pub const KEY_LEN: usize = 32;

const VERSION: u8 = 1;
const PADDED_MIN: usize = 64;
const PADDING_BEGINS: u8 = 0x80;

/// Why a sealed text cannot be opened, though its subject has a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("it is not base64")]
    Encoding,
    #[error("it is of {length} bytes, too few for a sealed text")]
    Short { length: usize },
    #[error("its format version is {version}, only {VERSION} is known")]
    Version { version: u8 },
    #[error("it was changed, or sealed with another key")]
    Forged,
    #[error("it holds no text")]
    NoText,
}

/// Seals and opens what is one subject's. It is never printed.
pub struct SubjectKey {
    sealing: LessSafeKey,
    nonces: hmac::Key,
}

/// The key itself, as it is wrapped.
pub type KeyBytes = [u8; KEY_LEN];

/// A new key; `None` when the system has no random numbers.
pub fn random_key() -> Option<KeyBytes> {
    let mut bytes = [0; KEY_LEN];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(bytes)
}

impl SubjectKey {
    pub fn new(bytes: &KeyBytes) -> Self {
        // Two keys from one (RFC 5869), so that neither use says anything about the other.
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, b"kontor personal data").extract(bytes);
        let sealing = root.expand(&[b"seal"], &AES_256_GCM).expect("the length is the algorithm's own");
        let nonces = root.expand(&[b"nonce"], hmac::HMAC_SHA256).expect("the length is the algorithm's own");
        Self { sealing: LessSafeKey::new(UnboundKey::from(sealing)), nonces: hmac::Key::from(nonces) }
    }

    /// `subject` must be the one whose key this is.
    pub fn seal(&self, subject: &SubjectId, text: &str) -> Personal {
        let mut message = padded(text);
        let nonce = self.nonce(&message);
        let head = [&[VERSION][..], &nonce].concat();
        self.sealing
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), associated(subject), &mut message)
            .expect("a text is shorter than 64 GB");
        Personal { subject: subject.clone(), sealed: URL_SAFE_NO_PAD.encode([head, message].concat()).into() }
    }

    /// The text that was sealed for the same subject.
    pub fn open(&self, personal: &Personal) -> Result<String, Unreadable> {
        let bytes = URL_SAFE_NO_PAD.decode(&personal.sealed).map_err(|_| Unreadable::Encoding)?;
        let length = bytes.len();
        let short = Unreadable::Short { length };
        let (&version, rest) = bytes.split_first().ok_or(short)?;
        if version != VERSION {
            return Err(Unreadable::Version { version });
        }
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>().ok_or(short)?;
        let mut sealed = sealed.to_vec();
        let message = self
            .sealing
            .open_in_place(Nonce::assume_unique_for_key(*nonce), associated(&personal.subject), &mut sealed)
            .map_err(|_| Unreadable::Forged)?;
        let text = unpadded(message).ok_or(Unreadable::NoText)?;
        String::from_utf8(text.to_vec()).map_err(|_| Unreadable::NoText)
    }

    /// Of the padded text and the version: another padding must never meet the same nonce.
    fn nonce(&self, message: &[u8]) -> [u8; NONCE_LEN] {
        let mut context = hmac::Context::with_key(&self.nonces);
        context.update(&[VERSION]);
        context.update(message);
        let tag = context.sign();
        *tag.as_ref().first_chunk().expect("SHA-256 has 32 bytes")
    }
}

impl fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubjectKey")
    }
}

fn associated(subject: &SubjectId) -> Aad<Vec<u8>> {
    Aad::from([&[VERSION][..], subject.as_str().as_bytes()].concat())
}

fn padded(text: &str) -> Vec<u8> {
    let length = (text.len() + 1).next_power_of_two().max(PADDED_MIN);
    let mut message = Vec::with_capacity(length + aead::MAX_TAG_LEN);
    message.extend_from_slice(text.as_bytes());
    message.push(PADDING_BEGINS);
    message.resize(length, 0);
    message
}

fn unpadded(message: &[u8]) -> Option<&[u8]> {
    let last = message.iter().rposition(|&byte| byte != 0)?;
    (message[last] == PADDING_BEGINS).then(|| &message[..last])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn subject(id: &str) -> SubjectId {
        id.parse().expect("a subject's id")
    }

    fn sealed_bytes(personal: &Personal) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(&personal.sealed).expect("base64")
    }

    fn with_bytes(personal: &Personal, bytes: &[u8]) -> Personal {
        Personal { subject: personal.subject.clone(), sealed: URL_SAFE_NO_PAD.encode(bytes).into() }
    }

    /// Short ones, long ones, and those that look like padding.
    fn text() -> impl Strategy<Value = String> {
        prop_oneof![any::<String>(), "[a-zA-Z ]{55,70}", "\\PC{0,300}", "[\u{0}\u{80}]{0,80}"]
    }

    proptest! {
        #[test]
        fn what_is_sealed_is_opened(bytes: KeyBytes, id in "[A-Za-z0-9._-]{1,64}", text in text()) {
            let key = SubjectKey::new(&bytes);
            let personal = key.seal(&subject(&id), &text);
            prop_assert_eq!(key.open(&personal), Ok(text));
        }

        #[test]
        fn equal_texts_of_one_subject_are_sealed_alike_and_others_are_not(bytes: KeyBytes, one in text(), other in text()) {
            let (key, again) = (SubjectKey::new(&bytes), SubjectKey::new(&bytes));
            let a = subject("A");
            prop_assert_eq!(key.seal(&a, &one), again.seal(&a, &one));
            prop_assert_eq!(key.seal(&a, &one) == key.seal(&a, &other), one == other);
        }

        #[test]
        fn subjects_have_nothing_in_common(bytes: KeyBytes, others: KeyBytes, text in text()) {
            prop_assume!(bytes != others);
            let (ours, theirs) = (SubjectKey::new(&bytes), SubjectKey::new(&others));
            let (a, b) = (subject("A"), subject("B"));
            let (one, other) = (ours.seal(&a, &text), theirs.seal(&b, &text));
            let (one, other) = (sealed_bytes(&one), sealed_bytes(&other));
            prop_assert_ne!(&one[1..13], &other[1..13], "the nonces differ");
            prop_assert_ne!(&one[13..], &other[13..]);
        }

        #[test]
        fn what_is_anothers_is_refused(bytes: KeyBytes, others: KeyBytes, text in text()) {
            prop_assume!(bytes != others);
            let (ours, theirs) = (SubjectKey::new(&bytes), SubjectKey::new(&others));
            let personal = ours.seal(&subject("A"), &text);
            prop_assert_eq!(theirs.open(&personal), Err(Unreadable::Forged));
            // Passed off as another's, with the key that opens it.
            let passed_off = Personal { subject: subject("B"), ..personal };
            prop_assert_eq!(ours.open(&passed_off), Err(Unreadable::Forged));
        }

        #[test]
        fn a_flipped_bit_is_refused(bytes: KeyBytes, text in text(), place: prop::sample::Index, bit in 0..8u8) {
            let key = SubjectKey::new(&bytes);
            let personal = key.seal(&subject("A"), &text);
            let mut sealed = sealed_bytes(&personal);
            let place = place.index(sealed.len());
            sealed[place] ^= 1u8 << bit;
            let expected = match place {
                0 => Unreadable::Version { version: sealed[0] },
                _ => Unreadable::Forged,
            };
            prop_assert_eq!(key.open(&with_bytes(&personal, &sealed)), Err(expected));
        }

        #[test]
        fn any_other_spelling_is_refused(bytes: KeyBytes, place: prop::sample::Index, letter in "[A-Za-z0-9_=+/ -]") {
            let key = SubjectKey::new(&bytes);
            let personal = key.seal(&subject("A"), "Ada Lovelace");
            let mut spelling = personal.sealed.to_string();
            let place = place.index(spelling.len());
            spelling.replace_range(place..=place, &letter);
            prop_assume!(spelling != personal.sealed.as_str());
            let changed = Personal { sealed: spelling.into(), ..personal };
            prop_assert!(key.open(&changed).is_err());
        }

        #[test]
        fn cut_short_it_is_refused(bytes: KeyBytes, left: prop::sample::Index) {
            let key = SubjectKey::new(&bytes);
            let personal = key.seal(&subject("A"), "Ada Lovelace");
            let sealed = sealed_bytes(&personal);
            let left = left.index(sealed.len());
            let expected = if left < 13 { Unreadable::Short { length: left } } else { Unreadable::Forged };
            prop_assert_eq!(key.open(&with_bytes(&personal, &sealed[..left])), Err(expected));
        }
    }

    #[test]
    fn the_length_tells_little() {
        let key = SubjectKey::new(&[7; KEY_LEN]);
        let length = |text: usize| sealed_bytes(&key.seal(&subject("A"), &"x".repeat(text))).len() - 1 - 12 - 16;
        assert_eq!([0, 5, 63].map(length), [64, 64, 64]);
        assert_eq!([64, 100, 127].map(length), [128, 128, 128]);
        assert_eq!([128, 255, 256].map(length), [256, 256, 512]);
    }

    /// Events are kept for ever: what this release seals, the next must open. Worked out with
    /// Python's `cryptography`, not with this code.
    #[test]
    fn what_was_once_sealed_is_opened_for_ever() {
        let key = SubjectKey::new(&[7; KEY_LEN]);
        let stored = Personal { subject: subject("17850"), sealed: STORED.into() };
        assert_eq!(key.open(&stored).as_deref(), Ok("Ada Lovelace"));
        assert_eq!(key.seal(&subject("17850"), "Ada Lovelace"), stored);
    }

    const STORED: &str = "AbEqvMmKcYifdllGDPAwfxIDmBbniDI2B_VqO0ZkL1vPKPdSNxogYNcXUGfA3olStDZ-Slk6Tt3kC_0gCwLgyRaKuujkAXBiFSMdzmXJC\
                          bApkuMFQjvpcG5HqKqk";

    #[test]
    fn a_key_is_not_printed() {
        assert_eq!(format!("{:?}", SubjectKey::new(&[7; KEY_LEN])), "SubjectKey");
    }
}

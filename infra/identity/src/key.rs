//! The key that signs tokens, until the identity service has one: made once for each platform, kept in two PEM files.

use jsonwebtoken::EncodingKey;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The private half, PKCS #8 in PEM, readable by its owner only.
const PRIVATE_FILE: &str = "token-signing-key.pem";
/// The public half, SubjectPublicKeyInfo in PEM.
const PUBLIC_FILE: &str = "token-public-key.pem";
/// DER of a SubjectPublicKeyInfo up to the 32 bytes of an Ed25519 key (RFC 8410).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("{} holds no Ed25519 key in PEM: {reason}", path.display())]
    Unfit { path: PathBuf, reason: String },
    #[error("no key could be made")]
    Random,
}

/// The private half. It is never printed.
pub struct SigningKey(pub(crate) EncodingKey);

impl SigningKey {
    /// Where the public half of the keys in `folder` is.
    pub fn public_file(folder: &Path) -> PathBuf {
        folder.join(PUBLIC_FILE)
    }

    /// The key in `folder`, which is made if it is not there.
    pub fn find_or_make(folder: &Path) -> Result<Self, KeyError> {
        if !folder.join(PRIVATE_FILE).exists() {
            make(folder)?;
        }
        Self::find(folder)
    }

    /// The key in `folder`.
    pub fn find(folder: &Path) -> Result<Self, KeyError> {
        let path = folder.join(PRIVATE_FILE);
        let text = fs::read(&path).map_err(|error| KeyError::File { path: path.clone(), error })?;
        let key = EncodingKey::from_ed_pem(&text);
        key.map(Self).map_err(|error| KeyError::Unfit { path, reason: error.to_string() })
    }
}

fn make(folder: &Path) -> Result<(), KeyError> {
    let private = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| KeyError::Random)?;
    let pair = Ed25519KeyPair::from_pkcs8(private.as_ref()).map_err(|_| KeyError::Random)?;
    let public = [&SPKI_PREFIX, pair.public_key().as_ref()].concat();
    // The public half first: where the private one is, both are.
    write(&folder.join(PUBLIC_FILE), &pem("PUBLIC KEY", public), 0o644)?;
    write(&folder.join(PRIVATE_FILE), &pem("PRIVATE KEY", private.as_ref().to_vec()), 0o600)
}

fn pem(tag: &str, der: Vec<u8>) -> String {
    pem::encode(&pem::Pem::new(tag, der))
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), KeyError> {
    let failed = |error| KeyError::File { path: path.to_owned(), error };
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

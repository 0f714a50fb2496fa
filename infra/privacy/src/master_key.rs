//! What the subjects' keys are wrapped with: without it, nobody can read any personal data, backups included.

use crate::subject_key::{KEY_LEN, KeyBytes, random_key};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kontor_domain::SubjectId;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{hkdf, hmac};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Readable by its owner only.
const FILE: &str = "master-key";

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    /// The line is not repeated: it may be most of a key.
    #[error("{} holds no master key: line {line} must be 32 bytes in base64", path.display())]
    Unfit { path: PathBuf, line: usize },
    #[error("{} holds no master key: it is empty", path.display())]
    Empty { path: PathBuf },
    #[error("{} holds master key {number} twice", path.display())]
    Twice { path: PathBuf, number: i32 },
    #[error("no key could be made")]
    Random,
}

/// Why a subject's key cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnwrapError {
    /// Another master key is needed.
    Missing,
    Forged,
}

/// The master key, and those that it follows: subjects' keys are wrapped with the first and unwrapped with any. Never printed.
pub struct MasterKey {
    current: Numbered,
    earlier: Vec<Numbered>,
}

struct Numbered {
    number: i32,
    wrapping: LessSafeKey,
}

impl MasterKey {
    /// Where the key in `folder` is.
    pub fn file(folder: &Path) -> PathBuf {
        folder.join(FILE)
    }

    /// The key in `folder`, which is made if it is not there. One that is there is never replaced.
    pub fn find_or_make(folder: &Path) -> Result<Self, MasterKeyError> {
        let path = Self::file(folder);
        if !path.exists() {
            make(folder, &path)?;
        }
        Self::read(&path)
    }

    /// The keys in a file: 32 bytes in base64 (RFC 4648, with padding) each, one a line. The first one wraps.
    pub fn read(path: &Path) -> Result<Self, MasterKeyError> {
        let text = fs::read_to_string(path).map_err(|error| MasterKeyError::File { path: path.to_owned(), error })?;
        let mut keys: Vec<Numbered> = Vec::new();
        for (line, written) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
            let bytes = STANDARD.decode(written.trim()).ok().and_then(|bytes| KeyBytes::try_from(bytes).ok());
            let key = Numbered::new(&bytes.ok_or_else(|| MasterKeyError::Unfit { path: path.to_owned(), line })?);
            if keys.iter().any(|other| other.number == key.number) {
                return Err(MasterKeyError::Twice { path: path.to_owned(), number: key.number });
            }
            keys.push(key);
        }
        let mut keys = keys.into_iter();
        let current = keys.next().ok_or_else(|| MasterKeyError::Empty { path: path.to_owned() })?;
        Ok(Self { current, earlier: keys.collect() })
    }

    /// The number of the key that wraps. It follows from the key, so no key can be taken for another.
    pub fn number(&self) -> i32 {
        self.current.number
    }

    /// A nonce, the wrapped key and its tag; `None` when the system has no random numbers.
    pub(crate) fn wrap(&self, subject: &SubjectId, key: &KeyBytes) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let mut wrapped = key.to_vec();
        let sealed = self.current.wrapping.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(subject.as_str()),
            &mut wrapped,
        );
        sealed.expect("a key is short");
        Some([&nonce[..], &wrapped].concat())
    }

    /// The subject's key that master key `number` has wrapped.
    pub(crate) fn unwrap(&self, subject: &SubjectId, wrapped: &[u8], number: i32) -> Result<KeyBytes, UnwrapError> {
        let mut keys = std::iter::once(&self.current).chain(&self.earlier);
        let key = keys.find(|key| key.number == number).ok_or(UnwrapError::Missing)?;
        let (nonce, wrapped) = wrapped.split_first_chunk::<NONCE_LEN>().ok_or(UnwrapError::Forged)?;
        let mut wrapped = wrapped.to_vec();
        let opened =
            key.wrapping.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(subject.as_str()), &mut wrapped);
        opened.ok().and_then(|bytes| KeyBytes::try_from(&*bytes).ok()).ok_or(UnwrapError::Forged)
    }
}

impl Numbered {
    fn new(bytes: &KeyBytes) -> Self {
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, b"kontor master key").extract(bytes);
        let wrapping = root.expand(&[b"wrap"], &AES_256_GCM).expect("the length is the algorithm's own");
        let number = root.expand(&[b"number"], hmac::HMAC_SHA256).expect("the length is the algorithm's own");
        let tag = hmac::sign(&hmac::Key::from(number), b"");
        let first = *tag.as_ref().first_chunk().expect("SHA-256 has 32 bytes");
        Self { number: i32::from_be_bytes(first) & i32::MAX, wrapping: LessSafeKey::new(UnboundKey::from(wrapping)) }
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.number())
    }
}

fn make(folder: &Path, path: &Path) -> Result<(), MasterKeyError> {
    let key: [u8; KEY_LEN] = random_key().ok_or(MasterKeyError::Random)?;
    let written = || {
        // Linked to its place when it is whole and on disk: there it is never half, and replaces no other.
        let draft = folder.join(format!("{FILE}.{}", std::process::id()));
        let _ = fs::remove_file(&draft);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        writeln!(file, "{}", STANDARD.encode(key))?;
        file.sync_all()?;
        let linked = match fs::hard_link(&draft, path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()), // Another process was first.
            linked => linked,
        };
        fs::remove_file(&draft)?;
        linked?;
        File::open(folder)?.sync_all()
    };
    written().map_err(|error| MasterKeyError::File { path: path.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const KEY: KeyBytes = [7; KEY_LEN];

    fn subject() -> SubjectId {
        "17850".parse().expect("a subject's id")
    }

    fn file(lines: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = MasterKey::file(folder.path());
        fs::write(&path, lines.join("\n")).expect("a file");
        (folder, path)
    }

    #[test]
    fn the_key_is_made_once_for_its_owner_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let made = MasterKey::find_or_make(folder.path()).expect("a key");
        let found = MasterKey::find_or_make(folder.path()).expect("the key");
        assert_eq!(made.number(), found.number());
        let path = MasterKey::file(folder.path());
        assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).expect("it is there").count(), 1, "no draft is left");
        let text = fs::read_to_string(path).expect("it is text");
        assert_eq!(STANDARD.decode(text.trim()).map(|key| key.len()), Ok(32));
        assert!(!format!("{made:?}").contains(text.trim()));
    }

    #[test]
    fn only_the_master_key_unwraps_and_only_for_its_subject() {
        let [one, two] = [[1; KEY_LEN], [2; KEY_LEN]].map(|key| STANDARD.encode(key));
        let ((_one, one), (_two, two)) = (file(&[&one]), file(&[&two]));
        let (one, two) = (MasterKey::read(&one).expect("a key"), MasterKey::read(&two).expect("a key"));
        let wrapped = one.wrap(&subject(), &KEY).expect("random numbers");
        assert_eq!(wrapped.len(), 60);
        assert_eq!(one.unwrap(&subject(), &wrapped, one.number()), Ok(KEY));
        assert_eq!(two.unwrap(&subject(), &wrapped, one.number()), Err(UnwrapError::Missing));
        assert_eq!(two.unwrap(&subject(), &wrapped, two.number()), Err(UnwrapError::Forged));
        let other: SubjectId = "17851".parse().expect("a subject's id");
        assert_eq!(one.unwrap(&other, &wrapped, one.number()), Err(UnwrapError::Forged));
        for place in 0..wrapped.len() {
            let mut wrapped = wrapped.clone();
            wrapped[place] ^= 1;
            assert_eq!(one.unwrap(&subject(), &wrapped, one.number()), Err(UnwrapError::Forged));
        }
    }

    #[test]
    fn the_first_line_wraps_and_all_unwrap() {
        let [old, new] = [[1; KEY_LEN], [2; KEY_LEN]].map(|key| STANDARD.encode(key));
        let ((_a, before), (_b, after)) = (file(&[&old]), file(&[&new, "", &old]));
        let (before, after) = (MasterKey::read(&before).expect("a key"), MasterKey::read(&after).expect("keys"));
        assert_ne!(before.number(), after.number());
        let wrapped = before.wrap(&subject(), &KEY).expect("random numbers");
        assert_eq!(after.unwrap(&subject(), &wrapped, before.number()), Ok(KEY));
        let wrapped = after.wrap(&subject(), &KEY).expect("random numbers");
        assert_eq!(after.unwrap(&subject(), &wrapped, after.number()), Ok(KEY));
    }

    #[test]
    fn a_file_that_holds_no_key_is_refused_without_repeating_it() {
        let key = STANDARD.encode(KEY);
        let told = |lines: &[&str]| {
            let (_folder, path) = file(lines);
            let error = MasterKey::read(&path).expect_err("it is refused").to_string();
            error.replace(&path.display().to_string(), "FILE")
        };
        assert_eq!(told(&[]), "FILE holds no master key: it is empty");
        assert_eq!(told(&[&key, &key[1..]]), "FILE holds no master key: line 2 must be 32 bytes in base64");
        assert_eq!(told(&["c2hvcnQ="]), "FILE holds no master key: line 1 must be 32 bytes in base64");
        assert!(told(&[&key, &key]).ends_with(" twice"));
        let nowhere = MasterKey::read(Path::new("nowhere")).expect_err("it is not there");
        assert!(matches!(nowhere, MasterKeyError::File { .. }), "{nowhere}");
    }
}

//! What is in a folder beside its collections: aliases and synonyms, each a small file that is replaced as a whole.

use crate::engine::SearchError;
use crate::synonyms::Synonym;
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Behind the name of an alias.
const ALIAS: &str = ".alias";
const SYNONYMS: &str = "synonyms.json";

pub fn alias_file(folder: &Path, alias: &str) -> PathBuf {
    folder.join(format!("{alias}{ALIAS}"))
}

/// # Errors
/// The folder cannot be read.
pub fn alias(folder: &Path, alias: &str) -> Result<Option<String>, SearchError> {
    Ok(read(&alias_file(folder, alias))?.map(|name| name.trim().to_owned()))
}

/// `None`: none were ever set.
///
/// # Errors
/// The file cannot be read, or is none of ours.
pub fn synonyms(folder: &Path) -> Result<Option<Vec<Synonym>>, SearchError> {
    let text = read(&synonyms_file(folder))?;
    let synonyms = text.map(|text| serde_json::from_str(&text)).transpose();
    synonyms.map_err(|error| SearchError::Failed(format!("{SYNONYMS} is damaged: {error}")))
}

/// # Errors
/// The folder cannot be written.
pub fn set_synonyms(folder: &Path, synonyms: &[Synonym]) -> Result<(), SearchError> {
    replace(&synonyms_file(folder), &serde_json::to_string(synonyms).expect("texts have a JSON form"))
}

pub fn synonyms_file(folder: &Path) -> PathBuf {
    folder.join(SYNONYMS)
}

/// By which what a file is now is told from what it was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Version(Option<SystemTime>, u64);

impl Version {
    /// That of no file differs from that of any.
    pub fn of(path: &Path) -> Self {
        // Two that follow each other closely may have the same time, but are never the same file.
        let file = fs::metadata(path).ok();
        Version(file.as_ref().and_then(|file| file.modified().ok()), file.map_or(0, |file| file.ino()))
    }
}

/// Writes a file so that whoever reads it sees all of it or what was there before, whatever happens.
///
/// # Errors
/// The folder cannot be written.
pub fn replace(path: &Path, text: &str) -> Result<(), SearchError> {
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = fs::File::create(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    let folder = path.parent().expect("a file is in a folder");
    fs::File::open(folder)?.sync_all()?;
    Ok(())
}

/// Removes a file, if it is there.
///
/// # Errors
/// The folder cannot be written.
pub fn remove(path: &Path) -> Result<(), SearchError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn read(path: &Path) -> Result<Option<String>, SearchError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

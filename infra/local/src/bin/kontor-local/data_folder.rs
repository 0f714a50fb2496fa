//! The data folder: whose it is, who uses it, what runs from it.

use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};
use serde_json::Value;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// Says that the folder is ours. Without it nothing is written to a folder that is not empty, and nothing deleted.
const MARKER: &str = "kontor-data";
const MARKER_TEXT: &str = "Kontor's local platform keeps its data in this folder. `infra/up --fresh` deletes it.\n";
/// Locked by the `up` that runs, and holds its process id.
const LOCK: &str = "lock";
/// What runs, for `status`: a JSON object, there from the start of `up` to its end.
const STATE: &str = "platform.json";
/// What the platform keeps here.
const CONTENT: [&str; 8] = ["postgres", "replica", "redis", "nats", "search", "tiers", "identity", "privacy"];

/// A data folder that this process alone uses, until this is dropped.
pub struct DataFolder {
    path: PathBuf,
    _lock: File,
}

impl DataFolder {
    /// Makes or takes the folder. Refused: one that holds other data, one in use.
    pub fn open(path: &Path) -> anyhow::Result<DataFolder> {
        let name = path.display();
        kontor_local::reachable_by_servers(path)?;
        match fs::read_dir(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::create_dir_all(path).with_context(|| format!("cannot make {name}"))?;
                let everyone = std::os::unix::fs::PermissionsExt::from_mode(0o755);
                fs::set_permissions(path, everyone).with_context(|| format!("cannot make {name}"))?;
            }
            Err(error) => return Err(error).with_context(|| format!("cannot use {name} for data")),
            Ok(mut entries) => {
                if !path.join(MARKER).exists() && entries.next().is_some() {
                    bail!("{name} holds other data (there is no file {MARKER}): choose another folder with --data");
                }
            }
        }
        let lock = File::options().read(true).write(true).create(true).truncate(false).open(path.join(LOCK));
        let mut lock = lock.with_context(|| format!("cannot write to {name}"))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let pid = holder(path).map(|pid| format!(" (process {pid})")).unwrap_or_default();
            bail!(
                "{name} is in use by another kontor-local{pid}: stop that with `infra/down --data {name}`, or choose another folder with --data"
            );
        }
        let mut write = || {
            fs::write(path.join(MARKER), MARKER_TEXT)?;
            lock.set_len(0)?;
            write!(lock, "{}", std::process::id())
        };
        write().with_context(|| format!("cannot write to {name}"))?;
        Ok(DataFolder { path: path.to_owned(), _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Deletes what the platform has written; anything else in the folder stays.
    pub fn clear(&self) -> anyhow::Result<()> {
        for name in CONTENT {
            let path = self.path.join(name);
            match fs::remove_dir_all(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot delete {}", path.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub fn write_state(&self, state: &Value) -> anyhow::Result<()> {
        let (draft, place) = (self.path.join("platform.json.new"), self.path.join(STATE));
        fs::write(&draft, format!("{state:#}\n"))
            .and_then(|()| fs::rename(&draft, &place))
            .with_context(|| format!("cannot write {}", place.display()))
    }
}

impl Drop for DataFolder {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.path.join(STATE));
    }
}

/// What the `up` that uses the folder has written about itself. Stale when none runs: ask `holder` first.
pub fn state(path: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(path.join(STATE)).ok()?).ok()
}

/// The process that uses the folder; `None` when none does.
pub fn holder(path: &Path) -> Option<i32> {
    let mut lock = File::open(path.join(LOCK)).ok()?;
    if flock(&lock, FlockOperation::NonBlockingLockShared).is_ok() {
        return None;
    }
    let mut pid = String::new();
    lock.read_to_string(&mut pid).ok()?;
    pid.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kontor_local::Folder;

    #[test]
    fn a_folder_with_other_data_is_left_alone() {
        let folder = Folder::temporary("other-data").expect("a folder");
        let path = folder.path().join("photos");
        fs::create_dir_all(path.join("postgres")).expect("a folder");
        let Err(error) = DataFolder::open(&path) else { panic!("it was taken") };
        assert!(error.to_string().contains("holds other data"), "{error}");
        assert_eq!(fs::read_dir(&path).expect("it is there").count(), 1);
    }

    #[test]
    fn clearing_deletes_only_what_is_ours() {
        let folder = Folder::temporary("clear").expect("a folder");
        let data = DataFolder::open(&folder.path().join("data")).expect("a new folder");
        fs::create_dir_all(data.path().join("postgres/data")).expect("a folder");
        fs::write(data.path().join("notes.txt"), "mine").expect("a file");
        data.clear().expect("it may be deleted");
        assert!(!data.path().join("postgres").exists());
        assert!(data.path().join("notes.txt").exists());
    }

    #[test]
    fn one_at_a_time() {
        let folder = Folder::temporary("lock").expect("a folder");
        let path = folder.path().join("data");
        let first = DataFolder::open(&path).expect("a new folder");
        assert_eq!(holder(&path), i32::try_from(std::process::id()).ok());
        let Err(error) = DataFolder::open(&path) else { panic!("it was taken twice") };
        assert!(error.to_string().contains("is in use by another kontor-local (process "), "{error}");
        drop(first);
        assert_eq!(holder(&path), None);
        assert!(DataFolder::open(&path).is_ok());
    }
}

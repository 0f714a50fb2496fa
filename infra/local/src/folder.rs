//! Temporary folders that leave nothing behind.

use crate::Error;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

const PREFIX: &str = "kontor-test-";
const LOCK: &str = ".lock";

/// Memory that must be left for a folder in memory, in bytes; Docker's 64 MB, for one, would not do.
const MEMORY_MIN: u64 = 4 << 30;

/// A folder in the system's place for temporary files, removed with all that is in it when this is dropped.
/// Others may pass through it, so that servers can run as other users.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: File, // Held for life: tells sweepers, in whatever container, that the folder is in use.
}

impl Folder {
    /// Makes `kontor-test-<pid>-<number>-<name>` on disk. Before the first, removes what killed processes have left behind.
    pub fn temporary(name: &str) -> Result<Folder, Error> {
        Folder::make(&std::env::temp_dir(), name)
    }

    /// As `temporary`, but in memory where there is plenty: a test's database is a thousand files, gone within a second.
    /// `TMPDIR`, when set, overrides.
    pub fn in_memory(name: &str) -> Result<Folder, Error> {
        let memory = Path::new("/dev/shm");
        match std::env::var_os("TMPDIR").is_none() && has_room(memory) {
            true => Folder::make(memory, name),
            false => Folder::temporary(name),
        }
    }

    fn make(parent: &Path, name: &str) -> Result<Folder, Error> {
        static SWEPT: Once = Once::new();
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        SWEPT.call_once(|| {
            sweep(&std::env::temp_dir());
            sweep(Path::new("/dev/shm"));
        });
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = parent.join(format!("{PREFIX}{}-{number}-{name}", std::process::id()));
            match fs::create_dir(&path) {
                Ok(()) => {}
                // Left by a dead process with our id, which the sweep took to be alive.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(Error::io(format!("cannot make {}", path.display()))(error)),
            }
            let made = || {
                fs::set_permissions(&path, Permissions::from_mode(0o755))?;
                let lock = File::create(path.join(LOCK))?;
                flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
                Ok(lock)
            };
            let lock = made().map_err(Error::io(format!("cannot use {}", path.display())))?;
            return Ok(Folder { path, _lock: lock });
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Kept for who looks into a failed test.
        if std::env::var_os("KONTOR_KEEP_TEST_FOLDERS").is_some() {
            eprintln!("Kept {}", self.path.display());
            return;
        }
        // A server that was killed may still be ending and add a file while we remove.
        for _ in 0..20 {
            if fs::remove_dir_all(&self.path).is_ok() || !self.path.exists() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}

fn has_room(memory: &Path) -> bool {
    let free = rustix::fs::statvfs(memory).map_or(0, |system| system.f_bavail.saturating_mul(system.f_frsize));
    let available = fs::read_to_string("/proc/meminfo").ok().and_then(|memory| {
        let line = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    });
    free.min(available.unwrap_or(0).saturating_mul(1024)) >= MEMORY_MIN
}

/// Removes the folders of dead processes. What cannot be removed (another user's) stays.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX)).and_then(|rest| rest.split('-').next());
        let Some(owner) = owner.and_then(|pid| pid.parse::<u32>().ok()) else { continue };
        if Path::new("/proc").join(owner.to_string()).exists() {
            continue;
        }
        let held = File::open(entry.path().join(LOCK))
            .is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err());
        if !held {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_gone_when_dropped() {
        let folder = Folder::temporary("drop").expect("a folder");
        let path = folder.path().to_owned();
        fs::write(path.join("file"), "content").expect("a file");
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn only_folders_of_the_dead_are_swept() {
        let outer = Folder::temporary("sweep").expect("a folder");
        let dead = outer.path().join(format!("{PREFIX}4194305-0-x")); // Above the greatest process id of Linux.
        let alive = outer.path().join(format!("{PREFIX}{}-0-x", std::process::id()));
        let other = outer.path().join("kontor");
        for folder in [&dead, &alive, &other] {
            fs::create_dir(folder).expect("a folder");
        }
        let locked = outer.path().join(format!("{PREFIX}4194306-0-x"));
        fs::create_dir(&locked).expect("a folder");
        let lock = File::create(locked.join(LOCK)).expect("a lock file");
        flock(&lock, FlockOperation::NonBlockingLockExclusive).expect("the lock");
        sweep(outer.path());
        assert_eq!([&dead, &alive, &other, &locked].map(|folder| folder.exists()), [false, true, true, true]);
    }
}

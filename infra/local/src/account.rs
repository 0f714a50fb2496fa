//! The system users that servers run as when we are root.

use crate::Error;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// A system user. Postgres refuses to run as root, and for the others too an open port is no place for root's rights.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    name: String,
    uid: u32,
    gid: u32,
}

impl Account {
    /// The first of `names` that exists, when we are root; `None` when we are not: servers then run as ourselves.
    pub(crate) fn for_server(names: &[&str]) -> Result<Option<Account>, Error> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let users = fs::read_to_string("/etc/passwd").map_err(Error::io("cannot read /etc/passwd"))?;
        let find = |name: &&str| {
            users.lines().find_map(|line| {
                let fields: Vec<&str> = line.split(':').collect();
                match fields[..] {
                    [user, _, uid, gid, ..] if user == *name => {
                        Some(Account { name: user.to_owned(), uid: uid.parse().ok()?, gid: gid.parse().ok()? })
                    }
                    _ => None,
                }
            })
        };
        match names.iter().find_map(find) {
            Some(account) => Ok(Some(account)),
            None => Err(Error::NotInstalled { what: format!("a system user named {}", names.join(" or ")) }),
        }
    }

    /// Lets `command` run as this user; the standard library drops the other groups along with root.
    pub(crate) fn run(&self, command: &mut Command) {
        command
            .uid(self.uid)
            .gid(self.gid)
            .env("HOME", "/nonexistent")
            .env("USER", &self.name)
            .env("LOGNAME", &self.name);
    }

    /// Whether every folder above `path`, and `path` itself, lets this user pass.
    pub(crate) fn reaches(&self, path: &Path) -> bool {
        path.ancestors().all(|folder| match fs::metadata(folder) {
            Ok(metadata) if metadata.uid() == self.uid => metadata.mode() & 0o100 != 0,
            Ok(metadata) if metadata.gid() == self.gid => metadata.mode() & 0o010 != 0,
            Ok(metadata) => metadata.mode() & 0o001 != 0,
            Err(_) => true, // Not made yet; it will be made so that the user can pass.
        })
    }
}

/// Makes `folder` for a server alone: its user owns it, nobody else may look in.
pub(crate) fn private_folder(folder: &Path, account: Option<&Account>) -> Result<(), Error> {
    let made = || {
        fs::create_dir_all(folder)?;
        fs::set_permissions(folder, Permissions::from_mode(0o700))?;
        account.map_or(Ok(()), |account| chown(folder, Some(account.uid), Some(account.gid)))
    };
    made().map_err(Error::io(format!("cannot make {}", folder.display())))
}

/// Makes `folder` such that any server's user can pass through it to its own folder inside.
pub(crate) fn shared_folder(folder: &Path, account: Option<&Account>) -> Result<(), Error> {
    let made = || {
        if !folder.is_dir() {
            fs::create_dir_all(folder)?;
            fs::set_permissions(folder, Permissions::from_mode(0o755))?;
        }
        Ok(())
    };
    made().map_err(Error::io(format!("cannot make {}", folder.display())))?;
    match account {
        Some(account) if !account.reaches(folder) => {
            Err(Error::Unreachable { path: folder.to_owned(), user: account.name.clone() })
        }
        _ => Ok(()),
    }
}

/// Gives a file that we wrote to the server's user, who alone may read it.
pub(crate) fn private_file(path: &Path, content: &str, account: Option<&Account>) -> Result<(), Error> {
    let written = || {
        // Written beside its place, so that it is never there half, nor for a moment readable by others.
        let new = path.with_extension("new");
        let _ = fs::remove_file(&new);
        let mut options = fs::OpenOptions::new();
        std::os::unix::fs::OpenOptionsExt::mode(options.write(true).create_new(true), 0o600);
        std::io::Write::write_all(&mut options.open(&new)?, content.as_bytes())?;
        if let Some(account) = account {
            chown(&new, Some(account.uid), Some(account.gid))?;
        }
        fs::rename(&new, path)
    };
    written().map_err(Error::io(format!("cannot write {}", path.display())))
}

/// Fails with the reason when a data folder at `path` would be out of reach for the users that the servers run as.
pub fn reachable_by_servers(path: &Path) -> Result<(), Error> {
    for names in [&["postgres"][..], &["redis", "nobody"], &["nobody"]] {
        if let Some(account) = Account::for_server(names)?
            && !account.reaches(path)
        {
            return Err(Error::Unreachable { path: path.to_owned(), user: account.name });
        }
    }
    Ok(())
}

//! Making a cluster: initdb, the roles with their passwords, database `kontor`. Stands for what an administrator does.

use super::Role;
use crate::Error;
use crate::account::{self, Account};
use crate::process;
use rustix::fs::{FlockOperation, flock};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

pub(super) const SUPERUSER: &str = "postgres";
/// May stream the log to a replica, and nothing else.
pub(super) const REPLICATOR: &str = "kontor_replicator";

/// Goes up when what is in a fresh cluster changes, so that old templates are not used.
const TEMPLATE_VERSION: u32 = 1;

/// The PostgreSQL that is used, and the user it runs as.
#[derive(Debug, Clone)]
pub(super) struct Installation {
    pub programs: PathBuf,
    /// As it names itself: `15.14 (Debian 15.14-0+deb12u1)`.
    pub version: String,
    pub account: Option<Account>,
}

impl Installation {
    /// The newest installed, 15 at least; for data that exists, the release that made it.
    pub fn find(data_version: Option<u32>) -> Result<Installation, Error> {
        let mut folders: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path().join("bin"))
            .collect();
        folders.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
        let account = Account::for_server(&["postgres"])?;
        let usable = |folder: &PathBuf| {
            // What is on PATH may be a link to one program of a folder that has them all.
            let program = folder.join("postgres").canonicalize().ok()?;
            let folder = program.parent()?.to_owned();
            let complete =
                ["initdb", "pg_basebackup", "pg_controldata", "psql"].iter().all(|tool| folder.join(tool).is_file());
            if !complete || account.as_ref().is_some_and(|account| !account.reaches(&program)) {
                return None;
            }
            let answer = Command::new(program).arg("--version").output().ok()?;
            let version =
                String::from_utf8_lossy(&answer.stdout).trim().strip_prefix("postgres (PostgreSQL) ")?.to_owned();
            let major = major(&version)?;
            data_version.map_or(major >= 15, |made_by| major == made_by).then_some((major, version, folder))
        };
        let newest = folders.iter().filter_map(usable).max_by_key(|(major, ..)| *major);
        match (newest, data_version) {
            (Some((_, version, programs)), _) => Ok(Installation { programs, version, account }),
            (None, Some(made_by)) => {
                Err(Error::NotInstalled { what: format!("PostgreSQL {made_by}, which made the data,") })
            }
            (None, None) => Err(Error::NotInstalled { what: "PostgreSQL 15 or newer".to_owned() }),
        }
    }

    /// One of its programs, run as the server's user.
    pub fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.current_dir("/");
        if let Some(account) = &self.account {
            account.run(&mut command);
        }
        command
    }
}

/// `15` of `15.14 (Debian ...)` or `17beta1`.
fn major(version: &str) -> Option<u32> {
    version.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}

/// The release that made the data in `folder`; `None` when there is none yet.
pub(super) fn version_of_data(folder: &Path) -> Option<u32> {
    fs::read_to_string(folder.join("data/PG_VERSION")).ok()?.trim().parse().ok()
}

/// Password by role name. Kept in `passwords`, which only we can read, a line `role password` each.
#[derive(Clone)]
pub(super) struct Passwords(BTreeMap<String, String>);

impl std::fmt::Debug for Passwords {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Passwords")
    }
}

impl Passwords {
    fn generate() -> Passwords {
        let roles = Role::ALL.map(Role::name).into_iter().chain([SUPERUSER, REPLICATOR]);
        Passwords(roles.map(|role| (role.to_owned(), random_password())).collect())
    }

    pub fn read(folder: &Path) -> Result<Passwords, Error> {
        let path = folder.join("passwords");
        let text = fs::read_to_string(&path).map_err(Error::io(format!("cannot read {}", path.display())))?;
        let pairs = text.lines().filter_map(|line| line.split_once(' '));
        let passwords = Passwords(pairs.map(|(role, password)| (role.to_owned(), password.to_owned())).collect());
        match Role::ALL
            .map(Role::name)
            .into_iter()
            .chain([SUPERUSER, REPLICATOR])
            .find(|&role| !passwords.0.contains_key(role))
        {
            None => Ok(passwords),
            Some(role) => Err(Error::Io {
                what: format!("{} has no password for {role}", path.display()),
                source: std::io::ErrorKind::InvalidData.into(),
            }),
        }
    }

    pub fn write(&self, folder: &Path) -> Result<(), Error> {
        let mut text = String::new();
        for (role, password) in &self.0 {
            let _ = writeln!(text, "{role} {password}");
        }
        account::private_file(&folder.join("passwords"), &text, None)
    }

    pub fn of(&self, role: &str) -> &str {
        self.0.get(role).expect("every role got a password")
    }
}

/// 128 random bits in hexadecimal: needs no quoting, neither in SQL nor in a URL.
fn random_password() -> String {
    let mut bytes = [0; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).expect("the kernel has random numbers");
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Makes the cluster in `folder/data`, unless it is there. It appears whole or, after a crash half-way, not at all.
pub(super) async fn create(installation: &Installation, folder: &Path) -> Result<Passwords, Error> {
    if version_of_data(folder).is_some() {
        return Passwords::read(folder);
    }
    let passwords = Passwords::generate();
    passwords.write(folder)?;
    let new = folder.join("data.new");
    remove_folder(&new)?;
    account::private_folder(&new, installation.account.as_ref())?;
    let mut initdb = installation.tool("initdb");
    // Trust is for no one: pg_hba.conf is replaced before the first start.
    initdb.args(["--encoding=UTF8", "--username", SUPERUSER, "--auth=trust", "--no-instructions"]);
    // Byte by byte, which is the order of C.UTF-8, too; but Postgres compares so itself only if it is told C.
    initdb.args(["--locale=C.UTF-8", "--lc-collate=C"]);
    initdb.arg("--pgdata").arg(&new);
    process::run(initdb, "").await?;
    let mut statements = format!(
        "alter role {SUPERUSER} password '{}';\n\
         create role {REPLICATOR} login replication password '{}';\n",
        passwords.of(SUPERUSER),
        passwords.of(REPLICATOR)
    );
    for role in Role::ALL {
        let _ = writeln!(statements, "create role {} login password '{}';", role.name(), passwords.of(role.name()));
    }
    let _ = writeln!(statements, "create database kontor owner {};", Role::Migrator.name());
    // The server without its network: nobody can connect before every role has its password. One statement a line.
    let mut single = installation.tool("postgres");
    single.arg("--single").arg("-D").arg(&new).args([
        "-c",
        "exit_on_error=true",
        "-c",
        "log_checkpoints=off",
        "postgres",
    ]);
    process::run(single, &statements).await?;
    fs::rename(&new, folder.join("data")).map_err(Error::io("cannot move the new cluster to its place"))?;
    Ok(passwords)
}

/// As `create`, but from a copy of a cluster made once on this machine: a tenth of a second instead of two. So the clusters
/// of all tests share their passwords and their system identifier.
pub(super) async fn copy_template(installation: &Installation, folder: &Path) -> Result<Passwords, Error> {
    if version_of_data(folder).is_some() {
        return Passwords::read(folder);
    }
    let template = template(installation).await?;
    let new = folder.join("data.new");
    remove_folder(&new)?;
    let mut copy = Command::new("cp");
    copy.args(["--archive", "--reflink=auto"]).arg(template.join("data")).arg(&new);
    process::run(copy, "").await?;
    let passwords = Passwords::read(&template)?;
    passwords.write(folder)?;
    fs::rename(&new, folder.join("data")).map_err(Error::io("cannot move the new cluster to its place"))?;
    Ok(passwords)
}

/// The folder of the cluster that tests' clusters are copied from, made when it is missing.
async fn template(installation: &Installation) -> Result<PathBuf, Error> {
    let version: String =
        installation.version.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    let cache = cache_folder();
    account::shared_folder(&cache, installation.account.as_ref())?;
    let name = format!("postgres-{}-{TEMPLATE_VERSION}", version.trim_matches('-'));
    let template = cache.join(&name);
    if version_of_data(&template).is_some() {
        return Ok(template);
    }
    // Tests start at once; the first makes it, the others wait here.
    let lock_path = cache.join(format!("{name}.lock"));
    let lock = File::create(&lock_path).map_err(Error::io(format!("cannot make {}", lock_path.display())))?;
    let locked = tokio::task::spawn_blocking(move || flock(&lock, FlockOperation::LockExclusive).map(|()| lock));
    let _lock = locked
        .await
        .expect("locking does not panic")
        .map_err(|errno| Error::Io { what: format!("cannot lock {}", lock_path.display()), source: errno.into() })?;
    account::shared_folder(&template, installation.account.as_ref())?;
    create(installation, &template).await?;
    Ok(template)
}

fn cache_folder() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/cache/kontor");
    }
    let own = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .filter(|folder| folder.is_absolute());
    own.unwrap_or_else(std::env::temp_dir).join("kontor")
}

pub(super) fn remove_folder(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(format!("cannot remove {}", folder.display()))(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_release_is_read_from_what_postgres_says() {
        assert_eq!(major("15.14 (Debian 15.14-0+deb12u1)"), Some(15));
        assert_eq!(major("17beta1"), Some(17));
        assert_eq!(major("devel"), None);
    }

    #[test]
    fn passwords_differ_and_are_32_digits() {
        assert_ne!(random_password(), random_password());
        assert_eq!(random_password().len(), 32);
    }
}

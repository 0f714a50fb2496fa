//! A PostgreSQL server, primary or streaming replica.

mod cluster;
mod configuration;
mod replica;

use crate::account::{self, Account};
use crate::process::{self, Process, Running};
use crate::{Error, ports};
use cluster::{Installation, Passwords};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

/// The roles of database `kontor`. None is a superuser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Owns the database and all in it; for migrations only.
    Migrator,
    Command,
    Relay,
    Projector,
    Query,
    Auditor,
}

impl Role {
    pub const ALL: [Role; 6] =
        [Role::Migrator, Role::Command, Role::Relay, Role::Projector, Role::Query, Role::Auditor];

    /// Its name in Postgres.
    pub fn name(self) -> &'static str {
        match self {
            Role::Migrator => "kontor_migrator",
            Role::Command => "kontor_command",
            Role::Relay => "kontor_relay",
            Role::Projector => "kontor_projector",
            Role::Query => "kontor_query",
            Role::Auditor => "kontor_auditor",
        }
    }
}

/// What a cluster is tuned for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostgresProfile {
    /// Starts in a moment; survives `kill`, but not a power cut of the machine: nothing is synced to disk.
    Test,
    /// As in production: what is acknowledged is on disk. For `infra/up` and benchmarks.
    Platform,
}

/// A running PostgreSQL server on 127.0.0.1, with database `kontor`. Stopped when dropped; its data stays.
#[derive(Debug)]
pub struct Postgres {
    installation: Installation,
    /// Holds `data`, `passwords`, `socket` and `postgres.log`.
    folder: PathBuf,
    port: u16,
    profile: PostgresProfile,
    passwords: Passwords,
    /// Of a replica: where its primary listens.
    primary_port: Option<u16>,
    process: Running,
}

impl Postgres {
    /// Starts the primary kept in `folder`, which is made at the first start, with roles and database. Port 0: any free.
    pub async fn start(folder: &Path, port: u16, profile: PostgresProfile) -> Result<Postgres, Error> {
        let installation = Installation::find(cluster::version_of_data(folder))?;
        account::shared_folder(folder, installation.account.as_ref())?;
        let folder = folder.canonicalize().map_err(Error::io(format!("cannot open {}", folder.display())))?;
        let passwords = match profile {
            PostgresProfile::Test => cluster::copy_template(&installation, &folder).await?,
            PostgresProfile::Platform => cluster::create(&installation, &folder).await?,
        };
        let process = Running::default();
        let mut server = Postgres { installation, folder, port, profile, passwords, primary_port: None, process };
        server.launch_on_some_port().await?;
        Ok(server)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// `postgres://<role>:<password>@127.0.0.1:<port>/kontor`. Passwords of a replica are those of its primary.
    pub fn url(&self, role: Role) -> String {
        self.url_of(role.name(), "kontor")
    }

    /// The cluster's superuser `postgres`, in database `kontor`: for what a database administrator does.
    pub fn superuser_url(&self) -> String {
        self.url_of(cluster::SUPERUSER, "kontor")
    }

    fn url_of(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}:{}@127.0.0.1:{}/{database}", self.passwords.of(role), self.port)
    }

    /// As [`url`](Self::url), of the server that another process runs from `folder`.
    pub fn url_of_running(folder: &Path, role: Role) -> Result<String, Error> {
        // The fourth line of postmaster.pid, which a server removes when it ends, is its port.
        let path = folder.join("data/postmaster.pid");
        let file = fs::read_to_string(&path).map_err(Error::io(format!("cannot read {}", path.display())))?;
        let port = file.lines().nth(3).and_then(|line| line.trim().parse().ok());
        let port: u16 = port.ok_or(Error::NotRunning { server: "Postgres".to_owned() })?;
        let passwords = Passwords::read(folder)?;
        Ok(format!("postgres://{}:{}@127.0.0.1:{port}/kontor", role.name(), passwords.of(role.name())))
    }

    /// The folder of its Unix socket; `None` when its path is too long for one.
    pub fn socket_folder(&self) -> Option<PathBuf> {
        configuration::socket_folder(&self.folder)
    }

    /// The folder of its programs: pgbench, pg_dump and so on.
    pub fn programs(&self) -> &Path {
        &self.installation.programs
    }

    pub fn log(&self) -> PathBuf {
        self.folder.join("postgres.log")
    }

    /// Runs SQL as superuser in database `kontor`; rows come back one a line, columns divided by `|`.
    pub async fn sql(&self, statements: &str) -> Result<String, Error> {
        let mut command = Command::new(self.installation.programs.join("psql"));
        command
            .args([
                "--no-psqlrc",
                "--quiet",
                "--tuples-only",
                "--no-align",
                "--set=ON_ERROR_STOP=1",
                "--host=127.0.0.1",
            ])
            .arg(format!("--port={}", self.port))
            .args(["--username", cluster::SUPERUSER, "--dbname=kontor", "--file=-"])
            .env("PGPASSWORD", self.passwords.of(cluster::SUPERUSER))
            .env("PGCONNECT_TIMEOUT", "5");
        Ok(process::run(command, statements).await?.trim_end().to_owned())
    }

    /// The server's process id; `None` when it is stopped. Its backends are children of this process.
    pub fn pid(&self) -> Option<u32> {
        self.process.pid()
    }

    /// Waits for the end of the server as it runs now.
    pub fn ended(&self) -> impl Future<Output = Option<ExitStatus>> + Send + use<> {
        self.process.ended()
    }

    /// Ends it cleanly: connections are cut, transactions in flight rolled back, a checkpoint written.
    pub async fn stop(&self) -> Result<(), Error> {
        self.process.stop(Signal::INT, Duration::from_secs(120)).await;
        Ok(())
    }

    /// Ends it as a crash would: nobody gets to say goodbye. Returns when all its processes are gone.
    pub async fn kill(&self) -> Result<(), Error> {
        let process = self.process.take().ok_or(Error::NotRunning { server: self.name() })?;
        let backends = children_of(process.pid());
        process.stop(Signal::KILL, Duration::from_secs(60)).await;
        // Backends notice by themselves, but one in a long statement only late, and until then none can start anew.
        for backend in backends {
            let _ = pidfd_send_signal(&backend, Signal::KILL);
            wait_for_end(backend).await;
        }
        Ok(())
    }

    /// Starts it again, on the same port, after `stop` or `kill`; a running server is stopped first.
    pub async fn restart(&self) -> Result<(), Error> {
        self.stop().await?;
        self.launch().await
    }

    fn name(&self) -> String {
        match self.primary_port {
            None => "Postgres".to_owned(),
            Some(_) => "the Postgres replica".to_owned(),
        }
    }

    fn account(&self) -> Option<&Account> {
        self.installation.account.as_ref()
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Launches it; where any port would do and the chosen one was taken meanwhile, on the next.
    async fn launch_on_some_port(&mut self) -> Result<(), Error> {
        let any_port = self.port == 0;
        let mut attempts = 0;
        loop {
            if any_port {
                self.port = ports::free();
            }
            attempts += 1;
            match self.launch().await {
                Err(Error::PortInUse { .. }) if any_port && attempts < 10 => {}
                result => return result,
            }
        }
    }

    /// Writes the configuration and starts the server; returns when it takes connections.
    async fn launch(&self) -> Result<(), Error> {
        if ports::in_use(self.port) {
            return Err(Error::PortInUse { server: self.name(), port: self.port });
        }
        configuration::write(self)?;
        let data = self.data();
        let mut command = Command::new(self.installation.programs.join("postgres"));
        command.arg("-D").arg(&data).current_dir("/").env_remove("PGPORT").env_remove("PGDATA");
        if let Some(account) = self.account() {
            account.run(&mut command);
        }
        // Orphaned, it shuts down at once: SIGQUIT lets it take its backends and shared memory along.
        let process = Process::spawn(&self.name(), command, &self.log(), Signal::QUIT)?;
        let pid = process.pid();
        // A replica may first have to replay much; the primary after a crash, too.
        let result = process.until_ready(Duration::from_secs(300), || ready(&data, pid), |_, _| {}).await;
        match result {
            Ok(()) => {
                self.process.put(process);
                Ok(())
            }
            Err(Error::Ended { log_tail, .. }) if log_tail.contains("Address already in use") => {
                Err(Error::PortInUse { server: self.name(), port: self.port })
            }
            Err(error) => Err(error),
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        match (self.process.take(), self.profile) {
            // Nobody will want a test's data; the platform's is crash-safe, but a clean end makes the next start faster.
            (Some(process), PostgresProfile::Test) => {
                process.stop_blocking(Signal::QUIT, Duration::from_secs(6));
            }
            (Some(process), PostgresProfile::Platform) => {
                process.stop_blocking(Signal::INT, Duration::from_secs(30));
            }
            (None, PostgresProfile::Test) => remove_shared_memory(&self.data()),
            (None, PostgresProfile::Platform) => {} // Its next start does that.
        }
    }
}

/// A killed server leaves its segment of System V shared memory behind, of which a machine has only 4,096. The seventh line of
/// postmaster.pid has its key and id; a server that was stopped has removed both.
fn remove_shared_memory(data: &Path) {
    let file = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    if let Some(id) = file.lines().nth(6).and_then(|line| line.split_whitespace().nth(1)) {
        let _ = Command::new("ipcrm").args(["--shmem-id", id]).stdin(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// As pg_ctl asks: the eighth line of postmaster.pid says whether connections are taken. No connection is needed for it.
async fn ready(data: &Path, pid: u32) -> Result<(), String> {
    let file = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    let mut lines = file.lines();
    if lines.next().and_then(|line| line.parse::<u32>().ok()) != Some(pid) {
        return Err("it has not begun".to_owned());
    }
    match lines.nth(6).map(str::trim) {
        Some("ready") => Ok(()),
        Some(status) => Err(format!("it says: {status}")),
        None => Err("it has not told its status".to_owned()),
    }
}

/// The processes whose parent is `parent`, by descriptors that stay theirs when their ids are given to others.
fn children_of(parent: u32) -> Vec<OwnedFd> {
    let child = |name: &str| {
        let pid: i32 = name.parse().ok()?;
        let process = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // `pid (name) state parent ...`, where the name may contain anything.
        let of: u32 = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        (of == parent).then_some(process)
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|entry| child(entry.file_name().to_str()?)).collect()
}

/// A process's descriptor becomes readable when the process ends.
async fn wait_for_end(process: OwnedFd) {
    let wait = move || {
        let timeout = Timespec { tv_sec: 10, tv_nsec: 0 };
        rustix::event::poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&timeout))
    };
    let _ = tokio::task::spawn_blocking(wait).await;
}

//! A NATS server with JetStream.

use crate::account::{self, Account};
use crate::process::{Process, Running};
use crate::{Error, http, ports};
use rustix::process::Signal;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

const NAME: &str = "NATS";

/// A running NATS server on 127.0.0.1 with JetStream, which syncs to disk before it acknowledges. Stopped when dropped; its
/// streams stay.
#[derive(Debug)]
pub struct Nats {
    program: PathBuf,
    account: Option<Account>,
    /// Holds `nats.conf`, `store` and `nats.log`.
    folder: PathBuf,
    port: u16,
    monitor_port: u16,
    process: Running,
}

impl Nats {
    /// Starts the server whose streams are kept in `folder`. Ports of 0: any that are free.
    pub async fn start(folder: &Path, port: u16, monitor_port: u16) -> Result<Nats, Error> {
        let account = Account::for_server(&["nobody"])?;
        let program = find(account.as_ref())?;
        account::shared_folder(folder, account.as_ref())?;
        let folder = folder.canonicalize().map_err(Error::io(format!("cannot open {}", folder.display())))?;
        let any = (port == 0, monitor_port == 0);
        let mut server = Nats { program, account, folder, port, monitor_port, process: Running::default() };
        let mut attempts = 0;
        loop {
            if any.0 {
                server.port = ports::free();
            }
            if any.1 {
                server.monitor_port = ports::free();
            }
            attempts += 1;
            match server.launch().await {
                Err(Error::PortInUse { .. }) if (any.0 || any.1) && attempts < 10 => {}
                result => return result.map(|()| server),
            }
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it tells about itself over HTTP: `/varz`, `/jsz`, `/healthz`.
    pub fn monitor_port(&self) -> u16 {
        self.monitor_port
    }

    /// `nats://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The folder of JetStream's files.
    pub fn store_dir(&self) -> PathBuf {
        self.folder.join("store")
    }

    pub fn log(&self) -> PathBuf {
        self.folder.join("nats.log")
    }

    pub fn pid(&self) -> Option<u32> {
        self.process.pid()
    }

    /// Waits for the end of the server as it runs now.
    pub fn ended(&self) -> impl Future<Output = Option<ExitStatus>> + Send + use<> {
        self.process.ended()
    }

    /// Ends it cleanly.
    pub async fn stop(&self) -> Result<(), Error> {
        self.process.stop(Signal::TERM, Duration::from_secs(30)).await;
        Ok(())
    }

    /// Ends it as a crash would.
    pub async fn kill(&self) -> Result<(), Error> {
        let process = self.process.take().ok_or(Error::NotRunning { server: NAME.to_owned() })?;
        process.stop(Signal::KILL, Duration::from_secs(60)).await;
        Ok(())
    }

    /// Starts it again, on the same ports, after `stop` or `kill`; a running server is stopped first.
    pub async fn restart(&self) -> Result<(), Error> {
        self.stop().await?;
        self.launch().await
    }

    fn port_in_use(&self) -> Option<Error> {
        let taken = [self.port, self.monitor_port].into_iter().find(|&port| ports::in_use(port))?;
        Some(Error::PortInUse { server: NAME.to_owned(), port: taken })
    }

    async fn launch(&self) -> Result<(), Error> {
        if let Some(error) = self.port_in_use() {
            return Err(error);
        }
        account::private_folder(&self.store_dir(), self.account.as_ref())?;
        let configuration = self.folder.join("nats.conf");
        account::private_file(&configuration, &self.configuration(), self.account.as_ref())?;
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(&configuration).current_dir("/");
        if let Some(account) = &self.account {
            account.run(&mut command);
        }
        let process = Process::spawn(NAME, command, &self.log(), Signal::KILL)?;
        // A large store is read and checked before it is served.
        match process.until_ready(Duration::from_secs(300), || self.ready(), |_, _| {}).await {
            Ok(()) => {
                self.process.put(process);
                Ok(())
            }
            Err(Error::Ended { log_tail, .. }) if log_tail.contains("address already in use") => {
                Err(self.port_in_use().unwrap_or(Error::PortInUse { server: NAME.to_owned(), port: self.port }))
            }
            Err(error) => Err(error),
        }
    }

    /// Asks the monitor, and makes sure that it is ours: another server may have been faster at the port.
    async fn ready(&self) -> Result<(), String> {
        let ask = |path| async move {
            let (status, body) = http::get(self.monitor_port, path).await.map_err(|error| error.to_string())?;
            if status == 200 { Ok(body) } else { Err(body.trim().to_owned()) }
        };
        ask("/healthz").await?;
        match ask("/varz").await?.contains(&self.tag()) {
            true => Ok(()),
            false => Err("another NATS answers at its monitoring port".to_owned()),
        }
    }

    /// Tells our server from any other.
    fn tag(&self) -> String {
        format!("started-by-{}-on-{}", std::process::id(), self.port)
    }

    fn configuration(&self) -> String {
        format!(
            "# Written at each start of the local platform; edits are lost.\n\
             server_name: kontor-local\n\
             server_tags: [\"{tag}\"]\n\
             listen: \"127.0.0.1:{port}\"\n\
             http: \"127.0.0.1:{monitor_port}\"\n\
             max_payload: 1MB\n\
             jetstream {{\n\
             \x20   store_dir: \"{store}\"\n\
             \x20   # By default what is acknowledged reaches the disk within two minutes, or, after a power cut, never.\n\
             \x20   sync_interval: always\n\
             }}\n",
            tag = self.tag(),
            port = self.port,
            monitor_port = self.monitor_port,
            store = self.store_dir().display(),
        )
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            // It syncs before it acknowledges: nothing is lost by ending it at once.
            process.stop_blocking(Signal::KILL, Duration::from_secs(5));
        }
    }
}

/// A nats-server of 2.12 or newer (atomic batches): on PATH, else where infra/install puts it.
fn find(account: Option<&Account>) -> Result<PathBuf, Error> {
    let mut folders: Vec<PathBuf> = std::env::var_os("PATH").iter().flat_map(std::env::split_paths).collect();
    let data_home = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share")));
    folders.extend(data_home.map(|folder| folder.join("kontor/bin")));
    folders.push(PathBuf::from("/usr/local/lib/kontor/bin"));
    let usable = |program: &PathBuf| {
        program.is_file()
            && account.is_none_or(|account| account.reaches(program))
            && Command::new(program)
                .arg("--version")
                .output()
                .is_ok_and(|answer| new_enough(&String::from_utf8_lossy(&answer.stdout)))
    };
    let program = folders.into_iter().map(|folder| folder.join("nats-server")).find(usable);
    program.ok_or_else(|| Error::NotInstalled { what: "NATS 2.12 or newer".to_owned() })
}

/// `nats-server: v2.15.1` is.
fn new_enough(version: &str) -> bool {
    let mut numbers =
        version.rsplit('v').next().unwrap_or_default().split('.').map(|part| part.trim().parse::<u32>().ok());
    matches!((numbers.next().flatten(), numbers.next().flatten()), (Some(major), Some(minor)) if (major, minor) >= (2, 12))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_before_2_12_are_too_old() {
        assert!(new_enough("nats-server: v2.15.1\n"));
        assert!(new_enough("nats-server: v2.12.0-RC.1"));
        assert!(new_enough("nats-server: v3.0.0"));
        assert!(!new_enough("nats-server: v2.9.10"));
        assert!(!new_enough(""));
    }
}

//! A Redis server.

use crate::account::{self, Account};
use crate::process::{Process, Running};
use crate::{Error, ports};
use rustix::process::Signal;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const NAME: &str = "Redis";
/// Says where the server listens to those who know its folder only.
const PORT_FILE: &str = "port";

/// A running Redis on 127.0.0.1 that keeps everything in memory only: what it holds can be built anew from the log.
#[derive(Debug)]
pub struct Redis {
    account: Option<Account>,
    /// Holds `work`, its working folder, `redis.log` and `port`.
    folder: PathBuf,
    port: u16,
    process: Running,
}

impl Redis {
    /// Starts an empty server. Port 0: any that is free.
    pub async fn start(folder: &Path, port: u16) -> Result<Redis, Error> {
        let account = Account::for_server(&["redis", "nobody"])?;
        account::shared_folder(folder, account.as_ref())?;
        let folder = folder.canonicalize().map_err(Error::io(format!("cannot open {}", folder.display())))?;
        let any_port = port == 0;
        let mut server = Redis { account, folder, port, process: Running::default() };
        let mut attempts = 0;
        loop {
            if any_port {
                server.port = ports::free();
            }
            attempts += 1;
            match server.launch().await {
                Err(Error::PortInUse { .. }) if any_port && attempts < 10 => {}
                result => return result.map(|()| server),
            }
        }
    }

    /// The URL of the server in this folder, as far as one was started there. `None`: none was.
    pub fn url_of_last(folder: &Path) -> Option<String> {
        let port: u16 = std::fs::read_to_string(folder.join(PORT_FILE)).ok()?.trim().parse().ok()?;
        Some(format!("redis://127.0.0.1:{port}"))
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// `redis://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn log(&self) -> PathBuf {
        self.folder.join("redis.log")
    }

    pub fn pid(&self) -> Option<u32> {
        self.process.pid()
    }

    /// Waits for the end of the server as it runs now.
    pub fn ended(&self) -> impl Future<Output = Option<ExitStatus>> + Send + use<> {
        self.process.ended()
    }

    /// Ends it cleanly; what it held is gone.
    pub async fn stop(&self) -> Result<(), Error> {
        self.process.stop(Signal::TERM, Duration::from_secs(10)).await;
        Ok(())
    }

    /// Ends it as a crash would.
    pub async fn kill(&self) -> Result<(), Error> {
        let process = self.process.take().ok_or(Error::NotRunning { server: NAME.to_owned() })?;
        process.stop(Signal::KILL, Duration::from_secs(60)).await;
        Ok(())
    }

    /// Starts it again, empty, on the same port; a running server is stopped first.
    pub async fn restart(&self) -> Result<(), Error> {
        self.stop().await?;
        self.launch().await
    }

    async fn launch(&self) -> Result<(), Error> {
        let port_in_use = || Error::PortInUse { server: NAME.to_owned(), port: self.port };
        if ports::in_use(self.port) {
            return Err(port_in_use());
        }
        let work = self.folder.join("work");
        account::private_folder(&work, self.account.as_ref())?;
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--save", "", "--appendonly", "no"]);
        command.args(["--maxmemory-policy", "noeviction"]); // Rows that were dropped at random would be missed.
        command.arg("--dir").arg(&work).current_dir("/");
        if let Some(account) = &self.account {
            account.run(&mut command);
        }
        let process = Process::spawn(NAME, command, &self.log(), Signal::KILL).map_err(|error| match error {
            Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Error::NotInstalled { what: "Redis 7 or newer".to_owned() }
            }
            error => error,
        })?;
        let pid = process.pid();
        match process.until_ready(Duration::from_secs(30), || self.ready(pid), |_, _| {}).await {
            Ok(()) => {
                self.process.put(process);
                let file = self.folder.join(PORT_FILE);
                std::fs::write(&file, self.port.to_string())
                    .map_err(Error::io(format!("cannot write {}", file.display())))
            }
            Err(Error::Ended { log_tail, .. }) if log_tail.contains("Address already in use") => Err(port_in_use()),
            Err(error) => Err(error),
        }
    }

    /// Asks for its process id: another server may have been faster at the port.
    async fn ready(&self, pid: u32) -> Result<(), String> {
        let ask = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
            stream.write_all(b"INFO server\r\nQUIT\r\n").await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            std::io::Result::Ok(answer)
        };
        let answer =
            tokio::time::timeout(Duration::from_secs(2), ask).await.map_err(|_| "no answer in 2 s".to_owned())?;
        match answer.map_err(|error| error.to_string())?.contains(&format!("process_id:{pid}\r\n")) {
            true => Ok(()),
            false => Err("another Redis answers at its port".to_owned()),
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            process.stop_blocking(Signal::KILL, Duration::from_secs(5));
        }
    }
}

//! Child processes that end with us, whatever ends us.

use crate::Error;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getpid, getppid, kill_process, kill_process_group,
    set_parent_process_death_signal, waitid,
};
use std::fs::{self, File};
use std::future::Future;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};
use tokio::sync::watch;

pub use rustix::process::Signal as ProcessSignal;

/// A log that has grown beyond this is set aside at the next start, in bytes.
const LOG_SIZE_MAX: u64 = 16 << 20;
/// Lines of its log that are quoted of a process that did not start as it should.
const LOG_TAIL: usize = 12;

/// A running child in a process group of its own, its output in a log file. Killed with its whole group when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    log_from: u64, // Where in the log this run begins.
    life: Arc<Life>,
}

#[derive(Debug)]
struct Life {
    pid: Pid,
    /// Guards the process id: as long as it is `None`, the child has not been reaped and the id is ours to signal.
    ended: Mutex<Option<ExitStatus>>,
    told: Condvar,
    announced: watch::Sender<Option<ExitStatus>>,
}

impl Process {
    /// Starts `command` with its output appended to `log`. When this process dies, however it dies, the kernel sends
    /// `orphaned` to the child.
    pub fn spawn(name: &str, mut command: Command, log: &Path, orphaned: Signal) -> Result<Process, Error> {
        let (file, log_from) = open_log(log).map_err(Error::io(format!("cannot write {}", log.display())))?;
        let error_file = file.try_clone().map_err(Error::io("cannot share the log file"))?;
        let program = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(file).stderr(error_file);
        let mut child = spawn(command, orphaned).map_err(Error::io(format!("cannot start {program}")))?;
        let pid = Pid::from_child(&child);
        let (announced, _) = watch::channel(None);
        let life = Arc::new(Life { pid, ended: Mutex::new(None), told: Condvar::new(), announced });
        let watched = life.clone();
        std::thread::Builder::new()
            .name(format!("wait-{name}"))
            .spawn(move || watched.reap(&mut child))
            .map_err(Error::io("cannot start a thread"))?;
        Ok(Process { name: name.to_owned(), log: log.to_owned(), log_from, life })
    }

    /// The process id; another process may have it once this one has ended.
    pub fn pid(&self) -> u32 {
        self.life.pid.as_raw_nonzero().get().unsigned_abs()
    }

    pub fn log(&self) -> &Path {
        &self.log
    }

    /// How it ended; `None` while it runs.
    pub fn status(&self) -> Option<ExitStatus> {
        *self.life.announced.borrow()
    }

    /// Sends a signal; nothing happens when the process has ended.
    pub fn signal(&self, signal: Signal) {
        let ended = self.life.ended.lock().expect("no holder panics");
        if ended.is_none() {
            let _ = kill_process(self.life.pid, signal);
        }
    }

    /// Waits for its end, without keeping it alive.
    pub fn ended(&self) -> impl Future<Output = ExitStatus> + Send + use<> {
        let mut announced = self.life.announced.subscribe();
        let life = self.life.clone(); // Keeps the sender, so that the wait below cannot fail.
        async move {
            let status = announced.wait_for(Option::is_some).await.expect("the sender is alive").expect("waited for");
            drop(life);
            status
        }
    }

    /// Sends `signal` and waits for the end; after `patience`, kills the whole group.
    pub async fn stop(&self, signal: Signal, patience: Duration) -> ExitStatus {
        self.signal(signal);
        match tokio::time::timeout(patience, self.ended()).await {
            Ok(status) => status,
            Err(_) => {
                self.kill_group();
                self.ended().await
            }
        }
    }

    /// As `stop`, for `Drop`, which cannot await. Returns whether the process has ended.
    pub fn stop_blocking(&self, signal: Signal, patience: Duration) -> bool {
        self.signal(signal);
        self.wait_blocking(patience) || {
            self.kill_group();
            self.wait_blocking(Duration::from_secs(5))
        }
    }

    fn wait_blocking(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut ended = self.life.ended.lock().expect("no holder panics");
        while ended.is_none() {
            let Some(left) = until.checked_duration_since(Instant::now()) else { return false };
            ended = self.life.told.wait_timeout(ended, left).expect("no holder panics").0;
        }
        true
    }

    fn kill_group(&self) {
        let ended = self.life.ended.lock().expect("no holder panics");
        if ended.is_none() {
            let _ = kill_process_group(self.life.pid, Signal::KILL);
        }
    }

    /// The last `lines` lines that this run has written.
    pub fn log_tail(&self, lines: usize) -> String {
        let read = || -> io::Result<String> {
            let mut file = File::open(&self.log)?;
            let from = file.metadata()?.len().saturating_sub(64 << 10).max(self.log_from);
            file.seek(SeekFrom::Start(from))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let text = read().unwrap_or_default();
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Asks `ready` every few milliseconds, until it says `Ok`. Each `Err(why_not)` is told to `progress` with the time gone by.
    pub(crate) async fn until_ready<F>(
        &self,
        within: Duration,
        ready: impl Fn() -> F,
        mut progress: impl FnMut(Duration, &str),
    ) -> Result<(), Error>
    where
        F: Future<Output = Result<(), String>>,
    {
        let started = Instant::now();
        let mut pause = Duration::from_millis(2);
        loop {
            if let Some(status) = self.status() {
                return Err(self.ended_early(status));
            }
            let Err(last) = ready().await else { return Ok(()) };
            if started.elapsed() > within {
                let (server, log, log_tail) = (self.name.clone(), self.log.clone(), self.log_tail(LOG_TAIL));
                return Err(Error::NotReady { server, seconds: within.as_secs(), last, log, log_tail });
            }
            progress(started.elapsed(), &last);
            tokio::time::sleep(pause).await;
            pause = (pause * 5 / 4).min(Duration::from_millis(100));
        }
    }

    pub(crate) fn ended_early(&self, status: ExitStatus) -> Error {
        let log_tail = self.log_tail(LOG_TAIL);
        Error::Ended { server: self.name.clone(), status: status.to_string(), log: self.log.clone(), log_tail }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.status().is_none() {
            self.kill_group();
            self.wait_blocking(Duration::from_secs(5));
        }
    }
}

/// The process of a server that can be stopped and started again.
#[derive(Debug, Default)]
pub(crate) struct Running(Mutex<Option<Process>>);

impl Running {
    pub fn put(&self, process: Process) {
        *self.0.lock().expect("no holder panics") = Some(process);
    }

    pub fn take(&self) -> Option<Process> {
        self.0.lock().expect("no holder panics").take()
    }

    pub fn pid(&self) -> Option<u32> {
        self.0.lock().expect("no holder panics").as_ref().map(Process::pid)
    }

    /// `None` at once when nothing runs.
    pub fn ended(&self) -> impl Future<Output = Option<ExitStatus>> + Send + use<> {
        let process = self.0.lock().expect("no holder panics");
        let ended = process.as_ref().map(Process::ended);
        async move {
            match ended {
                Some(ended) => Some(ended.await),
                None => None,
            }
        }
    }

    pub async fn stop(&self, signal: Signal, patience: Duration) {
        if let Some(process) = self.take() {
            process.stop(signal, patience).await;
        }
    }
}

impl Life {
    /// Runs in a thread of its own for as long as the child.
    fn reap(&self, child: &mut Child) {
        // First only look, so that the id stays taken until the lock is ours.
        while let Err(rustix::io::Errno::INTR) =
            waitid(WaitId::Pid(self.pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
        {}
        let mut ended = self.ended.lock().expect("no holder panics");
        let _ = kill_process_group(self.pid, Signal::KILL); // What it started and left behind.
        let status = child.wait().unwrap_or_default();
        *ended = Some(status);
        self.announced.send_replace(Some(status));
        self.told.notify_all();
    }
}

/// Runs a tool to its end with `input` on its standard input; what it printed. It dies with us, too.
pub(crate) async fn run(mut command: Command, input: &str) -> Result<String, Error> {
    let tool = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = spawn(command, Signal::KILL).map_err(Error::io(format!("cannot start {tool}")))?;
    let input = input.to_owned();
    let finish = move || {
        let mut child = child;
        if let Some(mut stdin) = child.stdin.take() {
            let _ = stdin.write_all(input.as_bytes()); // A tool that ends before it has read all tells why itself.
        }
        child.wait_with_output()
    };
    let output = tokio::task::spawn_blocking(finish).await.expect("waiting does not panic");
    let output = output.map_err(Error::io(format!("cannot wait for {tool}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = if said.trim().is_empty() { output.status.to_string() } else { said.trim().to_owned() };
    Err(Error::Tool { tool, output: said })
}

/// The path of one of our own binaries: beside the running one, or, from a test, in the folder above it. The tests' caller
/// (infra/test) builds them all first.
pub fn binary(name: &str) -> Result<PathBuf, Error> {
    let own = std::env::current_exe().map_err(Error::io("cannot find our own binary"))?;
    let folder = own.parent().unwrap_or(Path::new("/"));
    let places = [folder.join(name), folder.parent().unwrap_or(folder).join(name)];
    match places.iter().find(|path| path.is_file()) {
        Some(path) => Ok(path.clone()),
        None => Err(Error::Io {
            what: format!("{name} is not built (not in {}): run cargo build --workspace --bins", folder.display()),
            source: io::ErrorKind::NotFound.into(),
        }),
    }
}

/// Spawns in a process group of its own, bound to the life of this process.
fn spawn(mut command: Command, orphaned: Signal) -> io::Result<Child> {
    type Job = Box<dyn FnOnce() + Send>;
    // The kernel sends the signal when the *thread* that spawned ends, so one that never does spawns all.
    static SPAWNER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (jobs, queue) = mpsc::channel::<Job>();
        std::thread::Builder::new()
            .name("spawner".to_owned())
            .spawn(move || queue.into_iter().for_each(|job| job()))
            .expect("the system lets us start a thread");
        jobs
    });
    command.process_group(0);
    let us = getpid();
    let bind_to_us = move || {
        set_parent_process_death_signal(Some(orphaned))?;
        // We may have died before the line above.
        if getppid() == Some(us) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    };
    // After a fork only async-signal-safe calls are allowed: these are three system calls, without memory or locks.
    // There is no other way to make it certain that nothing is left running when a test is killed.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(bind_to_us);
    }
    let (answer, answered) = mpsc::sync_channel(1);
    let job = Box::new(move || {
        let _ = answer.send(command.spawn());
    });
    spawner.send(job).expect("the spawner never ends");
    answered.recv().expect("the spawner answers")
}

fn open_log(log: &Path) -> io::Result<(File, u64)> {
    if fs::metadata(log).is_ok_and(|metadata| metadata.len() > LOG_SIZE_MAX) {
        fs::rename(log, log.with_extension("log.old"))?;
    }
    let file = File::options().create(true).append(true).open(log)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

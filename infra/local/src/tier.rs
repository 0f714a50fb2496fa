//! One of Kontor's own processes: kontor-command, kontor-projector, kontor-query.

use crate::process::Process;
use crate::{Error, http};
use rustix::process::Signal;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

/// How a tier is to be started.
#[derive(Debug, Clone)]
pub struct TierPlan {
    /// For messages: `the command API`.
    pub name: String,
    pub program: PathBuf,
    pub arguments: Vec<String>,
    /// Settings as `KONTOR_SECTION__FIELD`, on top of our own environment.
    pub environment: Vec<(String, String)>,
    /// Where it answers `/readyz`, as one of the settings tells it.
    pub ops_port: u16,
    pub log: PathBuf,
    /// How long it may take until it is ready.
    pub ready_within: Duration,
}

/// A running tier. Ended when dropped.
#[derive(Debug)]
pub struct Tier {
    plan: TierPlan,
    process: Process,
}

impl Tier {
    /// Starts it and waits for 200 from `/readyz`. Meanwhile `progress` hears, several times a second, how long it has been
    /// and why it is not ready yet.
    pub async fn start(plan: &TierPlan, progress: impl FnMut(Duration, &str)) -> Result<Tier, Error> {
        if crate::ports::in_use(plan.ops_port) {
            return Err(Error::PortInUse { server: plan.name.clone(), port: plan.ops_port });
        }
        let mut command = Command::new(&plan.program);
        command.args(&plan.arguments).envs(plan.environment.iter().map(|(name, value)| (name, value)));
        let process = Process::spawn(&plan.name, command, &plan.log, Signal::KILL)?;
        process.until_ready(plan.ready_within, || ready(plan.ops_port), progress).await?;
        Ok(Tier { plan: plan.clone(), process })
    }

    /// Starts it again, as it was, after `stop` or `kill`; a running one is stopped first. Waits for 200 from `/readyz`.
    pub async fn restart(&mut self) -> Result<(), Error> {
        self.stop().await;
        *self = Tier::start(&self.plan, |_, _| {}).await?;
        Ok(())
    }

    /// How it was started.
    pub fn plan(&self) -> &TierPlan {
        &self.plan
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn log(&self) -> &Path {
        self.process.log()
    }

    /// The last `lines` lines that it has written.
    pub fn log_tail(&self, lines: usize) -> String {
        self.process.log_tail(lines)
    }

    /// Waits for its end.
    pub fn ended(&self) -> impl Future<Output = ExitStatus> + Send + use<> {
        self.process.ended()
    }

    /// How it ended; `None` while it runs.
    pub fn status(&self) -> Option<ExitStatus> {
        self.process.status()
    }

    /// Sends a signal, such as SIGSTOP to make it look hung.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Asks it to finish what it does and end; after 30 s, kills it.
    pub async fn stop(&self) -> ExitStatus {
        self.process.stop(Signal::TERM, Duration::from_secs(30)).await
    }

    /// Ends it as a crash would.
    pub async fn kill(&self) -> ExitStatus {
        self.process.stop(Signal::KILL, Duration::from_secs(60)).await
    }
}

async fn ready(ops_port: u16) -> Result<(), String> {
    match http::get(ops_port, "/readyz?verbose").await {
        Ok((200, _)) => Ok(()),
        Ok((status, body)) => {
            let failing: Vec<_> = body.lines().filter(|check| check.contains(": not ok for ")).collect();
            let why = if failing.is_empty() { body.trim().to_owned() } else { failing.join("; ") };
            Err(format!("/readyz answers {status}: {why}"))
        }
        Err(error) => Err(format!("/readyz does not answer: {error}")),
    }
}

//! The whole of Kontor on one machine: servers, migrations, tiers.

use crate::process::{self, Process};
use crate::{Error, Nats, Postgres, PostgresProfile, Redis, Role, Tier, TierPlan, account, ports};
use rustix::process::Signal;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Command;
use std::time::Duration;

/// How often the replica is asked whether it follows; after three times that it does not, it starts over.
const REPLICA_CHECK: Duration = Duration::from_secs(10);

/// Where everything listens, on 127.0.0.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlatformPorts {
    pub command: u16,
    pub query: u16,
    pub command_ops: u16,
    pub projector_ops: u16,
    pub query_ops: u16,
    pub postgres: u16,
    pub replica: u16,
    pub redis: u16,
    pub nats: u16,
    pub nats_monitor: u16,
}

impl PlatformPorts {
    /// The greatest base: the last port is 24 above it.
    pub const BASE_MAX: u16 = u16::MAX - 24;

    /// The ports of `infra/up --port-base <base>`. `base` is at most [`Self::BASE_MAX`].
    pub fn from_base(base: u16) -> PlatformPorts {
        PlatformPorts {
            command: base,
            query: base + 1,
            command_ops: base + 10,
            projector_ops: base + 11,
            query_ops: base + 12,
            postgres: base + 20,
            replica: base + 21,
            redis: base + 22,
            nats: base + 23,
            nats_monitor: base + 24,
        }
    }

    /// Any that are free, for a benchmark.
    pub fn free() -> PlatformPorts {
        PlatformPorts {
            command: ports::free(),
            query: ports::free(),
            command_ops: ports::free(),
            projector_ops: ports::free(),
            query_ops: ports::free(),
            postgres: ports::free(),
            replica: ports::free(),
            redis: ports::free(),
            nats: ports::free(),
            nats_monitor: ports::free(),
        }
    }

    /// Those that somebody listens on, with what we want them for.
    pub fn in_use(&self) -> Vec<(u16, &'static str)> {
        let all = [
            (self.command, "the command API"),
            (self.query, "the query API"),
            (self.command_ops, "kontor-command's health"),
            (self.projector_ops, "kontor-projector's health"),
            (self.query_ops, "kontor-query's health"),
            (self.postgres, "Postgres"),
            (self.replica, "the Postgres replica"),
            (self.redis, "Redis"),
            (self.nats, "NATS"),
            (self.nats_monitor, "NATS' monitoring"),
        ];
        all.into_iter().filter(|&(port, _)| ports::in_use(port)).collect()
    }
}

/// What the platform is doing, told as it happens.
#[derive(Debug, Clone, Copy)]
pub enum Step<'a> {
    Begins(&'a str),
    /// The step takes long, for this reason.
    Waits(&'a str),
    /// The last that began is done.
    Done,
}

/// One process of the platform, for whoever shows them.
#[derive(Debug, Clone)]
pub struct PlatformProcess {
    pub name: &'static str,
    pub port: u16,
    /// `None` while it is not running.
    pub pid: Option<u32>,
    pub log: PathBuf,
}

/// A running platform. Everything ends when it is dropped, but `stop` ends it in order and in peace.
#[derive(Debug)]
pub struct Platform {
    // Dropped in this order: no one outlives what it depends on.
    query: Tier,
    projector: Tier,
    command: Tier,
    nats: Nats,
    redis: Redis,
    replica: Postgres,
    postgres: Postgres,
    ports: PlatformPorts,
}

impl Platform {
    /// Starts everything, with its data in `folder`, and returns when all is ready. The tiers' binaries are expected beside
    /// the running one.
    pub async fn start(folder: &Path, ports: PlatformPorts, tell: &mut dyn FnMut(Step<'_>)) -> Result<Platform, Error> {
        let programs = [
            process::binary("kontor-command")?,
            process::binary("kontor-projector")?,
            process::binary("kontor-query")?,
        ];
        let [command_program, projector_program, query_program] = programs;
        let logs = folder.join("tiers");
        account::shared_folder(&logs, None)?;

        tell(Step::Begins("PostgreSQL, primary"));
        let postgres = Postgres::start(&folder.join("postgres"), ports.postgres, PostgresProfile::Platform).await?;
        tell(Step::Done);
        tell(Step::Begins("PostgreSQL, streaming replica"));
        let replica = Postgres::start_replica(&postgres, &folder.join("replica"), ports.replica).await?;
        tell(Step::Done);
        tell(Step::Begins("Redis"));
        let redis = Redis::start(&folder.join("redis"), ports.redis).await?;
        tell(Step::Done);
        tell(Step::Begins("NATS with JetStream"));
        let nats = Nats::start(&folder.join("nats"), ports.nats, ports.nats_monitor).await?;
        tell(Step::Done);

        tell(Step::Begins("Migrations"));
        let migrator = setting("LOG__MIGRATOR_URL", postgres.url(Role::Migrator));
        for program in [&command_program, &projector_program] {
            migrate(program, &migrator, &logs.join("migrate.log")).await?;
        }
        tell(Step::Done);

        let plan = |name: &str, program: &PathBuf, ops_port: u16, mut environment: Vec<(String, String)>| {
            environment.push(setting("OPS__BIND", format!("127.0.0.1:{ops_port}")));
            TierPlan {
                name: name.to_owned(),
                program: program.clone(),
                arguments: vec!["serve".to_owned()],
                environment,
                ops_port,
                log: logs.join(format!("{name}.log")),
                ready_within: Duration::from_secs(120),
            }
        };
        let nats_url = setting("NATS__URL", nats.url());
        let command = plan(
            "kontor-command",
            &command_program,
            ports.command_ops,
            vec![
                setting("LOG__URL", postgres.url(Role::Command)),
                setting("RELAY__LOG_URL", postgres.url(Role::Relay)),
                nats_url.clone(),
                setting("HTTP__BIND", format!("127.0.0.1:{}", ports.command)),
            ],
        );
        let projector = plan(
            "kontor-projector",
            &projector_program,
            ports.projector_ops,
            vec![
                setting("PROJECTIONS__URL", postgres.url(Role::Projector)),
                nats_url,
                setting("REDIS__URL", redis.url()),
            ],
        );
        let query = plan(
            "kontor-query",
            &query_program,
            ports.query_ops,
            vec![
                setting("REPLICA__URL", replica.url(Role::Query)),
                setting("REDIS__URL", redis.url()),
                setting("HTTP__BIND", format!("127.0.0.1:{}", ports.query)),
            ],
        );
        let command = start_tier(&command, tell).await?;
        let projector = start_tier(&projector, tell).await?;
        let query = start_tier(&query, tell).await?;
        Ok(Platform { query, projector, command, nats, redis, replica, postgres, ports })
    }

    pub fn ports(&self) -> PlatformPorts {
        self.ports
    }

    /// `http://127.0.0.1:<port>` of the command API.
    pub fn command_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.command)
    }

    /// `http://127.0.0.1:<port>` of the query API.
    pub fn query_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.query)
    }

    pub fn postgres(&self) -> &Postgres {
        &self.postgres
    }

    pub fn replica(&self) -> &Postgres {
        &self.replica
    }

    pub fn nats(&self) -> &Nats {
        &self.nats
    }

    pub fn redis(&self) -> &Redis {
        &self.redis
    }

    /// The tiers, in the order of an event's way: command, projector, query.
    pub fn tiers(&self) -> [&Tier; 3] {
        [&self.command, &self.projector, &self.query]
    }

    /// Every process, in the order of their start.
    pub fn processes(&self) -> Vec<PlatformProcess> {
        let ports = self.ports;
        let server = |name, port, pid, log| PlatformProcess { name, port, pid, log };
        let tier = |name, port, tier: &Tier| {
            let pid = tier.status().is_none().then(|| tier.pid());
            PlatformProcess { name, port, pid, log: tier.log().to_owned() }
        };
        vec![
            server("Postgres", ports.postgres, self.postgres.pid(), self.postgres.log()),
            server("Postgres replica", ports.replica, self.replica.pid(), self.replica.log()),
            server("Redis", ports.redis, self.redis.pid(), self.redis.log()),
            server("NATS", ports.nats, self.nats.pid(), self.nats.log()),
            tier("kontor-command", ports.command_ops, &self.command),
            tier("kontor-projector", ports.projector_ops, &self.projector),
            tier("kontor-query", ports.query_ops, &self.query),
        ]
    }

    /// Watches over everything; returns when a process has ended that should not: one line for people. A replica that has
    /// lost touch with its primary starts over meanwhile.
    pub async fn watch(&self, tell: &mut dyn FnMut(Step<'_>)) -> String {
        let mut not_following = 0;
        loop {
            tokio::select! {
                ended = self.first_end() => return ended,
                () = tokio::time::sleep(REPLICA_CHECK) => {}
            }
            // An error is the primary's or the replica's end, which the next round sees.
            match self.replica.streams_from(&self.postgres).await {
                Ok(false) => not_following += 1,
                Ok(true) | Err(_) => not_following = 0,
            }
            if not_following == 3 {
                tell(Step::Begins("PostgreSQL, streaming replica: it lost touch with the primary and starts over"));
                if let Err(error) = self.replica.refresh(&self.postgres).await {
                    return format!("the Postgres replica could not start over: {error}");
                }
                tell(Step::Done);
                not_following = 0;
            }
        }
    }

    async fn first_end(&self) -> String {
        type End = Pin<Box<dyn Future<Output = String> + Send>>;
        let server = |name: &'static str, log: PathBuf, ended: Pin<Box<dyn Future<Output = _> + Send>>| -> End {
            Box::pin(async move {
                let status: Option<std::process::ExitStatus> = ended.await;
                let how = status.map_or("it was not running".to_owned(), |status| status.to_string());
                format!("{name} ended unexpectedly ({how}); its log is {}", log.display())
            })
        };
        let tier = |name, tier: &Tier| {
            let ended = tier.ended();
            server(name, tier.log().to_owned(), Box::pin(async move { Some(ended.await) }))
        };
        tokio::select! {
            line = server("Postgres", self.postgres.log(), Box::pin(self.postgres.ended())) => line,
            line = server("the Postgres replica", self.replica.log(), Box::pin(self.replica.ended())) => line,
            line = server("Redis", self.redis.log(), Box::pin(self.redis.ended())) => line,
            line = server("NATS", self.nats.log(), Box::pin(self.nats.ended())) => line,
            line = tier("kontor-command", &self.command) => line,
            line = tier("kontor-projector", &self.projector) => line,
            line = tier("kontor-query", &self.query) => line,
        }
    }

    /// Ends everything, in the reverse order of the start.
    pub async fn stop(self, tell: &mut dyn FnMut(Step<'_>)) -> Result<(), Error> {
        for (name, tier) in
            [("kontor-query", &self.query), ("kontor-projector", &self.projector), ("kontor-command", &self.command)]
        {
            tell(Step::Begins(name));
            tier.stop().await;
            tell(Step::Done);
        }
        tell(Step::Begins("NATS"));
        self.nats.stop().await?;
        tell(Step::Done);
        tell(Step::Begins("Redis"));
        self.redis.stop().await?;
        tell(Step::Done);
        tell(Step::Begins("PostgreSQL, streaming replica"));
        self.replica.stop().await?;
        tell(Step::Done);
        tell(Step::Begins("PostgreSQL, primary"));
        self.postgres.stop().await?;
        tell(Step::Done);
        Ok(())
    }
}

fn setting(name: &str, value: String) -> (String, String) {
    (format!("KONTOR_{name}"), value)
}

async fn start_tier(plan: &TierPlan, tell: &mut dyn FnMut(Step<'_>)) -> Result<Tier, Error> {
    tell(Step::Begins(&plan.name));
    let tier = Tier::start(plan, |waited, why| {
        // In the first moment no one is surprised.
        if waited > Duration::from_secs(3) {
            tell(Step::Waits(why));
        }
    })
    .await?;
    tell(Step::Done);
    Ok(tier)
}

async fn migrate(program: &Path, migrator: &(String, String), log: &Path) -> Result<(), Error> {
    let tool = format!("{} migrate", program.file_name().unwrap_or_default().to_string_lossy());
    let mut command = Command::new(program);
    command.arg("migrate").env(&migrator.0, &migrator.1);
    let process = Process::spawn(&tool, command, log, Signal::KILL)?;
    match process.ended().await.success() {
        true => Ok(()),
        false => Err(Error::Tool { tool, output: process.log_tail(12) }),
    }
}

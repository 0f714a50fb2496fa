//! The whole of Kontor on one machine: servers, migrations, tiers.

use crate::process::{self, Process};
use crate::{
    Error, Identity, Nats, Postgres, PostgresProfile, Redis, Role, Tier, TierPlan, account, http, ports, privacy,
};
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
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
    pub smtp: u16,
    pub mails: u16,
}

impl PlatformPorts {
    /// The ports from a base lie within so many.
    pub const SPAN: u16 = 27;
    /// The greatest base.
    pub const BASE_MAX: u16 = u16::MAX - Self::SPAN + 1;

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
            smtp: base + 25,
            mails: base + 26,
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
            smtp: ports::free(),
            mails: ports::free(),
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
            (self.smtp, "the mail sink's SMTP"),
            (self.mails, "the mail sink's page"),
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
    servers: PlatformServers,
    identity: Identity,
    ports: PlatformPorts,
}

/// What tiers are told to believe callers by, to seal personal data with, and to search in.
#[derive(Clone, Copy)]
struct Files<'a> {
    identity: &'a Identity,
    master_key_file: &'a Path,
    search: &'a Path,
}

#[derive(Debug)]
struct PlatformServers {
    mail_sink: Process,
    nats: Nats,
    redis: Redis,
    replica: Postgres,
    postgres: Postgres,
}

impl Platform {
    /// Starts everything, with its data in `folder`, and returns when all is ready. The tiers' binaries are expected beside
    /// the running one.
    pub async fn start(folder: &Path, ports: PlatformPorts, tell: &mut dyn FnMut(Step<'_>)) -> Result<Platform, Error> {
        let command = process::binary("kontor-command")?;
        let projector = process::binary("kontor-projector")?;
        let query = process::binary("kontor-query")?;
        let mail_sink = process::binary("kontor-mail-sink")?;
        let logs = folder.join("tiers");
        account::shared_folder(&logs, None)?;

        let identity = Identity::in_folder(&folder.join("identity"))?;
        let master_key_file = privacy::master_key_file(&folder.join("privacy"))?;
        // The projector fills it, the query tier reads it.
        let search = folder.join("search");
        account::private_folder(&search, None)?;
        let files = Files { identity: &identity, master_key_file: &master_key_file, search: &search };

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

        tell(Step::Begins("Mail sink"));
        let mail_sink = start_mail_sink(&mail_sink, &folder.join("mails"), ports).await?;
        tell(Step::Done);

        let servers = PlatformServers { mail_sink, nats, redis, replica, postgres };
        // A tier would wait for a server that has died meanwhile, and in the end be blamed for it.
        let [command, projector, query] = tokio::select! {
            tiers = servers.start_tiers(&logs, [&command, &projector, &query], ports, files, tell) => tiers?,
            died = servers.died() => return Err(died),
        };
        Ok(Platform { query, projector, command, servers, identity, ports })
    }

    /// How one more command tier on the same log is started, and the port of its API. It is no part of the platform: who
    /// starts it ends it, before the platform.
    pub fn another_command(&self) -> (TierPlan, u16) {
        let (api, ops) = (ports::free(), ports::free());
        let mut plan = self.command.plan().clone();
        plan.ops_port = ops;
        plan.log.set_file_name(format!("kontor-command-{api}.log"));
        // Of a variable that is named twice, the later value counts.
        let elsewhere = [("HTTP__BIND", api), ("OPS__BIND", ops)];
        plan.environment.extend(elsewhere.map(|(setting, port)| (format!("KONTOR_{setting}"), local(port))));
        (plan, api)
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

    /// `http://127.0.0.1:<port>` of the page with the mails that were sent.
    pub fn mails_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.mails)
    }

    /// Who may call the tiers.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    pub fn postgres(&self) -> &Postgres {
        &self.servers.postgres
    }

    pub fn replica(&self) -> &Postgres {
        &self.servers.replica
    }

    pub fn nats(&self) -> &Nats {
        &self.servers.nats
    }

    pub fn redis(&self) -> &Redis {
        &self.servers.redis
    }

    /// The tiers, in the order of an event's way: command, projector, query.
    pub fn tiers(&self) -> [&Tier; 3] {
        [&self.command, &self.projector, &self.query]
    }

    /// The command tier, to be started again.
    pub fn command_mut(&mut self) -> &mut Tier {
        &mut self.command
    }

    /// The projector, to be started again.
    pub fn projector_mut(&mut self) -> &mut Tier {
        &mut self.projector
    }

    /// The query tier, to be started again.
    pub fn query_mut(&mut self) -> &mut Tier {
        &mut self.query
    }

    /// Every process, in the order of their start.
    pub fn processes(&self) -> Vec<PlatformProcess> {
        let (ports, servers) = (self.ports, &self.servers);
        let mail_sink_pid = servers.mail_sink.status().is_none().then(|| servers.mail_sink.pid());
        let server = |name, port, pid, log| PlatformProcess { name, port, pid, log };
        let tier = |name, port, tier: &Tier| {
            let pid = tier.status().is_none().then(|| tier.pid());
            PlatformProcess { name, port, pid, log: tier.log().to_owned() }
        };
        vec![
            server("Postgres", ports.postgres, servers.postgres.pid(), servers.postgres.log()),
            server("Postgres replica", ports.replica, servers.replica.pid(), servers.replica.log()),
            server("Redis", ports.redis, servers.redis.pid(), servers.redis.log()),
            server("NATS", ports.nats, servers.nats.pid(), servers.nats.log()),
            server("Mail sink", ports.mails, mail_sink_pid, servers.mail_sink.log().to_owned()),
            tier("kontor-command", ports.command_ops, &self.command),
            tier("kontor-projector", ports.projector_ops, &self.projector),
            tier("kontor-query", ports.query_ops, &self.query),
        ]
    }

    /// Watches over everything; returns when a process has ended that should not, with which and where its log is. A replica
    /// that has lost touch with its primary starts over meanwhile.
    pub async fn watch(&self, tell: &mut dyn FnMut(Step<'_>)) -> Error {
        let PlatformServers { replica, postgres, .. } = &self.servers;
        let mut not_following = 0;
        loop {
            tokio::select! {
                died = self.servers.died() => return died,
                died = tier_died("kontor-command", &self.command) => return died,
                died = tier_died("kontor-projector", &self.projector) => return died,
                died = tier_died("kontor-query", &self.query) => return died,
                () = tokio::time::sleep(REPLICA_CHECK) => {}
            }
            // An error is the primary's end, which the next round sees.
            match replica.streams_from(postgres).await {
                Ok(false) => not_following += 1,
                Ok(true) | Err(_) => not_following = 0,
            }
            if not_following == 3 {
                tell(Step::Begins("PostgreSQL, streaming replica: it lost touch with the primary and starts over"));
                if let Err(error) = replica.refresh(postgres).await {
                    return error;
                }
                tell(Step::Done);
                not_following = 0;
            }
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
        tell(Step::Begins("Mail sink"));
        self.servers.mail_sink.stop(Signal::TERM, Duration::from_secs(10)).await;
        tell(Step::Done);
        tell(Step::Begins("NATS"));
        self.servers.nats.stop().await?;
        tell(Step::Done);
        tell(Step::Begins("Redis"));
        self.servers.redis.stop().await?;
        tell(Step::Done);
        tell(Step::Begins("PostgreSQL, streaming replica"));
        self.servers.replica.stop().await?;
        tell(Step::Done);
        tell(Step::Begins("PostgreSQL, primary"));
        self.servers.postgres.stop().await?;
        tell(Step::Done);
        Ok(())
    }
}

impl PlatformServers {
    /// Migrates, then starts the tiers: command, projector, query.
    async fn start_tiers(
        &self,
        logs: &Path,
        programs: [&Path; 3],
        ports: PlatformPorts,
        files: Files<'_>,
        tell: &mut dyn FnMut(Step<'_>),
    ) -> Result<[Tier; 3], Error> {
        tell(Step::Begins("Migrations"));
        for program in [programs[0], programs[1]] {
            migrate(program, self.postgres.url(Role::Migrator), &logs.join("migrate.log")).await?;
        }
        tell(Step::Done);

        let plan = |program: &Path, ops_port: u16, settings: &[(&str, String)]| {
            let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let ops_bind = [("OPS__BIND", local(ops_port))];
            let settings = settings.iter().chain(&ops_bind);
            TierPlan {
                program: program.to_owned(),
                arguments: vec!["serve".to_owned()],
                environment: settings.map(|(setting, value)| (format!("KONTOR_{setting}"), value.clone())).collect(),
                ops_port,
                log: logs.join(format!("{name}.log")),
                ready_within: Duration::from_secs(120),
                name,
            }
        };
        let public_key = files.identity.settings().public_key_file.display().to_string();
        let master_key = files.master_key_file.display().to_string();
        let search = files.search.display().to_string();
        // Each tier is told no more passwords than it needs.
        let command = [
            ("LOG__URL", self.postgres.url(Role::Command)),
            ("RELAY__LOG_URL", self.postgres.url(Role::Relay)),
            ("NATS__URL", self.nats.url()),
            ("HTTP__BIND", local(ports.command)),
            ("IDENTITY__PUBLIC_KEY_FILE", public_key.clone()),
            ("PRIVACY__MASTER_KEY_FILE", master_key.clone()),
            ("MAIL__PORT", ports.smtp.to_string()),
        ];
        let projector = [
            ("PROJECTIONS__URL", self.postgres.url(Role::Projector)),
            ("NATS__URL", self.nats.url()),
            ("REDIS__URL", self.redis.url()),
            ("SEARCH__FOLDER", search.clone()),
        ];
        let query = [
            ("REPLICA__URL", self.replica.url(Role::Query)),
            ("NATS__URL", self.nats.url()),
            ("REDIS__URL", self.redis.url()),
            ("SEARCH__FOLDER", search),
            ("HTTP__BIND", local(ports.query)),
            ("IDENTITY__PUBLIC_KEY_FILE", public_key),
            ("PRIVACY__MASTER_KEY_FILE", master_key),
        ];
        Ok([
            start_tier(&plan(programs[0], ports.command_ops, &command), tell).await?,
            start_tier(&plan(programs[1], ports.projector_ops, &projector), tell).await?,
            start_tier(&plan(programs[2], ports.query_ops, &query), tell).await?,
        ])
    }

    /// Returns when one of them has ended.
    async fn died(&self) -> Error {
        tokio::select! {
            status = self.postgres.ended() => died("Postgres", status, self.postgres.log()),
            status = self.replica.ended() => died("the Postgres replica", status, self.replica.log()),
            status = self.redis.ended() => died("Redis", status, self.redis.log()),
            status = self.nats.ended() => died("NATS", status, self.nats.log()),
            status = self.mail_sink.ended() => died("the mail sink", Some(status), self.mail_sink.log().to_owned()),
        }
    }
}

/// Takes the mail of the command tier.
async fn start_mail_sink(program: &Path, folder: &Path, ports: PlatformPorts) -> Result<Process, Error> {
    account::private_folder(folder, None)?; // Mails are full of names and addresses.
    let mut command = Command::new(program);
    command.arg("--folder").arg(folder);
    command.args(["--smtp-port", &ports.smtp.to_string(), "--page-port", &ports.mails.to_string()]);
    let process = Process::spawn("the mail sink", command, &folder.join("mail-sink.log"), Signal::KILL)?;
    let ready = || async move {
        match http::get(ports.mails, "/readyz").await {
            Ok((200, _)) => Ok(()),
            Ok((status, _)) => Err(format!("its page answers {status}")),
            Err(error) => Err(format!("its page does not answer: {error}")),
        }
    };
    process.until_ready(Duration::from_secs(30), ready, |_, _| {}).await?;
    Ok(process)
}

async fn tier_died(name: &str, tier: &Tier) -> Error {
    died(name, Some(tier.ended().await), tier.log().to_owned())
}

fn died(server: &str, status: Option<ExitStatus>, log: PathBuf) -> Error {
    let status = status.map_or("it was not running".to_owned(), |status| status.to_string());
    Error::Died { server: server.to_owned(), status, log }
}

fn local(port: u16) -> String {
    format!("127.0.0.1:{port}")
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

async fn migrate(program: &Path, migrator_url: String, log: &Path) -> Result<(), Error> {
    let tool = format!("{} migrate", program.file_name().unwrap_or_default().to_string_lossy());
    let mut command = Command::new(program);
    command.arg("migrate").env("KONTOR_LOG__MIGRATOR_URL", migrator_url);
    let process = Process::spawn(&tool, command, log, Signal::KILL)?;
    match process.ended().await.success() {
        true => Ok(()),
        false => Err(Error::Tool { tool, output: process.log_tail(12) }),
    }
}

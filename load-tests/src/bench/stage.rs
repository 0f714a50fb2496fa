//! Servers and the tiers that queries need, without the command tier: a log that was filled by somebody else would set its
//! process managers to work.

use anyhow::{Context, Result, ensure};
use kontor_identity::Role as Caller;
use kontor_local::process::ProcessSignal;
use kontor_local::{Need, Postgres, PostgresProfile, Process, Role, Servers, Tier, TierPlan, binary, ports};
use sqlx::postgres::{PgPool, PgPoolOptions};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// What becomes of a process when this one is gone.
const KILL: ProcessSignal = ProcessSignal::KILL;
/// A projection that has not moved for so long is taken to have failed.
const STALLED_AFTER: Duration = Duration::from_secs(60);
const POLL_EVERY: Duration = Duration::from_millis(5);
const MINUTE: Duration = Duration::from_secs(60);

/// Postgres with a replica, NATS and Redis, and what runs on them. The log is not relayed: projectors read it from Postgres.
pub struct Stage {
    // Dropped in this order.
    query: Option<Tier>,
    projector: Option<Process>,
    database: PgPool,
    servers: Servers,
    query_port: u16,
}

/// How a projection came from one position to another.
#[derive(Debug, Clone, Copy)]
pub struct Followed {
    /// Those after the first that were seen applied.
    pub events: i64,
    pub seconds: f64,
}

impl Followed {
    /// Events a second.
    pub fn rate(self) -> f64 {
        self.events as f64 / self.seconds
    }
}

impl Stage {
    pub async fn start() -> Result<Self> {
        eprintln!("Starting Postgres with a replica, NATS and Redis in a folder of their own");
        let needs = [Need::Postgres, Need::Replica, Need::Nats, Need::Redis];
        let servers = Servers::start_as(&needs, PostgresProfile::Platform).await?;
        for program in ["kontor-command", "kontor-projector"] {
            let mut command = Command::new(binary(program)?);
            command.arg("migrate").env("KONTOR_LOG__MIGRATOR_URL", servers.postgres().url(Role::Migrator));
            let migration = Process::spawn(program, command, &servers.folder().join("migrate.log"), KILL)?;
            let status = migration.ended().await;
            ensure!(status.success(), "{program} migrate ended ({status}): {}", migration.log_tail(5));
        }
        let database = PgPoolOptions::new().max_connections(1).connect(&servers.postgres().url(Role::Query)).await?;
        Ok(Self { query: None, projector: None, database, servers, query_port: ports::free() })
    }

    pub fn postgres(&self) -> &Postgres {
        self.servers.postgres()
    }

    pub fn master_key_file(&self) -> &Path {
        self.servers.master_key_file()
    }

    pub fn folder(&self) -> &Path {
        self.servers.folder()
    }

    /// Where the search index is.
    fn search_folder(&self) -> String {
        self.folder().join("search").display().to_string()
    }

    /// Of one of the shop's own people.
    pub fn token(&self) -> String {
        self.servers.identity().token("bench", Caller::Staff, None)
    }

    /// Where queries are answered.
    pub fn query_address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.query_port))
    }

    /// The operators' tool, which knows where the read models are.
    pub fn kontor(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(binary("kontor")?);
        command.args(arguments).env("KONTOR_DATABASE_URL", self.postgres().url(Role::Projector));
        command.env("KONTOR_REDIS__URL", self.servers.redis().url()).env("KONTOR_SEARCH__FOLDER", self.search_folder());
        Ok(command)
    }

    /// Starts a projector of these projections, or of all. It may have much to catch up with.
    pub fn start_projector(&mut self, names: &[&str]) -> Result<()> {
        let servers = &self.servers;
        let mut command = Command::new(binary("kontor-projector")?);
        command.arg("serve").args(names).envs([
            ("KONTOR_PROJECTIONS__URL", servers.postgres().url(Role::Projector)),
            ("KONTOR_NATS__URL", servers.nats().url()),
            ("KONTOR_REDIS__URL", servers.redis().url()),
            ("KONTOR_SEARCH__FOLDER", self.search_folder()),
            ("KONTOR_OPS__BIND", format!("127.0.0.1:{}", ports::free())),
            // Who measures says when something is learnt.
            ("KONTOR_RECOMMENDATIONS__TRAIN_EVERY_S", "0".to_owned()),
        ]);
        let log = self.folder().join("kontor-projector.log");
        self.projector = Some(Process::spawn("kontor-projector", command, &log, KILL)?);
        Ok(())
    }

    pub async fn stop_projector(&mut self) {
        if let Some(projector) = self.projector.take() {
            projector.stop(ProcessSignal::TERM, Duration::from_secs(30)).await;
        }
    }

    /// Its process id. Panics while there is none.
    pub fn projector_pid(&self) -> u32 {
        self.projector.as_ref().expect("a projector was started").pid()
    }

    pub async fn start_query(&mut self) -> Result<()> {
        let (servers, ops_port) = (&self.servers, ports::free());
        let public_key = servers.identity().settings().public_key_file.display().to_string();
        let environment = [
            ("REPLICA__URL", servers.replica().url(Role::Query)),
            ("REDIS__URL", servers.redis().url()),
            ("SEARCH__FOLDER", self.search_folder()),
            ("HTTP__BIND", self.query_address().to_string()),
            ("IDENTITY__PUBLIC_KEY_FILE", public_key),
            ("PRIVACY__MASTER_KEY_FILE", self.master_key_file().display().to_string()),
            ("OPS__BIND", format!("127.0.0.1:{ops_port}")),
        ];
        let plan = TierPlan {
            name: "kontor-query".to_owned(),
            program: binary("kontor-query")?,
            arguments: vec!["serve".to_owned()],
            environment: environment.map(|(setting, value)| (format!("KONTOR_{setting}"), value)).into(),
            ops_port,
            log: self.folder().join("kontor-query.log"),
            ready_within: 2 * MINUTE,
        };
        self.query = Some(Tier::start(&plan, |_, _| {}).await?);
        Ok(())
    }

    /// How far the read models that queries see of these projections have come: the one that is furthest behind.
    pub async fn position(&self, projections: &[&str]) -> Result<i64> {
        let sql = "select min(coalesce(g.position, 0)) from unnest($1) as wanted (projection)
             left join projections.generations g on g.projection = wanted.projection and g.state = 'live'";
        Ok(sqlx::query_scalar(sql).bind(projections).fetch_one(&self.database).await?)
    }

    /// Number of the generation that queries see of a projection, and the store it is in.
    pub async fn live(&self, projection: &str) -> Result<(i32, String)> {
        let sql = "select generation, store from projections.generations where projection = $1 and state = 'live'";
        Ok(sqlx::query_as(sql).bind(projection).fetch_one(&self.database).await?)
    }

    /// Waits until these projections are at `head`, and the replica with them.
    pub async fn follow(&self, projections: &[&str], head: i64) -> Result<Followed> {
        let begun = self.position(projections).await?;
        let (mut first, mut last, mut moved_at) = (None, begun, Instant::now());
        loop {
            let position = self.position(projections).await?;
            if position > last {
                (last, moved_at) = (position, Instant::now());
                first.get_or_insert((position, moved_at));
            }
            if position >= head {
                break;
            }
            self.is_well()?;
            ensure!(moved_at.elapsed() < STALLED_AFTER, "the projector is at {last} of {head} and does not go on");
            sleep(POLL_EVERY).await;
        }
        let sql = "select count(*) from projections.dead_letters";
        let set_aside: i64 = sqlx::query_scalar(sql).fetch_one(&self.database).await?;
        ensure!(set_aside == 0, "{set_aside} events were set aside: they could not be applied");
        self.servers.replica().catch_up(self.postgres(), MINUTE).await?;
        let (first, first_at) = first.unwrap_or((last, moved_at));
        Ok(Followed { events: last - first, seconds: (moved_at - first_at).as_secs_f64() })
    }

    fn is_well(&self) -> Result<()> {
        let projector = self.projector.as_ref().context("no projector was started")?;
        match projector.status() {
            Some(status) => anyhow::bail!("the projector ended ({status}): {}", projector.log_tail(5)),
            None => Ok(()),
        }
    }

    /// The housekeeping that the filling caused is done before it can be in the way of what is measured.
    pub async fn tidy(&self) -> Result<()> {
        self.postgres().sql("vacuum (analyze);\ncheckpoint;").await?;
        Ok(self.servers.replica().catch_up(self.postgres(), 5 * MINUTE).await?)
    }

    /// Those that run, in the order of an event's way.
    pub fn processes(&self) -> Vec<(&'static str, u32)> {
        let servers = &self.servers;
        let all = [
            ("Postgres", servers.postgres().pid()),
            ("kontor-projector", self.projector.as_ref().map(Process::pid)),
            ("Redis", servers.redis().pid()),
            ("Postgres replica", servers.replica().pid()),
            ("kontor-query", self.query.as_ref().map(Tier::pid)),
        ];
        all.into_iter().filter_map(|(name, pid)| Some((name, pid?))).collect()
    }

    pub async fn stop(mut self) {
        if let Some(query) = self.query.take() {
            query.stop().await;
        }
        self.stop_projector().await;
        self.database.close().await;
    }
}

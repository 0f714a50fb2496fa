//! A streaming replica: made from a base backup, follows through a replication slot, starts over when it has lost touch.

use super::cluster;
use super::{Postgres, PostgresProfile};
use crate::Error;
use crate::account;
use crate::process::{self, Running};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// The slot on the primary that keeps the log until the replica has it; also its application name.
pub(super) const SLOT: &str = "kontor_replica";

impl Postgres {
    /// Starts the replica kept in `folder`, with a fresh base backup when there is none or it cannot follow any more; returns
    /// when it streams from `primary` and takes connections. One replica a primary. Port 0: any free.
    pub async fn start_replica(primary: &Postgres, folder: &Path, port: u16) -> Result<Postgres, Error> {
        // Streaming works between equal releases only; data of another is of no use.
        let installation = primary.installation.clone();
        account::shared_folder(folder, installation.account.as_ref())?;
        let folder = folder.canonicalize().map_err(Error::io(format!("cannot open {}", folder.display())))?;
        let passwords = primary.passwords.clone();
        let (profile, primary_port) = (primary.profile, Some(primary.port));
        let process = Running::default();
        let mut replica = Postgres { installation, folder, port, profile, passwords, primary_port, process };
        if !replica.can_follow(primary).await? {
            replica.take_base_backup(primary).await?;
        }
        replica.launch_on_some_port().await?;
        if !replica.streams_within(primary, Duration::from_secs(30)).await? {
            replica.refresh(primary).await?;
        }
        Ok(replica)
    }

    /// Whether the replica receives `primary`'s log at this moment.
    pub async fn streams_from(&self, primary: &Postgres) -> Result<bool, Error> {
        let sql = format!("select active from pg_replication_slots where slot_name = '{SLOT}'");
        Ok(primary.sql(&sql).await? == "t")
    }

    /// Throws the replica's data away and starts over from a base backup of `primary`. Its connections are cut.
    pub async fn refresh(&self, primary: &Postgres) -> Result<(), Error> {
        self.stop().await?;
        self.take_base_backup(primary).await?;
        self.launch().await?;
        if self.streams_within(primary, Duration::from_secs(30)).await? {
            return Ok(());
        }
        Err(Error::Behind { server: self.name(), seconds: 30, last: "it does not stream".to_owned(), log: self.log() })
    }

    /// Returns once the replica shows all that `primary` had committed when this was called.
    pub async fn catch_up(&self, primary: &Postgres, within: Duration) -> Result<(), Error> {
        // A commit is acknowledged once it is flushed, so this is the last of them or later.
        let target = primary.sql("select pg_current_wal_flush_lsn()").await?;
        let started = Instant::now();
        while self.sql(&format!("select pg_last_wal_replay_lsn() >= '{target}'")).await? != "t" {
            if started.elapsed() > within {
                let (seconds, last) = (within.as_secs(), format!("it has not replayed up to {target}"));
                return Err(Error::Behind { server: self.name(), seconds, last, log: self.log() });
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Makes the replica a primary of its own, with what it has received: a failover.
    pub async fn promote(&self) -> Result<(), Error> {
        self.sql("select pg_promote()").await.map(drop)
    }

    async fn streams_within(&self, primary: &Postgres, within: Duration) -> Result<bool, Error> {
        let started = Instant::now();
        while !self.streams_from(primary).await? {
            if started.elapsed() > within {
                return Ok(false);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(true)
    }

    /// Whether there is data, of this very primary, whose continuation the primary still has.
    async fn can_follow(&self, primary: &Postgres) -> Result<bool, Error> {
        if cluster::version_of_data(&self.folder) != cluster::version_of_data(&primary.folder) {
            return Ok(false);
        }
        let sql = format!(
            "select system_identifier from pg_control_system() \
             where exists (select from pg_replication_slots where slot_name = '{SLOT}' and wal_status <> 'lost')"
        );
        let followed = primary.sql(&sql).await?;
        let mut control = self.installation.tool("pg_controldata");
        control.arg("--pgdata").arg(self.data()).env("LC_ALL", "C");
        let control = process::run(control, "").await?;
        let own = control.lines().find_map(|line| line.strip_prefix("Database system identifier:")).map(str::trim);
        Ok(own == Some(followed.as_str()))
    }

    async fn take_base_backup(&self, primary: &Postgres) -> Result<(), Error> {
        let data = self.data();
        cluster::remove_folder(&data)?;
        let new = self.folder.join("data.new");
        cluster::remove_folder(&new)?;
        account::private_folder(&new, self.account())?;
        // A slot made anew keeps the log from this moment on.
        let sql = format!(
            "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = '{SLOT}' and not active; \
             select pg_create_physical_replication_slot('{SLOT}', true)"
        );
        primary.sql(&sql).await?;
        let mut backup = self.installation.tool("pg_basebackup");
        backup
            .args(["--host=127.0.0.1", "--username", cluster::REPLICATOR, "--no-password", "--checkpoint=fast"])
            .args(["--wal-method=stream", "--slot", SLOT])
            .arg(format!("--port={}", primary.port))
            .arg("--pgdata")
            .arg(&new)
            .env("PGPASSWORD", self.passwords.of(cluster::REPLICATOR));
        if self.profile == PostgresProfile::Test {
            backup.arg("--no-sync");
        }
        process::run(backup, "").await?;
        let finish = || {
            fs::write(new.join("standby.signal"), "")?; // Says: a standby, follow the primary.
            fs::rename(&new, &data)
        };
        finish().map_err(Error::io("cannot move the base backup to its place"))
    }
}

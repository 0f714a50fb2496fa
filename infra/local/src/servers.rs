//! The servers of one test or benchmark.

use crate::{Error, Folder, Identity, Nats, Postgres, PostgresProfile, Redis, privacy};
use std::path::{Path, PathBuf};

/// A server that a test asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    Postgres,
    /// A streaming replica; brings its primary along.
    Replica,
    Nats,
    Redis,
}

/// Servers on free ports with their data in a temporary folder. When dropped, also by a panic, they end and the folder goes.
#[derive(Debug)]
pub struct Servers {
    // Dropped in this order: the replica before its primary, the folder when nobody writes to it any more.
    replica: Option<Postgres>,
    postgres: Option<Postgres>,
    nats: Option<Nats>,
    redis: Option<Redis>,
    identity: Identity,
    master_key_file: PathBuf,
    folder: Folder,
}

impl Servers {
    /// Starts what is needed, all at once, tuned for tests.
    pub async fn start(needs: &[Need]) -> Result<Servers, Error> {
        Servers::start_as(needs, PostgresProfile::Test).await
    }

    /// As `start`; a benchmark wants [`PostgresProfile::Platform`].
    pub async fn start_as(needs: &[Need], profile: PostgresProfile) -> Result<Servers, Error> {
        let folder = match profile {
            PostgresProfile::Test => Folder::in_memory("servers")?,
            PostgresProfile::Platform => Folder::temporary("servers")?,
        };
        let path = folder.path();
        let identity = Identity::in_folder(&path.join("identity"))?;
        let master_key_file = privacy::master_key_file(&path.join("privacy"))?;
        let wanted = |need| needs.contains(&need);
        let postgres = async {
            if !wanted(Need::Postgres) && !wanted(Need::Replica) {
                return Ok((None, None));
            }
            let primary = Postgres::start(&path.join("postgres"), 0, profile).await?;
            let replica = match wanted(Need::Replica) {
                true => Some(Postgres::start_replica(&primary, &path.join("replica"), 0).await?),
                false => None,
            };
            Ok((Some(primary), replica))
        };
        let nats = async {
            match wanted(Need::Nats) {
                true => Nats::start(&path.join("nats"), 0, 0).await.map(Some),
                false => Ok(None),
            }
        };
        let redis = async {
            match wanted(Need::Redis) {
                true => Redis::start(&path.join("redis"), 0).await.map(Some),
                false => Ok(None),
            }
        };
        // Waits for all, so that on a failure the others end before the folder goes.
        let (postgres, nats, redis) = tokio::join!(postgres, nats, redis);
        let ((postgres, replica), nats, redis) = (postgres?, nats?, redis?);
        Ok(Servers { replica, postgres, nats, redis, identity, master_key_file, folder })
    }

    /// The primary. Panics when it was not asked for, as do its three siblings.
    pub fn postgres(&self) -> &Postgres {
        self.postgres.as_ref().expect("the test asked for Need::Postgres")
    }

    pub fn replica(&self) -> &Postgres {
        self.replica.as_ref().expect("the test asked for Need::Replica")
    }

    pub fn nats(&self) -> &Nats {
        self.nats.as_ref().expect("the test asked for Need::Nats")
    }

    pub fn redis(&self) -> &Redis {
        self.redis.as_ref().expect("the test asked for Need::Redis")
    }

    /// Who may call the tiers that the test starts.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The master key of personal data.
    pub fn master_key_file(&self) -> &Path {
        &self.master_key_file
    }

    /// Where the test may put files of its own, such as tiers' logs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

//! What every story needs: a Postgres of its own with the table of keys, a master key, and processes that use them.

use kontor_domain::SubjectId;
use kontor_domain::personal::Personal;
use kontor_local::{Need, Role, Servers};
use kontor_privacy::{Keyring, MasterKey, PrivacySettings, migrate};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, PgConnection, PgPool};
use std::path::Path;

pub struct Fixture {
    pub servers: Servers,
}

impl Fixture {
    pub async fn start() -> Self {
        let servers = Servers::start(&[Need::Postgres]).await.expect("Postgres starts");
        let fixture = Self { servers };
        migrate(fixture.options(Role::Migrator)).await.expect("the migrations run");
        fixture
    }

    pub fn options(&self, role: Role) -> PgConnectOptions {
        self.servers.postgres().url(role).parse().expect("a URL of Postgres")
    }

    pub async fn connect(&self, role: Role) -> PgConnection {
        self.options(role).connect().await.expect("it takes connections")
    }

    pub async fn pool(&self, role: Role) -> PgPool {
        PgPoolOptions::new().max_connections(4).connect_with(self.options(role)).await.expect("it takes connections")
    }

    pub fn master_key_file(&self) -> &Path {
        self.servers.master_key_file()
    }

    /// The keys as one more process has them.
    pub async fn keyring(&self) -> Keyring {
        self.keyring_as(Role::Command, PrivacySettings::default()).await
    }

    pub async fn keyring_as(&self, role: Role, settings: PrivacySettings) -> Keyring {
        let master = MasterKey::read(self.master_key_file()).expect("the master key");
        Keyring::new(self.pool(role).await, master, &settings)
    }

    /// One line of what the superuser sees.
    pub async fn sql(&self, statement: &str) -> String {
        self.servers.postgres().sql(statement).await.expect("it can be asked")
    }
}

pub fn remembering(keys_cached_s: u64) -> PrivacySettings {
    PrivacySettings { keys_cached_s, ..PrivacySettings::default() }
}

pub fn subject(id: &str) -> SubjectId {
    id.parse().expect("a subject's id")
}

pub fn open(text: &str) -> Option<String> {
    Some(text.to_owned())
}

pub fn passed_off(personal: &Personal, as_of: &str) -> Personal {
    Personal { subject: subject(as_of), ..personal.clone() }
}

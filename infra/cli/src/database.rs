//! The database that a subcommand works on: a local platform's, or one that is named.

use anyhow::{Context, anyhow};
use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use kontor_local::{Postgres, Role, usual_data_folder};
use kontor_redis::{Redis, RedisSettings};
use kontor_search::{Engine, SearchSettings};
use kontor_settings::{Check, Secret};
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Args)]
pub struct Database {
    /// The data folder of the platform, which must be running [default: that of infra/up]
    #[arg(long = "data", value_name = "DIR")]
    folder: Option<PathBuf>,
    /// The database, as a role that may do it, instead of a local platform's
    #[arg(long, value_name = "URL", env = "KONTOR_DATABASE_URL", hide_env_values = true, conflicts_with = "folder")]
    database_url: Option<String>,
    /// Redis, for the read models that are there, if the platform is not a local one
    #[arg(long, value_name = "URL", env = "KONTOR_REDIS__URL", hide_env_values = true)]
    redis_url: Option<String>,
    #[command(flatten)]
    search: Search,
}

/// Where products are searched, if the platform is not a local one with an index in its data folder.
#[derive(Args)]
pub struct Search {
    /// Typesense, if products are searched there
    #[arg(long, value_name = "URL", env = "KONTOR_SEARCH_URL", hide_env_values = true)]
    search_url: Option<String>,
    /// What that Typesense knows us by
    #[arg(long, value_name = "KEY", env = "KONTOR_SEARCH__API_KEY", hide_env_values = true)]
    search_api_key: Option<String>,
    /// The folder that products are searched in
    #[arg(long, value_name = "DIR", env = "KONTOR_SEARCH__FOLDER")]
    search_folder: Option<PathBuf>,
}

impl Search {
    /// `usual`: the folder of a local platform. `None`: nobody has said where.
    pub fn open(&self, usual: Option<PathBuf>) -> anyhow::Result<Option<Arc<dyn Engine>>> {
        // No error repeats it, as below.
        let url = self.search_url.as_ref().map(|url| url.parse());
        let settings = SearchSettings {
            url: url.transpose().map_err(|_| anyhow!("--search-url is no URL of Typesense"))?,
            api_key: self.search_api_key.clone().map(Secret::new).unwrap_or_default(),
            folder: self.search_folder.clone().or(usual),
            ..SearchSettings::default()
        };
        settings.check().map_err(|rule| anyhow!("--search-url and --search-api-key: {rule}"))?;
        Ok(settings.engine()?)
    }
}

impl Database {
    /// Where Redis is; `None`: nobody has said.
    pub fn redis(&self) -> anyhow::Result<Option<Redis>> {
        let url = match (&self.redis_url, &self.database_url) {
            (Some(url), _) => Some(url.clone()),
            (None, Some(_)) => None,
            (None, None) => {
                let folder = self.folder.clone().map_or_else(usual_data_folder, Ok)?;
                kontor_local::Redis::url_of_last(&folder.join("redis"))
            }
        };
        let Some(url) = url else { return Ok(None) };
        // No error repeats it, as below.
        let url = url.parse().map_err(|_| anyhow!("--redis-url is no URL of Redis"))?;
        let settings = RedisSettings { url: Some(url), ..RedisSettings::default() };
        Redis::of(&settings).map_err(|_| anyhow!("--redis-url is no URL of Redis"))
    }

    /// Where products are searched; `None`: nobody has said.
    pub fn search(&self) -> anyhow::Result<Option<Arc<dyn Engine>>> {
        let usual = match self.database_url {
            Some(_) => None,
            None => Some(self.folder.clone().map_or_else(usual_data_folder, Ok)?.join("search")),
        };
        self.search.open(usual)
    }

    /// How to connect; to a local platform as `role`.
    pub fn options(self, role: Role) -> anyhow::Result<PgConnectOptions> {
        let url = match self.database_url {
            Some(url) => url,
            None => {
                let folder = self.folder.map_or_else(usual_data_folder, Ok)?;
                Postgres::url_of_running(&folder.join("postgres"), role).context(
                    "there is no platform that runs: start it with infra/up, or say where its data is with --data, \
                     or which database with --database-url",
                )?
            }
        };
        // The error would repeat the URL, and with it the password.
        let options: PgConnectOptions = url.parse().map_err(|_| anyhow!("--database-url is no Postgres URL"))?;
        Ok(options.application_name("kontor").disable_statement_logging())
    }
}

/// RFC 3339 with microseconds.
pub fn written(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

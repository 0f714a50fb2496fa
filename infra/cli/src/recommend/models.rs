//! `kontor recommend train` and `models`: what queries answer from.

use crate::database::{Database, written};
use anyhow::{Context, anyhow};
use clap::Args;
use kontor_local::Role;
use kontor_projection_services::models::{self, ModelVersion};
use kontor_settings::Secret;
use kontor_vectors::VectorsSettings;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use std::time::Duration;

pub const TRAIN_EXAMPLES: &str = "Examples:
  kontor recommend train
  KONTOR_VECTORS_URL=http://127.0.0.1:6334 kontor recommend train --json

Learns from what the read model `recommendations` has now, and lets queries answer from it; the model before stays beside it. The
projector does the same by itself, each recommendations.train_every_s seconds if there is news. Where projectors keep vectors in
Qdrant, say so here, too. With --json it prints the model as `models` does. Exit code 0 when it is learnt, 1 when it is not.";

pub const MODELS_EXAMPLES: &str = "Examples:
  kontor recommend models
  kontor recommend models --json | jq '.[0].trained_at'

The first is the one that queries answer from. With --json it prints a list of {\"version\", \"position\", \"erased\", \"trained_at\",
\"created_at\", \"seconds\", \"documents\", \"products\", \"points\"}. Exit code 0.";

/// How long Qdrant may take for a portion of vectors.
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Args)]
pub struct TrainOptions {
    #[command(flatten)]
    database: Database,
    /// Qdrant's gRPC address, if projectors keep vectors there
    #[arg(long, value_name = "URL", env = "KONTOR_VECTORS_URL", hide_env_values = true)]
    vectors_url: Option<String>,
    /// Sent to Qdrant with each request
    #[arg(long, value_name = "KEY", env = "KONTOR_VECTORS__API_KEY", hide_env_values = true)]
    vectors_api_key: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct ModelsOptions {
    #[command(flatten)]
    database: Database,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn train(options: TrainOptions) -> anyhow::Result<String> {
    runtime()?.block_on(train_now(options))
}

pub fn models(options: ModelsOptions) -> anyhow::Result<String> {
    runtime()?.block_on(list(options))
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

async fn train_now(options: TrainOptions) -> anyhow::Result<String> {
    let TrainOptions { database, vectors_url, vectors_api_key, json } = options;
    let url = vectors_url.filter(|url| !url.is_empty()).map(|url| url.parse()).transpose();
    let url = url.map_err(|_| anyhow!("--vectors-url is no URL of Qdrant"))?; // The error would repeat it.
    let api_key = vectors_api_key.map(Secret::new);
    let control = connect(database).await?;
    let settings = VectorsSettings { url, api_key, ..VectorsSettings::default() };
    let vectors = kontor_vectors::connect(&settings, &control, TIMEOUT)?;
    let model = models::train(&control, &*vectors).await?;
    if json {
        return Ok(serde_json::to_string(&model)?);
    }
    let ModelVersion { version, documents, products, seconds, .. } = model;
    Ok(format!("Model {version} is learnt from {documents} documents of {products} products in {seconds:.1} s"))
}

async fn list(ModelsOptions { database, json }: ModelsOptions) -> anyhow::Result<String> {
    let all = models::list(&connect(database).await?).await?;
    if json {
        return Ok(serde_json::to_string(&all)?);
    }
    let row = |cells: [&str; 7]| {
        let [version, since, learnt, position, documents, products, seconds] = cells;
        format!("{version:>7}  {since:<27}  {learnt:<27}  {position:>12}  {documents:>10}  {products:>9}  {seconds:>8}")
    };
    let mut rows = vec![row(["VERSION", "SINCE", "LEARNT UP TO", "POSITION", "DOCUMENTS", "PRODUCTS", "SECONDS"])];
    rows.extend(all.iter().map(|model| {
        row([
            &model.version.to_string(),
            &written(model.created_at),
            &written(model.trained_at),
            &model.position.to_string(),
            &model.documents.to_string(),
            &model.products.to_string(),
            &format!("{:.1}", model.seconds),
        ])
    }));
    Ok(rows.join("\n"))
}

async fn connect(database: Database) -> anyhow::Result<PgPool> {
    let options = database.options(Role::Projector)?;
    PgPoolOptions::new().max_connections(3).connect_with(options).await.context("the database cannot be reached")
}

//! Learns a new model when there is news: one of several processes at a time, beside the projections and not on their threads.

use super::learn::{Learnt, Lesson};
use super::metrics::ModelMetrics;
use super::{COLLECTION, COLUMNS, KEPT, ModelVersion, PROJECTION, collection, content, newest};
use crate::settings::RecommendationsSettings;
use chrono::{DateTime, Utc};
use kontor_recommend::Model;
use kontor_vectors::{Point, Vectors, VectorsError};
use sqlx::{FromRow, PgConnection, PgPool};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// "rec" in ASCII: any number that nobody else locks.
const LOCK: i64 = 0x72_65_63;
/// How far learning gives way.
const NICE: i32 = 10;
/// Points of one request or statement.
const PORTION: usize = 5_000;

/// Keeps the newest model as new as is wanted.
pub struct Trainer {
    pub control: PgPool,
    pub vectors: Arc<dyn Vectors>,
    pub settings: RecommendationsSettings,
    pub metrics: ModelMetrics,
}

/// Why there is no new model.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    #[error(transparent)]
    Postgres(#[from] sqlx::Error),
    #[error("the vector store: {0}")]
    Vectors(#[from] VectorsError),
    #[error("the read model {PROJECTION} has seen nothing yet: there is nothing to learn from")]
    Nothing,
    #[error("another process is learning")]
    Busy,
    #[error("the training was given up: {0}")]
    Panicked(#[from] tokio::task::JoinError),
}

/// What there is, and what there is to learn from.
#[derive(Debug, FromRow)]
struct Standing {
    now: DateTime<Utc>,
    /// Of the read model.
    position: i64,
    /// Where the log ends.
    head: i64,
    /// Whether the read model of products, which says what can be had, is as far. It need not be kept here.
    products_are_there: bool,
    erased: i64,
}

impl Trainer {
    /// Looks after the models until `ending`. A training that has begun is finished.
    pub async fn run(self, ending: CancellationToken) {
        let (begun, pause) = (Instant::now(), Duration::from_millis(self.settings.look_interval_ms));
        let mut is_checked = false;
        loop {
            if let Err(error) = self.look(begun, &mut is_checked).await {
                warn!("Recommendations are as they were: {error}");
                self.metrics.errors.inc();
            }
            if ending.run_until_cancelled(sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    /// Learns if it is time to, and sees to it that the vector store has what the newest model needs. `is_checked`: that model
    /// can be read by this release.
    async fn look(&self, begun: Instant, is_checked: &mut bool) -> Result<(), TrainError> {
        let (standing, model) = (standing(&self.control).await?, newest(&self.control).await?);
        if let Some(model) = &model {
            self.show(model, standing.now);
            *is_checked = *is_checked || is_readable(&self.control, model.version).await?;
        }
        let is_unreadable = model.is_some() && !*is_checked;
        if is_unreadable || self.is_due(&standing, model.as_ref(), begun) {
            match self.train_if_newest(model.as_ref()).await {
                Ok(()) | Err(TrainError::Busy | TrainError::Nothing) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        match model {
            Some(model) => self.refill(&model).await,
            None => Ok(()),
        }
    }

    fn is_due(&self, standing: &Standing, model: Option<&ModelVersion>, begun: Instant) -> bool {
        let every = Duration::from_secs(self.settings.train_every_s);
        if every.is_zero() {
            return false;
        }
        let Some(model) = model else {
            // Before it has caught up it would be learnt from half of what there is.
            let is_whole = standing.position >= standing.head && standing.products_are_there;
            return standing.position > 0 && (is_whole || begun.elapsed() >= every);
        };
        let age = (standing.now - model.created_at).to_std().unwrap_or_default();
        let is_news = standing.position != model.position;
        // Who is erased is to be gone soon.
        standing.erased > model.erased || is_news && age >= every && (standing.products_are_there || age >= 2 * every)
    }

    /// Learns, unless another process has done so since `model` was the newest.
    async fn train_if_newest(&self, model: Option<&ModelVersion>) -> Result<(), TrainError> {
        let mut turn = Turn::take(&self.control).await?;
        if newest(&mut turn.0).await?.map(|newest| newest.version) != model.map(|model| model.version) {
            return Ok(());
        }
        let learnt = train_in(&mut turn, &*self.vectors).await?;
        self.metrics.trainings.inc();
        self.show(&learnt, learnt.created_at);
        Ok(())
    }

    fn show(&self, model: &ModelVersion, now: DateTime<Utc>) {
        self.metrics.version.set(model.version);
        self.metrics.age_seconds.set((now - model.created_at).to_std().unwrap_or_default().as_secs_f64());
        self.metrics.training_seconds.set(model.seconds);
        self.metrics.documents.set(model.documents);
        self.metrics.products.set(model.products);
    }

    /// Fills a vector store that lacks vectors of the newest model: one that was away, was emptied, or is another now.
    async fn refill(&self, model: &ModelVersion) -> Result<(), TrainError> {
        let collection = model.collection();
        let is_there = match self.vectors.count(&collection).await {
            Ok(points) => points == model.points.unsigned_abs(),
            Err(VectorsError::UnknownCollection(_)) => false,
            Err(error) => return Err(error.into()),
        };
        if is_there && self.vectors.shown(COLLECTION).await?.as_ref() == Some(&collection) {
            return Ok(());
        }
        let Ok(mut turn) = Turn::take(&self.control).await else { return Ok(()) }; // Another does.
        if is_there {
            return Ok(self.vectors.show(COLLECTION, &collection).await?);
        }
        let (content, lesson) = (content(&mut turn.0, model.version).await?, Lesson::read(&mut turn.0).await?);
        let (Some(content), Some(lesson)) = (content, lesson) else { return Ok(()) };
        let Ok(known) = Model::from_bytes(&content.model) else { return Ok(()) }; // It is learnt anew.
        warn!(%collection, "The vector store lacks {collection}: it is filled again");
        fill(&*self.vectors, &collection, known.dimensions(), &lesson.points(&known)).await?;
        self.metrics.refills.inc();
        Ok(())
    }
}

/// Learns now, whatever the schedule says.
///
/// # Errors
/// [`TrainError::Busy`] while another process does.
pub async fn train(control: &PgPool, vectors: &dyn Vectors) -> Result<ModelVersion, TrainError> {
    train_in(&mut Turn::take(control).await?, vectors).await
}

/// Whose turn it is to learn, for as long as its connection holds.
struct Turn(PgConnection);

impl Turn {
    async fn take(control: &PgPool) -> Result<Turn, TrainError> {
        let mut connection = control.acquire().await?.detach();
        let is_ours: bool =
            sqlx::query_scalar("select pg_try_advisory_lock($1)").bind(LOCK).fetch_one(&mut connection).await?;
        if is_ours { Ok(Turn(connection)) } else { Err(TrainError::Busy) }
    }
}

async fn train_in(turn: &mut Turn, vectors: &dyn Vectors) -> Result<ModelVersion, TrainError> {
    let version: i64 =
        sqlx::query_scalar("select nextval('projections.recommendation_versions')").fetch_one(&mut turn.0).await?;
    let lesson = Lesson::read(&mut turn.0).await?.ok_or(TrainError::Nothing)?;
    let (position, erased, documents) = (lesson.position, lesson.erased, lesson.documents as i64);
    let (learnt, bytes) = tokio::task::spawn_blocking(move || {
        giving_way(move || {
            let learnt = lesson.learn(version);
            let bytes = learnt.model.to_bytes();
            (learnt, bytes)
        })
    })
    .await?;
    let Learnt { model, points, public, took } = learnt;
    let collection = collection(version);
    // Its vectors first: who sees a version finds them. Without a vector store there is something to recommend, too.
    if let Err(error) = fill(vectors, &collection, model.dimensions(), &points).await {
        warn!(%collection, "The vector store does not take {collection}, and is filled when it does: {error}");
    }
    let statement = format!(
        "insert into projections.recommendation_models
             (version, position, erased, trained_at, seconds, documents, products, points, public, model)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         returning {COLUMNS}"
    );
    let learnt: ModelVersion = sqlx::query_as(&statement)
        .bind(version)
        .bind(position)
        .bind(erased)
        .bind(model.trained_at())
        .bind(took.as_secs_f64())
        .bind(documents)
        .bind(model.vectors().count() as i64)
        .bind(points.len() as i64)
        .bind(public)
        .bind(bytes)
        .fetch_one(&mut turn.0)
        .await?;
    info!(version, position, documents, ?took, "Model {version} is learnt from {documents} documents in {took:.1?}");
    prune(&mut turn.0, vectors).await?;
    Ok(learnt)
}

/// A collection of these points, shown as soon as it is whole.
async fn fill(
    vectors: &dyn Vectors,
    collection: &str,
    dimensions: usize,
    points: &[Point],
) -> Result<(), VectorsError> {
    vectors.create(collection, dimensions).await?;
    for portion in points.chunks(PORTION) {
        vectors.upsert(collection, portion).await?;
    }
    vectors.show(COLLECTION, collection).await
}

/// Only the newest versions stay, and collections of no others.
async fn prune(database: &mut PgConnection, vectors: &dyn Vectors) -> Result<(), TrainError> {
    let kept: Vec<i64> = sqlx::query_scalar(
        "with kept as (select version from projections.recommendation_models order by version desc limit $1),
              gone as (delete from projections.recommendation_models where version not in (select version from kept))
         select version from kept",
    )
    .bind(KEPT as i64)
    .fetch_all(&mut *database)
    .await?;
    let kept: Vec<_> = kept.into_iter().map(collection).collect();
    let is_ours = |name: &String| {
        let version = name.strip_prefix(COLLECTION).and_then(|rest| rest.strip_prefix('_'));
        version.is_some_and(|version| version.parse::<i64>().is_ok())
    };
    let Ok(all) = vectors.collections().await else { return Ok(()) }; // The next training looks again.
    for other in all.iter().filter(|name| is_ours(name) && !kept.contains(name)) {
        vectors.remove(other).await?;
    }
    Ok(())
}

async fn standing(control: &PgPool) -> sqlx::Result<Standing> {
    sqlx::query_as(
        "select now() as now,
             coalesce((select position from projections.checkpoints where projection = $1), 0) as position,
             (select coalesce(max(position), 0) from public.log_batches) as head,
             not exists (
                 select from projections.checkpoints p join projections.checkpoints r on r.projection = $1
                 where p.projection = 'catalogue' and p.position < r.position
             ) as products_are_there,
             (select count(*) from privacy.subject_keys where erased_at is not null) as erased",
    )
    .bind(PROJECTION)
    .fetch_one(control)
    .await
}

async fn is_readable(control: &PgPool, version: i64) -> sqlx::Result<bool> {
    let content = content(control, version).await?;
    Ok(content.is_none_or(|content| Model::from_bytes(&content.model).is_ok()))
}

/// On a thread that gives way to everything else on the machine.
fn giving_way<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let work = || {
        let _ = rustix::process::nice(NICE);
        work()
    };
    thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|panic| resume_unwind(panic))
}

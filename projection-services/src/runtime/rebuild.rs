//! Rebuilds: a generation is filled from the log beside the one that queries see, and then shown or kept under a name.

use super::applier::{Applier, Interruption, Kept, Means};
use super::fill::{Tell, catch_up, fill};
use super::generation::{self, Generation, NewGeneration, State};
use super::lease::{Lease, Manner};
use super::operations::{OperationError, remove};
use super::switch::{create, switch};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use uuid::Uuid;

/// How long an operator who is gone keeps others from a generation.
pub const LASTS: Duration = Duration::from_secs(10);

/// A build that is to stay as the log was once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsOf {
    pub position: i64,
    /// What queries ask for it by.
    pub name: String,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Queries see it.
    Shown(Generation),
    /// Queries can ask for it.
    Named(Generation),
    /// It goes on from here when it is begun again.
    Interrupted(Generation),
}

/// Builds a projection anew, and shows it or, with `as_of`, keeps it under its name. A build that was interrupted is gone on
/// with. Queries see the old one until the new one has all that it has.
pub async fn rebuild(
    means: &Means,
    kept: &Kept,
    as_of: Option<&AsOf>,
    ending: &CancellationToken,
    tell: Tell<'_>,
) -> Result<Outcome, OperationError> {
    let generation = begun(means, kept, as_of).await?;
    let outcome = held::<fn(Generation) -> Outcome>(means, &generation, async |lease, generation| {
        let epoch = means.log.epoch().await?;
        let mut applier = Applier::open(means, kept, (lease, generation), epoch).await?;
        match as_of {
            None => shown(means, kept, lease, &mut applier, ending, tell).await,
            Some(as_of) => {
                fill(means, kept, &mut applier, as_of.position, ending, tell).await?;
                kept.store.settle(generation).await.map_err(Interruption::from)?;
                let is_named = !ending.is_cancelled() && name(means, lease).await?;
                Ok(if is_named { Outcome::Named } else { Outcome::Interrupted })
            }
        }
    });
    Ok(outcome.await?(now(means, &generation).await?))
}

/// Shows again the generation that queries saw before, after it was brought up to date.
pub async fn rollback(
    means: &Means,
    kept: &Kept,
    ending: &CancellationToken,
    tell: Tell<'_>,
) -> Result<Outcome, OperationError> {
    let (projection, version) = (kept.projection.name(), kept.projection.version());
    let there = generation::of(&means.control, projection).await?;
    let is_ours = |generation: &Generation| generation.state == State::Retired && generation.version == version;
    let before = there.into_iter().filter(is_ours).max_by_key(|generation| generation.switched_at);
    let before = before.ok_or(OperationError::NothingBefore { projection, version })?;
    let outcome = held(means, &before, async |lease, generation| {
        let epoch = means.log.epoch().await?;
        let mut applier = Applier::open(means, kept, (lease, generation), epoch).await?;
        shown(means, kept, lease, &mut applier, ending, tell).await
    });
    Ok(outcome.await?(now(means, &before).await?))
}

/// Holds the lease of a generation for as long as `work` takes.
pub(super) async fn held<T>(
    means: &Means,
    generation: &Generation,
    work: impl AsyncFnOnce(&Lease, &Generation) -> Result<T, OperationError>,
) -> Result<T, OperationError> {
    let key = (generation.projection.as_str(), generation.generation);
    let taken = Lease::take(&means.control, key, Uuid::now_v7(), LASTS, Manner::Operator).await?;
    let Some((lease, generation)) = taken else {
        return Err(OperationError::Busy { generation: generation.to_string() });
    };
    let done = work(&lease, &generation).await;
    if let Err(error) = lease.release(&means.control).await {
        warn!("The lease of generation {generation} runs out by itself: {error}");
    }
    done
}

/// The build that was begun, or a new one.
async fn begun(means: &Means, kept: &Kept, as_of: Option<&AsOf>) -> Result<Generation, OperationError> {
    let (projection, version) = (kept.projection.name(), kept.projection.version());
    let (name, until_position) = as_of.map(|as_of| (as_of.name.as_str(), as_of.position)).unzip();
    if let Some(as_of) = as_of {
        let head = means.log.head().await?;
        if as_of.position < 1 || as_of.position > head {
            return Err(OperationError::NotInLog { position: as_of.position, head });
        }
    }
    let there = generation::of(&means.control, projection).await?;
    let live = there.iter().find(|generation| generation.state == State::Live);
    if let Some(newer) = live.filter(|live| live.version > version) {
        return Err(OperationError::OtherVersion { projection, found: newer.version, version });
    }
    let is_begun = |generation: &&Generation| {
        let asked = (generation.name.as_deref(), generation.until_position) == (name, until_position);
        generation.state == State::Filling && !generation.automatic && generation.version == version && asked
    };
    if let Some(generation) = there.iter().find(is_begun) {
        return Ok(generation.clone());
    }
    if let Some(taken) = name.filter(|name| there.iter().any(|generation| generation.name.as_deref() == Some(name))) {
        return Err(OperationError::NameTaken { projection, name: taken.to_owned() });
    }
    let new = NewGeneration { state: State::Filling, automatic: false, name, until_position };
    let made = create(&means.control, kept, new, |_| true).await?;
    Ok(made.expect("it is wanted whatever there is"))
}

async fn shown(
    means: &Means,
    kept: &Kept,
    lease: &Lease,
    applier: &mut Applier,
    ending: &CancellationToken,
    tell: Tell<'_>,
) -> Result<fn(Generation) -> Outcome, OperationError> {
    catch_up(means, kept, applier, ending, tell).await?;
    if ending.is_cancelled() {
        return Ok(Outcome::Interrupted);
    }
    switch(means, kept, applier, lease).await?;
    forget_earlier(means, kept).await;
    Ok(Outcome::Shown)
}

/// Of those that queries saw before, one is kept.
pub(super) async fn forget_earlier(means: &Means, kept: &Kept) {
    let Ok(mut there) = generation::of(&means.control, kept.projection.name()).await else { return };
    there.retain(|generation| generation.state == State::Retired);
    there.sort_by_key(|generation| generation.switched_at);
    there.pop();
    for generation in there {
        if let Err(error) = remove(means, kept, &generation).await {
            warn!("Generation {generation} is kept until the next switch: {error}");
        }
    }
}

/// It is complete. `false`: the lease was another's.
async fn name(means: &Means, lease: &Lease) -> Result<bool, OperationError> {
    let named = sqlx::query(
        "update projections.generations set state = 'named', switched_at = now(), worker = null, lease_until = null
         where projection = $1 and generation = $2 and fence = $3",
    )
    .bind(&lease.projection)
    .bind(lease.generation)
    .bind(lease.fence)
    .execute(&means.control)
    .await?;
    Ok(named.rows_affected() == 1)
}

async fn now(means: &Means, generation: &Generation) -> Result<Generation, OperationError> {
    let found = generation::find(&means.control, &generation.projection, generation.generation).await?;
    found.ok_or_else(|| OperationError::Gone { generation: generation.to_string() })
}

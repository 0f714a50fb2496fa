//! The switch: queries see another generation from one commit on.

use super::applier::{Applier, Interruption, Kept, Means};
use super::generation::{self, Generation, NewGeneration, State};
use super::lease::{Lease, Manner};
use super::store::StoreError;
use sqlx::PgPool;
use tracing::{info, warn};

/// Makes a generation: books it, and makes room for it in the store. The first one of a projection is live at once.
///
/// `None`: `wanted`, asked when nobody else can make one, finds that there is no need.
pub async fn create(
    control: &PgPool,
    kept: &Kept,
    new: NewGeneration<'_>,
    wanted: impl Fn(&[Generation]) -> bool,
) -> Result<Option<Generation>, StoreError> {
    let mut transaction = control.begin().await?;
    generation::alone(&mut transaction).await?;
    let (name, version) = (kept.projection.name(), kept.projection.version());
    if !wanted(&generation::of(&mut *transaction, name).await?) {
        return Ok(None);
    }
    let made = generation::book(&mut transaction, (name, version, kept.store.kind()), &new).await?;
    kept.store.create(&mut transaction, &made).await?;
    if made.state == State::Live {
        kept.store.show(&mut transaction, &made, None).await?;
    }
    generation::tell(&mut *transaction).await?;
    transaction.commit().await?;
    info!(generation = %made, "Generation {made} is made, {}", made.state.name());
    Ok(Some(made))
}

/// Makes a generation that projectors of this release are to keep, if there is none: the first one of the projection, or one
/// that is filled beside that of an earlier release. Returns all that there are.
pub async fn ensure(control: &PgPool, kept: &Kept) -> Result<Vec<Generation>, StoreError> {
    let version = kept.projection.version();
    let there = generation::of(control, kept.projection.name()).await?;
    let Some(state) = missing(&there, version) else { return Ok(there) };
    let new = NewGeneration { state, automatic: true, name: None, until_position: None };
    create(control, kept, new, |there| missing(there, version) == Some(state)).await?;
    Ok(generation::of(control, kept.projection.name()).await?)
}

/// What projectors of this version are to make; `None`: they have what they keep, or a newer release has.
fn missing(there: &[Generation], version: i32) -> Option<State> {
    let live = there.iter().find(|generation| generation.state == State::Live);
    let Some(live) = live else { return Some(State::Live) };
    let is_filled = |generation: &Generation| {
        generation.state == State::Filling && generation.automatic && generation.version >= version
    };
    (live.version < version && !there.iter().any(is_filled)).then_some(State::Filling)
}

/// Shows queries the generation that `applier` has filled, under `lease`, in place of the live one, which is kept for a
/// rollback. Nobody sees less than before: the live one is fenced off first, then the new one is brought to where that is.
pub async fn switch(means: &Means, kept: &Kept, applier: &mut Applier, lease: &Lease) -> Result<(), Interruption> {
    let control = &means.control;
    let there = generation::of(control, &lease.projection).await?;
    if let Some(filled) = there.iter().find(|generation| generation.generation == lease.generation) {
        kept.store.settle(filled).await?;
    }
    let live = there.into_iter().find(|generation| generation.state == State::Live);
    let Some(live) = live else {
        return Ok(show(control, kept, lease, None).await?);
    };
    let at = (live.projection.as_str(), live.generation);
    let seized = Lease::take(control, at, lease.worker, lease.lasts, Manner::Seize).await?;
    let Some((live_lease, live)) = seized else { return Err(StoreError::Fenced.into()) };
    let switched = async {
        let reached = kept.store.open(&live, &live_lease).await?.progress().furthest();
        applier.read_to(&means.log, reached).await?;
        show(control, kept, lease, Some((&live, &live_lease))).await.map_err(Interruption::from)
    };
    let switched = switched.await;
    // After the switch it is nobody's; before it, its worker goes on.
    if let Err(error) = live_lease.release(control).await {
        warn!("Generation {live} is followed again in {:?}: its lease was not given back: {error}", lease.lasts);
    }
    switched
}

async fn show(
    control: &PgPool,
    kept: &Kept,
    lease: &Lease,
    live: Option<(&Generation, &Lease)>,
) -> Result<(), StoreError> {
    let mut transaction = control.begin().await?;
    generation::alone(&mut transaction).await?;
    // What waits for a reader of the views makes all later readers wait: rather try again.
    sqlx::query("set local lock_timeout = '2s'").execute(&mut *transaction).await?;
    if let Some((live, live_lease)) = live {
        let retired = sqlx::query(
            "update projections.generations set state = 'retired', switched_at = now()
             where projection = $1 and generation = $2 and fence = $3 and state = 'live'",
        )
        .bind(&live.projection)
        .bind(live.generation)
        .bind(live_lease.fence)
        .execute(&mut *transaction)
        .await?;
        if retired.rows_affected() != 1 {
            return Err(StoreError::Fenced);
        }
    }
    let shown: Option<Generation> = sqlx::query_as(
        "update projections.generations
         set state = 'live', switched_at = now(), paused = $4, worker = null, lease_until = null
         where projection = $1 and generation = $2 and fence = $3 and state in ('filling', 'retired')
         returning *",
    )
    .bind(&lease.projection)
    .bind(lease.generation)
    .bind(lease.fence)
    .bind(live.is_some_and(|(live, _)| live.paused))
    .fetch_optional(&mut *transaction)
    .await?;
    let Some(shown) = shown else { return Err(StoreError::Fenced) };
    kept.store.show(&mut transaction, &shown, live.map(|(live, _)| live)).await?;
    generation::tell(&mut *transaction).await?;
    transaction.commit().await?;
    info!(generation = %shown, "Queries see generation {shown}");
    Ok(())
}

//! Verifying: the log is folded afresh, up to where the live generation is, and every row compared by its digest.

use super::applier::{Applier, Kept, Limit, Means};
use super::fill::{Tell, fill};
use super::generation::{self, NewGeneration, State};
use super::operations::{OperationError, remove};
use super::rebuild::held;
use super::store::{Row, Rows};
use super::switch::create;
use serde::Serialize;
use std::cmp::Ordering;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// What was compared, and what differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    pub projection: &'static str,
    pub generation: i32,
    /// Of the log, to which both were folded.
    pub position: i64,
    /// Rows of the fresh fold.
    pub rows: usize,
    pub differences: Vec<Difference>,
}

/// A row that is not what the log says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub table: String,
    /// Its primary key.
    pub key: String,
    pub kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The log makes it, and it is not there.
    Missing,
    /// It is there, and the log does not make it.
    Superfluous,
    /// It has something else in it.
    Differs,
}

/// Compares every row that queries see of a projection with a fresh fold of the log. `None`: it was ended before that.
pub async fn verify(
    means: &Means,
    kept: &Kept,
    ending: &CancellationToken,
    tell: Tell<'_>,
) -> Result<Option<Verification>, OperationError> {
    let (projection, version) = (kept.projection.name(), kept.projection.version());
    let there = generation::of(&means.control, projection).await?;
    for left_over in there.iter().filter(|generation| generation.state == State::Verifying) {
        // Somebody else may be at it; or whoever was is gone.
        if let Err(error) = remove(means, kept, left_over).await {
            warn!("Generation {left_over} stays for the moment: {error}");
        }
    }
    let live = there.into_iter().find(|generation| generation.state == State::Live);
    let live = live.ok_or(OperationError::NothingLive { projection })?;
    if live.version != version {
        return Err(OperationError::OtherVersion { projection, found: live.version, version });
    }
    let Rows { progress, passed_over, rows } = kept.store.rows(&live).await?;
    let position = progress.furthest();
    let new = NewGeneration { state: State::Verifying, automatic: false, name: None, until_position: Some(position) };
    let fresh = create(&means.control, kept, new, |_| true).await?.expect("it is wanted whatever there is");
    let compared = held(means, &fresh, async |lease, fresh| {
        let epoch = means.log.epoch().await?;
        let applier = Applier::open(means, kept, (lease, fresh), epoch).await?;
        let mut applier = applier.limited(Limit { progress, passed_over });
        fill(means, kept, &mut applier, position, ending, tell).await?;
        if applier.position() < position {
            return Ok(None);
        }
        let of_log = kept.store.rows(fresh).await?.rows;
        let (rows, differences) = (of_log.len(), compare(&rows, &of_log));
        Ok(Some(Verification { projection, generation: live.generation, position, rows, differences }))
    });
    let compared = compared.await;
    remove(means, kept, &fresh).await?;
    compared
}

/// Both are in the order of table and key.
fn compare(live: &[Row], fresh: &[Row]) -> Vec<Difference> {
    let (mut live, mut fresh) = (live.iter().peekable(), fresh.iter().peekable());
    let mut differences = Vec::new();
    let mut differs = |row: &Row, kind| {
        differences.push(Difference { table: row.table.to_string(), key: row.key.clone(), kind });
    };
    loop {
        let order = match (live.peek(), fresh.peek()) {
            (None, None) => return differences,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(live), Some(fresh)) => (&live.table, &live.key).cmp(&(&fresh.table, &fresh.key)),
        };
        match order {
            Ordering::Less => live.next().into_iter().for_each(|row| differs(row, Kind::Superfluous)),
            Ordering::Greater => fresh.next().into_iter().for_each(|row| differs(row, Kind::Missing)),
            Ordering::Equal => {
                if let (Some(live), Some(fresh)) = (live.next(), fresh.next())
                    && live.digest != fresh.digest
                {
                    differs(fresh, Kind::Differs);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[(&str, u128)]) -> Vec<Row> {
        let row = |&(key, digest): &(&str, u128)| Row { table: "orders".into(), key: key.to_owned(), digest };
        rows.iter().map(row).collect()
    }

    #[test]
    fn rows_that_are_not_those_of_the_log_are_named() {
        let (live, fresh) =
            (rows(&[("a", 1), ("b", 2), ("d", 4), ("f", 6)]), rows(&[("b", 2), ("c", 3), ("d", 5), ("g", 7)]));
        let differences = compare(&live, &fresh);
        let told: Vec<_> = differences.iter().map(|found| (found.key.as_str(), found.kind)).collect();
        use Kind::*;
        assert_eq!(told, [("a", Superfluous), ("c", Missing), ("d", Differs), ("f", Superfluous), ("g", Missing)]);
        assert_eq!(compare(&live, &live), []);
    }
}

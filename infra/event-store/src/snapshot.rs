//! The state of long streams at some version: a cache beside the log, so that a long stream is read quickly.
//!
//! Snapshots are written apart, after the append: one that is lost, late or of another form costs time, nothing else.

use crate::stream::Loaded;
use crate::{Lineage, Log};
use cqrs_es::Aggregate;
use sha2::{Digest, Sha256};
use sqlx::types::Json;

impl Log {
    /// Keeps `loaded`, read under `lineage`, unless a later state is kept already, or a failover has made it doubtful: a
    /// state with events that were lost would be believed for ever.
    pub async fn keep_snapshot<A: Aggregate>(
        &self,
        aggregate_id: &str,
        loaded: &Loaded<A>,
        lineage: Lineage,
    ) -> sqlx::Result<()> {
        let epoch = self.epoch();
        // Asked after the epoch, which is the new one only when the lineages before it are forgotten.
        if !self.is_current(lineage) {
            return Ok(());
        }
        sqlx::query(
            "insert into snapshots (aggregate_type, aggregate_id, sequence, form, payload)
             select $1, $2, $3, $4, $5 where open_log() = $6
             on conflict (aggregate_type, aggregate_id) do update
             set sequence = excluded.sequence, form = excluded.form, payload = excluded.payload
             where snapshots.sequence < excluded.sequence or snapshots.form <> excluded.form",
        )
        .bind(A::TYPE)
        .bind(aggregate_id)
        .bind(loaded.version)
        .bind(form::<A>())
        .bind(Json(&loaded.aggregate))
        .bind(epoch)
        .execute(&self.reads)
        .await?;
        Ok(())
    }

    /// The kept state. `None`: there is none, or it has another form than `A`.
    pub(crate) async fn snapshot<A: Aggregate>(&self, aggregate_id: &str) -> sqlx::Result<Option<Loaded<A>>> {
        let row: Option<(i64, Json<serde_json::Value>)> = sqlx::query_as(
            "select sequence, payload from snapshots where aggregate_type = $1 and aggregate_id = $2 and form = $3",
        )
        .bind(A::TYPE)
        .bind(aggregate_id)
        .bind(form::<A>())
        .fetch_optional(&self.reads)
        .await?;
        Ok(row.and_then(|(version, Json(payload))| {
            let aggregate = serde_json::from_value(payload).ok()?;
            Some(Loaded { aggregate, version })
        }))
    }
}

/// A fingerprint of the state's form: its empty value as JSON, which a renamed, added or removed field changes.
fn form<A: Aggregate>() -> i64 {
    let empty = serde_json::to_vec(&A::default()).expect("an aggregate has a JSON form");
    let digest = Sha256::digest(empty);
    i64::from_le_bytes(digest[..8].try_into().expect("SHA-256 has more than 8 bytes"))
}

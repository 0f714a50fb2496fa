//! From the rows of the read model to a model, and to points for a vector store.

use super::{AVAILABLE, PROJECTION, PUBLIC, priced_in};
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use kontor_domain::{CustomerId, Sku};
use kontor_recommend::{Model, Product, Trade};
use kontor_vectors::Point;
use sqlx::{Connection, Executor, FromRow, PgConnection};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// All that is learnt from, as it was at one moment.
pub struct Lesson {
    trade: Trade,
    goods: HashMap<Sku, Goods>,
    pub documents: usize,
    /// Of the read model.
    pub position: i64,
    /// Subjects that had been erased: of their trade nothing is in here.
    pub erased: i64,
    now: DateTime<Utc>,
}

/// Where a product may be shown.
#[derive(Debug, Clone, Default)]
struct Goods {
    public: bool,
    available: bool,
    currencies: HashSet<String>,
}

/// A model with what is stored beside it.
pub struct Learnt {
    pub model: Model,
    pub points: Vec<Point>,
    /// SKUs that everybody may see.
    pub public: Vec<String>,
    pub took: Duration,
}

#[derive(FromRow)]
struct DocumentRow {
    customer_id: Option<String>,
    at: DateTime<Utc>,
    taken_back: bool,
    skus: Vec<String>,
    units: Vec<i64>,
}

#[derive(FromRow)]
struct ProductRow {
    sku: String,
    name: String,
    categories: Vec<String>,
    public: bool,
    available: bool,
    currencies: Vec<String>,
}

/// Whether a product, or any variant of it, can be had. Without the read model of products everything can.
const AVAILABLE_NOW: &str = "coalesce((
        select case when s.variants = 0 then s.available > 0 else exists (
            select from projections.variants v join projections.products o on o.sku = v.sku
            where v.product = s.sku and o.available > 0
        ) end from projections.products s where s.sku = p.sku
    ), false)";

impl Lesson {
    /// Reads the live generation of the read model, in one snapshot. `None`: there is none, or it has seen nothing yet.
    pub async fn read(database: &mut PgConnection) -> sqlx::Result<Option<Lesson>> {
        let mut reading = database.begin().await?;
        reading
            .execute("set transaction isolation level repeatable read, read only; set local statement_timeout = 0")
            .await?;
        let position: Option<i64> =
            sqlx::query_scalar("select position from projections.checkpoints where projection = $1 and position > 0")
                .bind(PROJECTION)
                .fetch_optional(&mut *reading)
                .await?;
        let Some(position) = position else { return Ok(None) };
        let (erased, now, has_stock): (i64, DateTime<Utc>, bool) = sqlx::query_as(
            "select (select count(*) from privacy.subject_keys where erased_at is not null), now(),
                 to_regclass('projections.products') is not null",
        )
        .fetch_one(&mut *reading)
        .await?;
        let (trade, goods) = (Trade::default(), HashMap::new());
        let mut lesson = Lesson { trade, goods, documents: 0, position, erased, now };
        lesson.read_products(&mut reading, has_stock).await?;
        lesson.read_documents(&mut reading).await?;
        reading.rollback().await?;
        Ok(Some(lesson))
    }

    async fn read_products(&mut self, reading: &mut PgConnection, has_stock: bool) -> sqlx::Result<()> {
        let available = if has_stock { AVAILABLE_NOW } else { "true" };
        let statement = format!(
            "select p.sku, p.name, p.categories, not (p.draft or p.withdrawn) as public, {available} as available,
                 array(select jsonb_object_keys(p.prices) union
                     select jsonb_object_keys(v.prices) from projections.trade_variants v where v.product = p.sku
                 ) as currencies
             from projections.trade_products p order by p.sku"
        );
        let mut rows = sqlx::query_as::<_, ProductRow>(&statement).fetch(reading);
        while let Some(ProductRow { sku, name, categories, public, available, currencies }) = rows.try_next().await? {
            let Ok(sku) = sku.parse::<Sku>() else { continue }; // Events have no other.
            self.trade.describe(Product { sku: sku.clone(), name, categories });
            self.goods.insert(sku, Goods { public, available, currencies: currencies.into_iter().collect() });
        }
        Ok(())
    }

    async fn read_documents(&mut self, reading: &mut PgConnection) -> sqlx::Result<()> {
        let variants: Vec<(String, String)> =
            sqlx::query_as("select sku, product from projections.trade_variants order by product desc")
                .fetch_all(&mut *reading)
                .await?;
        let product_of: HashMap<String, Sku> =
            variants.into_iter().filter_map(|(sku, product)| Some((sku, product.parse().ok()?))).collect();
        let mut rows = sqlx::query_as::<_, DocumentRow>(
            "select customer_id, at, taken_back, skus, units from projections.trade t
             where not exists (
                 select from privacy.subject_keys k where k.subject = t.customer_id and k.erased_at is not null
             )
             order by at, document_id",
        )
        .fetch(reading);
        while let Some(DocumentRow { customer_id, at, taken_back, skus, units }) = rows.try_next().await? {
            let customer: Option<CustomerId> = customer_id.and_then(|id| id.parse().ok());
            let lines = skus.iter().zip(units).filter_map(|(sku, units)| {
                let sku = product_of.get(sku).cloned().or_else(|| sku.parse().ok())?;
                Some((sku, units.unsigned_abs()))
            });
            let lines: Vec<_> = lines.collect();
            let lines = lines.iter().map(|(sku, units)| (sku, *units));
            match taken_back {
                false => self.trade.sell(customer.as_ref(), at, lines),
                true => self.trade.take_back(customer.as_ref(), at, lines),
            }
            self.documents += 1;
        }
        Ok(())
    }

    /// Learns. Takes a processor for seconds: not for a thread of the runtime.
    pub fn learn(self, version: i64) -> Learnt {
        let begun = Instant::now();
        // Business time: the trade of an import lies years back, and is not to be forgotten for that.
        let at = self.trade.last().map_or(self.now, |last| last.min(self.now));
        let model = Model::train(&self.trade, at, version.unsigned_abs(), &|_| ());
        let took = begun.elapsed();
        let points = self.points(&model);
        let public = self.goods.iter().filter(|(_, goods)| goods.public).map(|(sku, _)| sku.to_string()).collect();
        Learnt { model, points, public, took }
    }

    /// The points of a model, with what is said of the products now. What nothing at all is known of has no place.
    pub fn points(&self, model: &Model) -> Vec<Point> {
        let is_known = |(_, vector): &(&Sku, &[f32])| vector.iter().any(|number| *number != 0.0);
        model.vectors().filter(is_known).map(|(sku, vector)| self.point(sku, vector)).collect()
    }

    fn point(&self, sku: &Sku, vector: &[f32]) -> Point {
        let mut tags = Vec::new();
        if let Some(Goods { public, available, currencies }) = self.goods.get(sku) {
            tags.extend(public.then(|| PUBLIC.to_owned()));
            tags.extend(available.then(|| AVAILABLE.to_owned()));
            tags.extend(currencies.iter().map(|currency| priced_in(currency)));
        }
        Point { sku: sku.to_string(), vector: vector.to_vec(), tags }
    }
}

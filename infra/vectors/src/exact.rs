//! Vectors in the process. They are rows in Postgres; a collection is loaded when it is first asked, and then kept as one matrix
//! that each question reads from end to end.

mod matrix;

use crate::{Near, Point, To, Vectors, VectorsError};
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use matrix::Matrix;
use parking_lot::Mutex;
use sqlx::{FromRow, PgPool, Row};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// The one that is shown, and the next. A process that shows one after the other needs no more.
const LOADED_MAX: usize = 2;

/// Computes what is nearest, exactly.
pub struct Exact {
    database: PgPool,
    /// The one that was asked for last is at the end.
    loaded: Mutex<VecDeque<(String, Arc<OnceCell<Matrix>>)>>,
}

impl Exact {
    /// The rows are those of schema `vectors` in `database`.
    pub fn new(database: PgPool) -> Exact {
        Exact { database, loaded: Mutex::default() }
    }

    /// The matrix of a collection, which others that want it wait for.
    fn cell(&self, collection: &str) -> Arc<OnceCell<Matrix>> {
        let mut loaded = self.loaded.lock();
        let place = loaded.iter().position(|(name, _)| name == collection);
        let entry = place.and_then(|place| loaded.remove(place));
        let (name, cell) = entry.unwrap_or_else(|| (collection.to_owned(), Arc::default()));
        loaded.push_back((name, cell.clone()));
        cell
    }

    /// Forgets all but those that were asked for last.
    fn trim(&self) {
        let mut loaded = self.loaded.lock();
        let too_many = loaded.len().saturating_sub(LOADED_MAX);
        loaded.drain(..too_many);
    }

    fn forget(&self, collection: &str) {
        self.loaded.lock().retain(|(name, _)| name != collection);
    }

    async fn load(&self, collection: &str) -> Result<Matrix, VectorsError> {
        let dimensions = self.dimensions(collection).await?;
        let mut matrix = Matrix::new(dimensions);
        let mut rows = sqlx::query_as::<_, PointRow>(
            "select sku, vector, tags from vectors.points where collection = $1 order by sku",
        )
        .bind(collection)
        .fetch(&self.database);
        while let Some(PointRow { sku, vector, tags }) = rows.try_next().await? {
            let numbers = vector.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
            matrix.push(sku, numbers, tags);
        }
        Ok(matrix)
    }

    async fn dimensions(&self, collection: &str) -> Result<usize, VectorsError> {
        let dimensions: Option<i32> =
            sqlx::query_scalar("select dimensions from vectors.collections where collection = $1")
                .bind(collection)
                .fetch_optional(&self.database)
                .await?;
        Ok(dimensions.ok_or_else(|| VectorsError::UnknownCollection(collection.to_owned()))? as usize)
    }

    async fn search(
        &self,
        collection: &str,
        to: To<'_>,
        tags: &[&str],
        most: usize,
    ) -> Result<Vec<Near>, VectorsError> {
        let cell = self.cell(collection);
        if !cell.initialized() {
            let loaded = cell.get_or_try_init(|| self.load(collection)).await;
            loaded.inspect_err(|_| self.forget(collection))?;
            self.trim();
        }
        let matrix = cell.get().expect("it was loaded");
        let (vector, itself) = match to {
            To::Vector(vector) => (vector, None),
            To::Sku(sku) => {
                let unknown = || VectorsError::UnknownPoint { collection: collection.to_owned(), sku: sku.to_owned() };
                let row = matrix.row_of(sku).ok_or_else(unknown)?;
                (matrix.vector(row), Some(row))
            }
        };
        if vector.len() != matrix.dimensions() {
            let (found, expected) = (vector.len(), matrix.dimensions());
            return Err(VectorsError::Dimensions { collection: collection.to_owned(), found, expected });
        }
        Ok(matrix.nearest(vector, itself, tags, most))
    }
}

#[derive(FromRow)]
struct PointRow {
    sku: String,
    vector: Vec<u8>,
    tags: Vec<String>,
}

impl Vectors for Exact {
    fn kind(&self) -> &'static str {
        "exact"
    }

    fn create<'a>(&'a self, collection: &'a str, dimensions: usize) -> BoxFuture<'a, Result<(), VectorsError>> {
        async move {
            self.remove(collection).await?;
            sqlx::query("insert into vectors.collections (collection, dimensions) values ($1, $2)")
                .bind(collection)
                .bind(i32::try_from(dimensions).unwrap_or(i32::MAX))
                .execute(&self.database)
                .await?;
            Ok(())
        }
        .boxed()
    }

    fn remove<'a>(&'a self, collection: &'a str) -> BoxFuture<'a, Result<(), VectorsError>> {
        async move {
            self.forget(collection);
            let remove = sqlx::query("delete from vectors.collections where collection = $1").bind(collection);
            remove.execute(&self.database).await?;
            Ok(())
        }
        .boxed()
    }

    fn upsert<'a>(&'a self, collection: &'a str, points: &'a [Point]) -> BoxFuture<'a, Result<(), VectorsError>> {
        async move {
            let expected = self.dimensions(collection).await?;
            if let Some(other) = points.iter().find(|point| point.vector.len() != expected) {
                let (collection, found) = (collection.to_owned(), other.vector.len());
                return Err(VectorsError::Dimensions { collection, found, expected });
            }
            let bytes =
                |point: &Point| point.vector.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
            sqlx::query(
                "insert into vectors.points (collection, sku, vector, tags)
                 select $1, sku, vector, string_to_array(tags, ' ')
                 from unnest($2::text[], $3::bytea[], $4::text[]) as p (sku, vector, tags)
                 on conflict (collection, sku) do update set vector = excluded.vector, tags = excluded.tags",
            )
            .bind(collection)
            .bind(points.iter().map(|point| point.sku.as_str()).collect::<Vec<_>>())
            .bind(points.iter().map(bytes).collect::<Vec<_>>())
            .bind(points.iter().map(|point| point.tags.join(" ")).collect::<Vec<_>>())
            .execute(&self.database)
            .await?;
            self.forget(collection);
            Ok(())
        }
        .boxed()
    }

    fn nearest<'a>(
        &'a self,
        collection: &'a str,
        to: To<'a>,
        tags: &'a [&'a str],
        most: usize,
    ) -> BoxFuture<'a, Result<Vec<Near>, VectorsError>> {
        async move {
            match self.search(collection, to, tags, most).await {
                Err(VectorsError::UnknownCollection(name)) => match self.shown(&name).await? {
                    Some(shown) => self.search(&shown, to, tags, most).await,
                    None => Err(VectorsError::UnknownCollection(name)),
                },
                found => found,
            }
        }
        .boxed()
    }

    fn count<'a>(&'a self, collection: &'a str) -> BoxFuture<'a, Result<u64, VectorsError>> {
        async move {
            self.dimensions(collection).await?;
            let points: i64 = sqlx::query_scalar("select count(*) from vectors.points where collection = $1")
                .bind(collection)
                .fetch_one(&self.database)
                .await?;
            Ok(points.unsigned_abs())
        }
        .boxed()
    }

    fn collections(&self) -> BoxFuture<'_, Result<Vec<String>, VectorsError>> {
        async {
            let all = sqlx::query_scalar("select collection from vectors.collections order by collection");
            Ok(all.fetch_all(&self.database).await?)
        }
        .boxed()
    }

    fn show<'a>(&'a self, alias: &'a str, collection: &'a str) -> BoxFuture<'a, Result<(), VectorsError>> {
        async move {
            self.dimensions(collection).await?;
            sqlx::query(
                "insert into vectors.aliases (alias, collection) values ($1, $2)
                 on conflict (alias) do update set collection = excluded.collection",
            )
            .bind(alias)
            .bind(collection)
            .execute(&self.database)
            .await?;
            Ok(())
        }
        .boxed()
    }

    fn shown<'a>(&'a self, alias: &'a str) -> BoxFuture<'a, Result<Option<String>, VectorsError>> {
        async move {
            let shown = sqlx::query("select collection from vectors.aliases where alias = $1").bind(alias);
            let row = shown.fetch_optional(&self.database).await?;
            Ok(row.map(|row| row.try_get("collection")).transpose()?)
        }
        .boxed()
    }
}

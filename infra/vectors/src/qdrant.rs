//! Vectors in Qdrant, over gRPC.

use crate::{Near, Point, To, Vectors, VectorsError};
use futures::FutureExt;
use futures::future::BoxFuture;
use kontor_settings::{Secret, SecretUrl};
use qdrant_client::qdrant::{
    Condition, CountPointsBuilder, CreateAliasBuilder, CreateCollectionBuilder, CreateFieldIndexCollectionBuilder,
    Distance, FieldType, Filter, PayloadIncludeSelector, PointId, PointStruct, Query, QueryPointsBuilder, ScoredPoint,
    UpsertPointsBuilder, VectorParamsBuilder, with_payload_selector::SelectorOptions,
};
use qdrant_client::{Payload, QdrantError};
use sha2::{Digest, Sha256};
use std::time::Duration;

/// Fields of a point's payload.
const SKU: &str = "sku";
const TAGS: &str = "tags";
/// The gRPC status `NOT_FOUND`.
const NOT_FOUND: i32 = 5;
/// Points of one request: some 300 KB.
const PORTION: usize = 1_000;

/// Asks a Qdrant.
pub struct Qdrant(qdrant_client::Qdrant);

impl Qdrant {
    /// It need not be there yet. What it has not answered within `timeout` has failed.
    ///
    /// # Errors
    /// `url` is none of Qdrant.
    pub fn new(url: &SecretUrl, api_key: Option<&Secret>, timeout: Duration) -> Result<Qdrant, VectorsError> {
        let mut config = qdrant_client::Qdrant::from_url(url.expose())
            .timeout(timeout)
            .connect_timeout(timeout)
            .keep_alive_while_idle()
            .skip_compatibility_check(); // It would ask the server at once, and print to standard output.
        if let Some(key) = api_key {
            config.set_api_key(key.expose());
        }
        Ok(Qdrant(config.build().map_err(Box::new)?))
    }

    /// Whether there is such a collection or alias, for an error that says `NOT_FOUND` of either that or a point.
    async fn is_there(&self, collection: &str) -> Result<bool, VectorsError> {
        let names = self.collections().await?;
        Ok(names.iter().any(|name| name == collection) || self.shown(collection).await?.is_some())
    }
}

/// The same for each SKU: Qdrant takes numbers and UUIDs only.
fn id(sku: &str) -> PointId {
    let digest: [u8; 32] = Sha256::digest(sku).into();
    let first: [u8; 16] = std::array::from_fn(|place| digest[place]);
    uuid::Builder::from_custom_bytes(first).into_uuid().to_string().into()
}

fn is_not_found(error: &QdrantError) -> bool {
    matches!(error, QdrantError::ResponseError { status } if i32::from(status.code()) == NOT_FOUND)
}

fn refused(error: QdrantError) -> VectorsError {
    Box::new(error).into()
}

/// What is said of a collection that may not be there.
fn of<T>(collection: &str, answer: Result<T, QdrantError>) -> Result<T, VectorsError> {
    answer.map_err(|error| match is_not_found(&error) {
        true => VectorsError::UnknownCollection(collection.to_owned()),
        false => refused(error),
    })
}

fn near(found: ScoredPoint) -> Result<Near, VectorsError> {
    let sku = found.payload.get(SKU).and_then(|sku| sku.as_str());
    let sku = sku.ok_or(VectorsError::Malformed("a point has no SKU: it is not one of ours"))?.clone();
    Ok(Near { sku, score: found.score })
}

fn written(Point { sku, vector, tags }: &Point) -> PointStruct {
    let payload = Payload::from([(SKU, sku.as_str().into()), (TAGS, tags.clone().into())]);
    PointStruct::new(id(sku), vector.clone(), payload)
}

impl Vectors for Qdrant {
    fn kind(&self) -> &'static str {
        "qdrant"
    }

    fn create<'a>(&'a self, collection: &'a str, dimensions: usize) -> BoxFuture<'a, Result<(), VectorsError>> {
        async move {
            self.remove(collection).await?;
            let vectors = VectorParamsBuilder::new(dimensions as u64, Distance::Dot);
            let create = CreateCollectionBuilder::new(collection).vectors_config(vectors);
            self.0.create_collection(create).await.map_err(refused)?;
            let index = CreateFieldIndexCollectionBuilder::new(collection, TAGS, FieldType::Keyword).wait(true);
            self.0.create_field_index(index).await.map_err(refused)?;
            Ok(())
        }
        .boxed()
    }

    fn remove<'a>(&'a self, collection: &'a str) -> BoxFuture<'a, Result<(), VectorsError>> {
        async move {
            // It answers whether there was one. Aliases of a collection go with it.
            match self.0.delete_collection(collection).await {
                Ok(_) => Ok(()),
                Err(error) if is_not_found(&error) => Ok(()),
                Err(error) => Err(refused(error)),
            }
        }
        .boxed()
    }

    fn upsert<'a>(&'a self, collection: &'a str, points: &'a [Point]) -> BoxFuture<'a, Result<(), VectorsError>> {
        async move {
            for portion in points.chunks(PORTION) {
                let upsert = UpsertPointsBuilder::new(collection, portion.iter().map(written).collect::<Vec<_>>());
                of(collection, self.0.upsert_points(upsert.wait(true)).await)?;
            }
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
            if most == 0 {
                return Ok(Vec::new()); // It refuses to be asked for nothing.
            }
            let query: Query = match to {
                To::Vector(vector) => vector.to_vec().into(),
                To::Sku(sku) => id(sku).into(),
            };
            let only_sku: SelectorOptions = PayloadIncludeSelector { fields: vec![SKU.to_owned()] }.into();
            let has = tags.iter().map(|tag| Condition::matches(TAGS, (*tag).to_owned()));
            let ask = QueryPointsBuilder::new(collection)
                .query(query)
                .filter(Filter::must(has))
                .limit(most as u64)
                .with_payload(only_sku);
            match (self.0.query(ask).await, to) {
                (Ok(found), _) => found.result.into_iter().map(near).collect(),
                (Err(error), To::Sku(sku)) if is_not_found(&error) && self.is_there(collection).await? => {
                    Err(VectorsError::UnknownPoint { collection: collection.to_owned(), sku: sku.to_owned() })
                }
                (Err(error), _) => of(collection, Err(error)),
            }
        }
        .boxed()
    }

    fn count<'a>(&'a self, collection: &'a str) -> BoxFuture<'a, Result<u64, VectorsError>> {
        async move {
            let counted = of(collection, self.0.count(CountPointsBuilder::new(collection).exact(true)).await)?;
            Ok(counted.result.map_or(0, |result| result.count))
        }
        .boxed()
    }

    fn collections(&self) -> BoxFuture<'_, Result<Vec<String>, VectorsError>> {
        async {
            let all = self.0.list_collections().await.map_err(refused)?;
            let mut names: Vec<_> = all.collections.into_iter().map(|collection| collection.name).collect();
            names.sort();
            Ok(names)
        }
        .boxed()
    }

    fn show<'a>(&'a self, alias: &'a str, collection: &'a str) -> BoxFuture<'a, Result<(), VectorsError>> {
        async move {
            // One that is there is moved.
            of(collection, self.0.create_alias(CreateAliasBuilder::new(collection, alias)).await)?;
            Ok(())
        }
        .boxed()
    }

    fn shown<'a>(&'a self, alias: &'a str) -> BoxFuture<'a, Result<Option<String>, VectorsError>> {
        async move {
            let all = self.0.list_aliases().await.map_err(refused)?;
            let shown = all.aliases.into_iter().find(|shown| shown.alias_name == alias);
            Ok(shown.map(|shown| shown.collection_name))
        }
        .boxed()
    }
}

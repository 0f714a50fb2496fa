//! Our own index, and a Typesense where one is configured.

use super::{Answers, HITS};
use anyhow::Context;
use kontor_local::Folder;
use kontor_online_retail::Product;
use kontor_search::{Batch, Checkpoint, Document, Embedded, Engine, Query, Typesense};
use std::collections::BTreeMap;
use std::time::Duration;

const COLLECTION: &str = "relevance";
/// A Typesense that takes longer for a search has failed.
const TIMEOUT: Duration = Duration::from_secs(20);

pub async fn answers(products: &[Product], texts: &[&str]) -> anyhow::Result<Vec<Answers>> {
    let folder = Folder::temporary("relevance")?;
    let engine = Embedded::open(&folder.path().join("search"))?;
    let mut answers = vec![Answers { name: "kontor", found: of(&engine, products, texts).await? }];
    if let Ok(url) = std::env::var("KONTOR_SEARCH_URL") {
        let key =
            std::env::var("KONTOR_SEARCH__API_KEY").context("KONTOR_SEARCH__API_KEY must be set beside the URL")?;
        let typesense = Typesense::of(&url, &key, TIMEOUT)?;
        answers.push(Answers { name: "typesense", found: of(&typesense, products, texts).await? });
    }
    Ok(answers)
}

async fn of(engine: &dyn Engine, products: &[Product], texts: &[&str]) -> anyhow::Result<Vec<Vec<String>>> {
    engine.remove(COLLECTION).await?;
    engine.create(COLLECTION).await?;
    engine.open(COLLECTION, 1).await?;
    let documents = products.iter().map(document).collect();
    let checkpoint = Checkpoint { position: 1, state: String::new() };
    engine.write(COLLECTION, Batch { fence: 1, documents, removed: Vec::new(), checkpoint }).await?;
    let mut found = Vec::new();
    for &text in texts {
        let answer = engine.search(COLLECTION, &Query { limit: HITS, ..Query::of(text) }).await?;
        found.push(answer.hits.into_iter().map(|hit| hit.product).collect());
    }
    engine.remove(COLLECTION).await?;
    Ok(found)
}

/// By its name alone: nothing else is known of it, and no sales help.
fn document(product: &Product) -> Document {
    Document {
        product: product.sku.clone(),
        is_public: true,
        title: product.name.clone(),
        skus: vec![product.sku.clone()],
        prices: BTreeMap::from([("GBP".to_owned(), product.unit_price_minor)]),
        position: 1,
        ..Document::default()
    }
}

//! Our own index, and a Typesense where one is configured.

use super::{Answers, HITS};
use kontor_local::Folder;
use kontor_online_retail::Product;
use kontor_search::{Batch, Checkpoint, Document, Embedded, Engine, Query};
use std::collections::BTreeMap;

const COLLECTION: &str = "relevance";

pub async fn answers(products: &[Product], texts: &[&str]) -> anyhow::Result<Vec<Answers>> {
    let folder = Folder::temporary("relevance")?;
    let engine = Embedded::open(&folder.path().join("search"))?;
    Ok(vec![Answers { name: "kontor", found: of(&engine, products, texts).await? }])
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

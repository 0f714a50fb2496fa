//! `kontor catalogue export`.

use super::ExportOptions;
use super::files::Sink;
use super::row::{Row, Status};
use anyhow::Context;
use kontor_domain::product::{Attributes, Medium, Options};
use kontor_domain::text::{Description, Name};
use kontor_domain::{CategoryId, Money, Sku, Slug, TaxClass};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write, stdout};

/// A page of the query API: what a later release adds to it is passed over.
#[derive(Deserialize)]
struct Page {
    items: Vec<Product>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Product {
    sku: Sku,
    name: Name,
    description: Option<Description>,
    status: String,
    slug: Option<Slug>,
    tax_class: TaxClass,
    prices: Vec<Money>,
    categories: BTreeSet<CategoryId>,
    attributes: Attributes,
    media: Vec<Medium>,
    variants: Vec<Variant>,
}

#[derive(Deserialize)]
struct Variant {
    sku: Sku,
    options: Options,
    prices: Vec<Money>,
}

/// Writes page after page, so that a catalogue of any size needs no more memory than one.
pub async fn run(options: ExportOptions) -> anyhow::Result<String> {
    let ExportOptions { format, output, query_url, caller } = options;
    let api = caller.api(&query_url)?;
    let to: Box<dyn Write> = match &output {
        Some(path) => Box::new(File::create(path).with_context(|| format!("{} cannot be written", path.display()))?),
        None => Box::new(stdout()),
    };
    let mut sink = Sink::new(format, BufWriter::new(to))?;
    let (mut path, mut rows) = ("v1/catalogue?limit=100".to_owned(), 0);
    loop {
        let Page { items, next_cursor } = api.get(&path).await?;
        for product in items.into_iter().filter(|product| product.status != "withdrawn") {
            for row in product.into_rows() {
                sink.write(&row)?;
                rows += 1;
            }
        }
        let Some(cursor) = next_cursor else { break };
        path = format!("v1/catalogue?limit=100&cursor={cursor}");
    }
    sink.flush()?;
    Ok(output.map(|path| format!("{rows} rows are in {}", path.display())).unwrap_or_default())
}

impl Product {
    /// The product, then its variants.
    fn into_rows(self) -> impl Iterator<Item = Row> {
        let product = self.sku.clone();
        let variants = self.variants.into_iter().map(move |Variant { sku, options, prices }| Row {
            product: Some(product.clone()),
            options: Some(options),
            prices,
            ..Row::of(sku)
        });
        let row = Row {
            name: Some(self.name),
            description: self.description,
            status: Some(if self.status == "draft" { Status::Draft } else { Status::Published }),
            slug: self.slug,
            tax_class: Some(self.tax_class),
            prices: self.prices,
            categories: Some(self.categories).filter(|categories| !categories.is_empty()),
            attributes: Some(self.attributes).filter(|attributes| !attributes.is_empty()),
            media: Some(self.media).filter(|media| !media.is_empty()),
            ..Row::of(self.sku)
        };
        std::iter::once(row).chain(variants)
    }
}

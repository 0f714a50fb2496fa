//! `kontor catalogue export`.

use super::ExportOptions;
use super::files::Sink;
use super::row::{CategoryRow, ItemRow, Row, Status};
use anyhow::Context;
use kontor_domain::product::{Attributes, Medium, Options};
use kontor_domain::text::{Description, Name, Reason};
use kontor_domain::{CategoryId, Money, Sku, Slug, TaxClass};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write, stdout};

/// The categories of the query API.
#[derive(Deserialize)]
struct Tree {
    categories: Vec<Category>,
}

#[derive(Deserialize)]
struct Category {
    category: CategoryId,
    name: Name,
    slug: Slug,
    categories: Vec<Category>,
}

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
    status: Status,
    withdrawal_reason: Option<Reason>,
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

/// Writes the categories, then page after page, so that a catalogue of any size needs no more memory than one.
pub async fn run(options: ExportOptions) -> anyhow::Result<String> {
    let ExportOptions { format, output, query_url, caller } = options;
    let api = caller.api(&query_url)?;
    let to: Box<dyn Write> = match &output {
        Some(path) => Box::new(File::create(path).with_context(|| format!("{} cannot be written", path.display()))?),
        None => Box::new(stdout()),
    };
    let mut sink = Sink::new(format, BufWriter::new(to))?;
    let Tree { categories } = api.get("v1/categories").await?;
    let mut rows = 0;
    for category in categories {
        category.write(None, &mut |row| {
            rows += 1;
            sink.write(&row)
        })?;
    }
    let mut path = "v1/catalogue?limit=100".to_owned();
    loop {
        let Page { items, next_cursor } = api.get(&path).await?;
        for row in items.into_iter().flat_map(Product::into_rows) {
            sink.write(&row)?;
            rows += 1;
        }
        let Some(cursor) = next_cursor else { break };
        path = format!("v1/catalogue?limit=100&cursor={cursor}");
    }
    sink.flush()?;
    Ok(output.map(|path| format!("{rows} rows are in {}", path.display())).unwrap_or_default())
}

impl Category {
    /// The category, then those below it.
    fn write(
        self,
        parent: Option<CategoryId>,
        write: &mut impl FnMut(Row) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let Self { category, name, slug, categories } = self;
        let (id, name, slug) = (category.clone(), Some(name), Some(slug));
        write(Row::Category(CategoryRow { category, parent, name, slug }))?;
        categories.into_iter().try_for_each(|below| below.write(Some(id.clone()), write))
    }
}

impl Product {
    /// The product, then its variants.
    fn into_rows(self) -> impl Iterator<Item = Row> {
        let product = self.sku.clone();
        let variants = self.variants.into_iter().map(move |Variant { sku, options, prices }| ItemRow {
            product: Some(product.clone()),
            options: Some(options),
            prices,
            ..ItemRow::of(sku)
        });
        let row = ItemRow {
            name: Some(self.name),
            description: self.description,
            status: Some(self.status),
            reason: self.withdrawal_reason,
            slug: self.slug,
            tax_class: Some(self.tax_class),
            prices: self.prices,
            categories: Some(self.categories).filter(|categories| !categories.is_empty()),
            attributes: Some(self.attributes).filter(|attributes| !attributes.is_empty()),
            media: Some(self.media).filter(|media| !media.is_empty()),
            ..ItemRow::of(self.sku)
        };
        std::iter::once(row).chain(variants).map(|row| Row::Item(Box::new(row)))
    }
}

//! What products are called, where they stand, and where they may be shown.

use kontor_domain::product::ProductEvent;
use kontor_domain::text::Name;
use kontor_domain::{CategoryId, Currency, Sku};
use sqlx::PgConnection;
use std::collections::{BTreeMap, BTreeSet};

/// Minor units by currency. `None`: it costs no more in that currency.
type Prices = BTreeMap<String, Option<i64>>;

/// What a batch changes of one product. `None`: left as it is.
#[derive(Debug, Default, PartialEq)]
struct Change<'a> {
    name: Option<&'a Name>,
    draft: Option<bool>,
    withdrawn: bool,
    categories: Option<&'a BTreeSet<CategoryId>>,
    /// To be merged into those that are there.
    prices: Prices,
    /// Of the last event in the batch.
    position: i64,
}

/// What a batch makes of one variant.
#[derive(Debug, PartialEq)]
enum Variant {
    /// It is this now, whatever it was.
    Is(Prices),
    /// It was there, and costs this now.
    Costs(Prices),
    Gone,
}

/// What a batch changes of products and variants, each once. Sorted, so that rows are written in the order of the index.
#[derive(Debug, Default, PartialEq)]
pub struct GoodsChanges<'a> {
    products: BTreeMap<&'a Sku, Change<'a>>,
    /// By product and SKU.
    variants: BTreeMap<(&'a Sku, &'a Sku), Variant>,
}

impl<'a> GoodsChanges<'a> {
    pub fn fold(&mut self, sku: &'a Sku, event: &'a ProductEvent, position: i64) {
        let product = self.products.entry(sku).or_default();
        product.position = position;
        match event {
            ProductEvent::Registered { name, draft, .. } => {
                (product.name, product.draft) = (Some(name), Some(*draft));
            }
            ProductEvent::Described { name, .. } => product.name = Some(name),
            ProductEvent::Priced { price, .. } => {
                product.prices.insert(price.currency.to_string(), Some(price.amount_minor));
            }
            ProductEvent::Published { .. } => product.draft = Some(false),
            ProductEvent::Withdrawn { .. } => product.withdrawn = true,
            ProductEvent::Categorised { categories } => product.categories = Some(categories),
            ProductEvent::VariantAdded { sku: variant, .. } => {
                self.variants.insert((sku, variant), Variant::Is(Prices::new()));
            }
            ProductEvent::VariantRemoved { sku: variant } => {
                self.variants.insert((sku, variant), Variant::Gone);
            }
            ProductEvent::VariantPriced { sku: variant, price, .. } => {
                self.price(sku, variant, price.currency, Some(price.amount_minor));
            }
            ProductEvent::VariantPriceRemoved { sku: variant, previous } => {
                self.price(sku, variant, previous.currency, None);
            }
            ProductEvent::SlugSet { .. } | ProductEvent::TaxClassSet { .. } => {} // Nobody is recommended a thing for them.
            ProductEvent::AttributesSet { .. } | ProductEvent::MediaSet { .. } => {}
        }
    }

    fn price(&mut self, product: &'a Sku, variant: &'a Sku, currency: Currency, amount_minor: Option<i64>) {
        let there = self.variants.entry((product, variant)).or_insert_with(|| Variant::Costs(Prices::new()));
        match there {
            Variant::Is(prices) | Variant::Costs(prices) => drop(prices.insert(currency.to_string(), amount_minor)),
            Variant::Gone => {} // What is not there is not priced.
        }
    }

    pub async fn write(&self, view: &mut PgConnection) -> sqlx::Result<()> {
        if !self.products.is_empty() {
            self.write_products(view).await?;
        }
        if !self.variants.is_empty() {
            self.write_variants(view).await?;
        }
        Ok(())
    }

    async fn write_products(&self, view: &mut PgConnection) -> sqlx::Result<()> {
        let changes = || self.products.values();
        // What is null is left as it is; a product's first event says what it is called.
        sqlx::query(
            "with c as (
                 select sku, name, draft, withdrawn, prices::jsonb, position,
                     case when categories is not null then array(select json_array_elements_text(categories::json)) end
                         as categories
                 from unnest($1::text[], $2::text[], $3::bool[], $4::bool[], $5::text[], $6::text[], $7::bigint[])
                     as c (sku, name, draft, withdrawn, categories, prices, position)
             ), updated as (
                 update trade_products as p set
                     name = coalesce(c.name, p.name),
                     draft = coalesce(c.draft, p.draft),
                     withdrawn = p.withdrawn or c.withdrawn,
                     categories = coalesce(c.categories, p.categories),
                     prices = p.prices || c.prices,
                     position = c.position
                 from c where p.sku = c.sku and p.position < c.position
             )
             insert into trade_products (sku, name, draft, withdrawn, categories, prices, position)
             select sku, name, coalesce(draft, false), withdrawn, coalesce(categories, '{}'), prices, position from c
             where name is not null
             on conflict (sku) do nothing",
        )
        .bind(self.products.keys().map(|sku| sku.as_str()).collect::<Vec<_>>())
        .bind(changes().map(|change| change.name.map(Name::as_str)).collect::<Vec<_>>())
        .bind(changes().map(|change| change.draft).collect::<Vec<_>>())
        .bind(changes().map(|change| change.withdrawn).collect::<Vec<_>>())
        .bind(changes().map(|change| change.categories.map(json)).collect::<Vec<_>>())
        .bind(changes().map(|change| json(&change.prices)).collect::<Vec<_>>())
        .bind(changes().map(|change| change.position).collect::<Vec<_>>())
        .execute(view)
        .await?;
        Ok(())
    }

    async fn write_variants(&self, view: &mut PgConnection) -> sqlx::Result<()> {
        let (mut gone, mut priced, mut there) = (Rows::default(), Rows::default(), Rows::default());
        for ((product, sku), variant) in &self.variants {
            match variant {
                Variant::Gone => gone.push(product, sku, &Prices::new()),
                Variant::Costs(prices) => priced.push(product, sku, prices),
                Variant::Is(prices) => there.push(product, sku, prices),
            }
        }
        for (statement, Rows { products, skus, prices }) in [
            (
                "delete from trade_variants
                 where (product, sku) in (select product, sku from unnest($1::text[], $2::text[], $3::text[])
                     as c (product, sku, prices))",
                gone,
            ),
            (
                "update trade_variants as v set prices = jsonb_strip_nulls(v.prices || c.prices::jsonb)
                 from unnest($1::text[], $2::text[], $3::text[]) as c (product, sku, prices)
                 where v.product = c.product and v.sku = c.sku",
                priced,
            ),
            (
                "insert into trade_variants (product, sku, prices)
                 select product, sku, jsonb_strip_nulls(prices::jsonb)
                 from unnest($1::text[], $2::text[], $3::text[]) as c (product, sku, prices)
                 on conflict (product, sku) do update set prices = excluded.prices",
                there,
            ),
        ] {
            if !skus.is_empty() {
                sqlx::query(statement).bind(products).bind(skus).bind(prices).execute(&mut *view).await?;
            }
        }
        Ok(())
    }
}

/// Variants, column by column.
#[derive(Default)]
struct Rows {
    products: Vec<String>,
    skus: Vec<String>,
    prices: Vec<String>,
}

impl Rows {
    fn push(&mut self, product: &Sku, sku: &Sku, prices: &Prices) {
        self.products.push(product.to_string());
        self.skus.push(sku.to_string());
        self.prices.push(json(prices));
    }
}

fn json(value: &(impl serde::Serialize + ?Sized)) -> String {
    serde_json::to_string(value).expect("names and numbers have a JSON form")
}

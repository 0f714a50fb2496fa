//! Variants, one row each, and how many a product has.

use kontor_domain::product::Options;
use kontor_domain::{Currency, Money, Sku};
use sqlx::PgConnection;
use std::collections::BTreeMap;

/// Minor units by currency, to be merged into those that are there.
pub type Prices = BTreeMap<String, i64>;

/// What a batch makes of one variant.
#[derive(Debug, PartialEq)]
pub enum VariantChange<'a> {
    /// It is this now, whatever it was.
    Is {
        product: &'a Sku,
        options: &'a Options,
        prices: Prices,
    },
    /// It was there, and costs this now; what is `None`, it costs no more.
    Costs(BTreeMap<String, Option<i64>>),
    Gone,
}

/// What a batch changes of variants. Sorted, so that rows are locked and written in the order of the index.
#[derive(Debug, Default, PartialEq)]
pub struct VariantChanges<'a> {
    variants: BTreeMap<&'a Sku, VariantChange<'a>>,
    /// Whose number of variants has changed.
    products: Vec<&'a Sku>,
}

impl<'a> VariantChanges<'a> {
    pub fn add(&mut self, product: &'a Sku, sku: &'a Sku, options: &'a Options) {
        self.products.push(product);
        self.variants.insert(sku, VariantChange::Is { product, options, prices: Prices::new() });
    }

    pub fn remove(&mut self, product: &'a Sku, sku: &'a Sku) {
        self.products.push(product);
        self.variants.insert(sku, VariantChange::Gone);
    }

    pub fn price(&mut self, sku: &'a Sku, price: Money) {
        let currency = price.currency.to_string();
        match self.variants.entry(sku).or_insert_with(|| VariantChange::Costs(BTreeMap::new())) {
            VariantChange::Is { prices, .. } => drop(prices.insert(currency, price.amount_minor)),
            VariantChange::Costs(prices) => drop(prices.insert(currency, Some(price.amount_minor))),
            VariantChange::Gone => {} // What is not there is not priced.
        }
    }

    pub fn remove_price(&mut self, sku: &'a Sku, currency: Currency) {
        match self.variants.entry(sku).or_insert_with(|| VariantChange::Costs(BTreeMap::new())) {
            VariantChange::Is { prices, .. } => drop(prices.remove(currency.code())),
            VariantChange::Costs(prices) => drop(prices.insert(currency.to_string(), None)),
            VariantChange::Gone => {}
        }
    }

    pub async fn write(&self, view: &mut PgConnection) -> sqlx::Result<()> {
        if self.variants.is_empty() {
            return Ok(());
        }
        let (mut gone, mut priced, mut there) = (Vec::new(), (Vec::new(), Vec::new()), [const { Vec::new() }; 4]);
        for (sku, change) in &self.variants {
            match change {
                VariantChange::Gone => gone.push(sku.as_str()),
                VariantChange::Costs(prices) => {
                    priced.0.push(sku.as_str());
                    priced.1.push(json(prices));
                }
                VariantChange::Is { product, options, prices } => {
                    for (column, value) in
                        there.iter_mut().zip([sku.to_string(), product.to_string(), json(options), json(prices)])
                    {
                        column.push(value);
                    }
                }
            }
        }
        sqlx::query("delete from projections.variants where sku = any($1)").bind(gone).execute(&mut *view).await?;
        sqlx::query(
            "update projections.variants as v set prices = jsonb_strip_nulls(v.prices || c.prices::jsonb)
             from unnest($1::text[], $2::text[]) as c (sku, prices) where v.sku = c.sku",
        )
        .bind(priced.0)
        .bind(priced.1)
        .execute(&mut *view)
        .await?;
        let [skus, products, options, prices] = there;
        sqlx::query(
            "insert into projections.variants (sku, product, options, prices)
             select sku, product, options::json, prices::jsonb
             from unnest($1::text[], $2::text[], $3::text[], $4::text[]) as c (sku, product, options, prices)
             on conflict (sku) do update
             set product = excluded.product, options = excluded.options, prices = excluded.prices",
        )
        .bind(skus)
        .bind(products)
        .bind(options)
        .bind(prices)
        .execute(&mut *view)
        .await?;
        sqlx::query(
            "update projections.products as p
             set variants = (select count(*) from projections.variants v where v.product = p.sku)
             where p.sku = any($1)",
        )
        .bind(self.products.iter().map(|sku| sku.as_str()).collect::<Vec<_>>())
        .execute(view)
        .await?;
        Ok(())
    }
}

pub fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("names and numbers have a JSON form")
}

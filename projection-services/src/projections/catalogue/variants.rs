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
    /// By product and SKU.
    variants: BTreeMap<(&'a Sku, &'a Sku), VariantChange<'a>>,
    /// Whose number of variants has changed.
    products: Vec<&'a Sku>,
}

impl<'a> VariantChanges<'a> {
    pub fn add(&mut self, product: &'a Sku, sku: &'a Sku, options: &'a Options) {
        self.products.push(product);
        self.variants.insert((product, sku), VariantChange::Is { options, prices: Prices::new() });
    }

    pub fn remove(&mut self, product: &'a Sku, sku: &'a Sku) {
        self.products.push(product);
        self.variants.insert((product, sku), VariantChange::Gone);
    }

    pub fn price(&mut self, product: &'a Sku, sku: &'a Sku, price: Money) {
        let currency = price.currency.to_string();
        match self.variants.entry((product, sku)).or_insert_with(|| VariantChange::Costs(BTreeMap::new())) {
            VariantChange::Is { prices, .. } => drop(prices.insert(currency, price.amount_minor)),
            VariantChange::Costs(prices) => drop(prices.insert(currency, Some(price.amount_minor))),
            VariantChange::Gone => {} // What is not there is not priced.
        }
    }

    pub fn remove_price(&mut self, product: &'a Sku, sku: &'a Sku, currency: Currency) {
        match self.variants.entry((product, sku)).or_insert_with(|| VariantChange::Costs(BTreeMap::new())) {
            VariantChange::Is { prices, .. } => drop(prices.remove(currency.code())),
            VariantChange::Costs(prices) => drop(prices.insert(currency.to_string(), None)),
            VariantChange::Gone => {}
        }
    }

    /// Those of one product, by SKU.
    pub fn of(&self, product: &Sku) -> impl Iterator<Item = (&'a Sku, &VariantChange<'a>)> {
        let of_product = self.variants.iter().filter(move |((of, _), _)| *of == product);
        of_product.map(|((_, sku), change)| (*sku, change))
    }

    pub async fn write(&self, view: &mut PgConnection) -> sqlx::Result<()> {
        if self.variants.is_empty() {
            return Ok(());
        }
        let (mut gone, mut priced, mut there) =
            ([const { Vec::new() }; 2], [const { Vec::new() }; 3], [const { Vec::new() }; 4]);
        fn add<const N: usize>(columns: &mut [Vec<String>; N], row: [String; N]) {
            columns.iter_mut().zip(row).for_each(|(column, value)| column.push(value));
        }
        for ((product, sku), change) in &self.variants {
            let (product, sku) = (product.to_string(), sku.to_string());
            match change {
                VariantChange::Gone => add(&mut gone, [product, sku]),
                VariantChange::Costs(prices) => add(&mut priced, [product, sku, json(prices)]),
                VariantChange::Is { options, prices } => add(&mut there, [product, sku, json(options), json(prices)]),
            }
        }
        let [products, skus] = gone;
        sqlx::query("delete from variants where (product, sku) in (select * from unnest($1::text[], $2::text[]))")
            .bind(products)
            .bind(skus)
            .execute(&mut *view)
            .await?;
        let [products, skus, prices] = priced;
        sqlx::query(
            "update variants as v set prices = jsonb_strip_nulls(v.prices || c.prices::jsonb)
             from unnest($1::text[], $2::text[], $3::text[]) as c (product, sku, prices)
             where v.product = c.product and v.sku = c.sku",
        )
        .bind(products)
        .bind(skus)
        .bind(prices)
        .execute(&mut *view)
        .await?;
        let [products, skus, options, prices] = there;
        sqlx::query(
            "insert into variants (product, sku, options, prices)
             select product, sku, options::json, prices::jsonb
             from unnest($1::text[], $2::text[], $3::text[], $4::text[]) as c (product, sku, options, prices)
             on conflict (product, sku) do update set options = excluded.options, prices = excluded.prices",
        )
        .bind(products)
        .bind(skus)
        .bind(options)
        .bind(prices)
        .execute(&mut *view)
        .await?;
        sqlx::query(
            "update products as p
             set variants = (select count(*) from variants v where v.product = p.sku)
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

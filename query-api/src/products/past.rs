//! What a product was.

use super::{Price, Product, ProductDetail, prices, status};
use crate::past::{COLUMNS, Moment, Streams, decoded};
use crate::problem::Problem;
use crate::view::View;
use cqrs_es::Aggregate;
use kontor_domain::category::CategoryTree;
use kontor_domain::stock::Stock;
use kontor_domain::{CategoryTreeId, Sku, product};
use kontor_projection_services::projections::catalogue::past::{self, ProductRow, VariantRow};
use kontor_projection_services::runtime::Event;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

/// The product as it was, with the position of the log at that moment. `None`: it was not there yet.
pub async fn product(
    streams: &Streams,
    view: &View,
    sku: &Sku,
    moment: Moment,
) -> Result<(i64, Option<ProductDetail>), Problem> {
    let stream = (product::Product::TYPE, "product", sku.as_str());
    let reach = streams.reach(&view.positions, view.min, stream, Some(moment)).await?;
    let mut events: Vec<Event> = Vec::new();
    for event in streams.read(product::Product::TYPE, sku.as_str(), reach.position).await? {
        events.push(decoded(&event)?);
    }
    let mut skus = past::variants(sku, &events);
    skus.push(sku.to_string());
    events.extend(others(streams, &skus, reach.position).await?);
    events.sort_by_key(|event| event.position);
    let row = past::product(sku, &events).map(detail).transpose();
    Ok((reach.position, row.map_err(|error| sqlx::Error::Decode(error.into()))?))
}

/// What decides how much there is of each SKU, its last event and the last that says what is on hand; and which categories
/// are no more.
async fn others(streams: &Streams, skus: &[String], position: i64) -> sqlx::Result<Vec<Event>> {
    let rows = sqlx::query(&format!(
        "select e.* from unnest($1::text[]) as s (sku) cross join lateral (
             (select {COLUMNS} from public.events e
              where e.aggregate_type = $2 and e.aggregate_id = s.sku and e.position <= $3
              order by e.sequence desc limit 1)
             union all
             (select {COLUMNS} from public.events e
              where e.aggregate_type = $2 and e.aggregate_id = s.sku and e.position <= $3 and e.event_type = any($4)
              order by e.sequence desc limit 1)
         ) e
         union all
         select {COLUMNS} from public.events e
         where e.aggregate_type = $5 and e.aggregate_id = $6 and e.event_type = 'Removed' and e.position <= $3"
    ))
    .bind(skus)
    .bind(Stock::TYPE)
    .bind(position)
    .bind(past::COUNTS_ON_HAND)
    .bind(CategoryTree::TYPE)
    .bind(CategoryTreeId::MAIN.as_str())
    .fetch_all(streams.replica())
    .await?;
    streams.recorded(&rows)?.iter().map(decoded).collect()
}

fn detail(row: ProductRow) -> serde_json::Result<ProductDetail> {
    let (on_hand, available) = match row.variants.as_slice() {
        [] => (row.on_hand, row.available),
        variants => variants
            .iter()
            .fold((0, 0), |(on_hand, available), variant| (on_hand + variant.on_hand, available + variant.available)),
    };
    let variants: Vec<_> = row.variants.into_iter().map(variant).collect::<Result<_, _>>()?;
    Ok(ProductDetail {
        product: Product {
            sku: row.sku,
            name: row.name,
            description: row.description,
            status: status(row.withdrawn, row.draft),
            withdrawn: row.withdrawn,
            slug: row.slug,
            price: row.price.map(|(amount_minor, currency)| Price { amount_minor, currency }),
            prices: prices(row.prices),
            categories: row.categories,
            variant_count: variants.len() as i64,
            on_hand,
            available,
        },
        withdrawal_reason: row.withdrawal_reason,
        tax_class: row.tax_class,
        attributes: RawValue::from_string(row.attributes)?,
        media: RawValue::from_string(row.media)?,
        variants: to_raw_value(&variants)?,
    })
}

fn variant(VariantRow { sku, options, prices: own, on_hand, available }: VariantRow) -> serde_json::Result<Value> {
    let options: Value = serde_json::from_str(&options)?;
    Ok(json!({"sku": sku, "options": options, "prices": prices(own), "on_hand": on_hand, "available": available}))
}

//! Goods to sell: products with a price and units in stock, through the bulk endpoint.

use crate::bulk::{Command, Sender, Written, pence};
use crate::client::Api;
use crate::dice::Dice;
use crate::progress::Progress;
use std::sync::Arc;

/// Puts `units` of each SKU on sale, for 3.95 to 63.95.
pub async fn put_on_sale(commands: &Api, skus: &Arc<[String]>, units: i64) -> anyhow::Result<()> {
    let sender = Sender::new(commands.clone());
    let products = skus.clone();
    let register = move |sku: &String| {
        let command = Command::RegisterProduct { sku, name: "Bench" };
        Written::new(&format!("goods/product/{sku}"), &command)
    };
    // Batches may overtake each other, so those before a price.
    sender
        .send(Progress::new("products", skus.len() as u64), move |batches| {
            products.iter().try_for_each(|sku| batches.push(register(sku)))
        })
        .await?;
    let products = skus.clone();
    sender
        .send(Progress::new("prices", 2 * skus.len() as u64), move |batches| {
            (0..).zip(products.iter()).try_for_each(|(seed, sku)| {
                let price = pence(395 + 100 * Dice::new(seed).roll(61) as i64);
                let price = Command::PriceProduct { sku, price };
                batches.push(Written::new(&format!("goods/price of/{sku}"), &price))?;
                let stock = Command::ReceiveStock { sku, quantity: units, reference: "opening stock" };
                batches.push(Written::new(&format!("goods/opening stock of/{sku}"), &stock))
            })
        })
        .await
}

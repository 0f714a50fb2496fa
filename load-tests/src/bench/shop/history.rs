//! What has happened in the shop, append by append: first the products, then orders without end, of which those from
//! check-out are settled a while after they were placed.
//!
//! Products, orders and payments are decided by their rules. Stock is counted here: an aggregate keeps each reservation in
//! memory, of which there are two million.

use super::Size;
use super::buyer::Buyer;
use super::order::{Order, units};
use super::product::{Product, SKUS_MAX, tree};
use super::stream::{Decided, Fresh, Stream};
use anyhow::Context;
use cqrs_es::Aggregate;
use kontor_domain::payment::Payment;
use kontor_domain::stock::{Shares, Stock, StockEvent};
use kontor_domain::{LocationId, Quantity, Sku};
use kontor_event_store::StreamId;
use std::collections::VecDeque;

/// Of each SKU: more than a benchmark sells.
const UNITS: u64 = 1_000_000_000;
/// Orders from check-out that wait for their payment. So many that what is settled has long been appended: the log's lanes
/// need not wait for each other.
const UNSETTLED: usize = 2_000;

/// The shop's history, as far as it was told.
pub struct History {
    size: Size,
    buyers: Vec<Buyer>,
    /// By number of the product, and place of the SKU in it.
    shelves: Vec<Shelf>,
    has_tree: bool,
    products: usize,
    orders: usize,
    unsettled: VecDeque<Unsettled>,
}

/// The units of one SKU.
#[derive(Debug, Clone, Copy, Default)]
struct Shelf {
    available: Quantity,
    version: i64,
}

struct Unsettled {
    order: Order,
    stream: Stream<kontor_domain::order::Order>,
    payment: Stream<Payment>,
}

impl History {
    pub fn new(size: Size, buyers: Vec<Buyer>) -> Self {
        let shelves = vec![Shelf::default(); size.products * SKUS_MAX];
        Self { size, buyers, shelves, has_tree: false, products: 0, orders: 0, unsettled: VecDeque::new() }
    }

    pub fn size(&self) -> Size {
        self.size
    }

    /// How many products and orders there have been.
    pub fn told(&self) -> (usize, usize) {
        (self.products, self.orders)
    }

    /// The next append.
    pub async fn next(&mut self) -> anyhow::Result<Vec<Decided>> {
        if !self.has_tree {
            self.has_tree = true;
            return tree().await;
        }
        if self.products < self.size.products {
            return self.register().await;
        }
        if self.unsettled.len() >= UNSETTLED
            && let Some(settled) = self.settle().await?
        {
            return Ok(settled);
        }
        self.place().await
    }

    /// Confirms the oldest order that is paid for and not confirmed. `None`: there is none.
    pub async fn settle(&mut self) -> anyhow::Result<Option<Vec<Decided>>> {
        let Some(Unsettled { order, mut stream, mut payment }) = self.unsettled.pop_front() else { return Ok(None) };
        payment.handle(order.record_payment()).await?;
        for command in order.settle() {
            stream.handle(command).await?;
        }
        let mut appended = vec![payment.decided(), stream.decided()];
        appended.extend(order.wanted().into_iter().map(|wanted| {
            let (order_id, quantity) = (order.id(), wanted.line.quantity);
            self.shelve(wanted.product, wanted.sku, &wanted.line.sku, |available| {
                (available, StockEvent::Confirmed { order_id, quantity, available_after: available })
            })
        }));
        Ok(Some(appended))
    }

    async fn register(&mut self) -> anyhow::Result<Vec<Decided>> {
        let product = Product(self.products);
        self.products += 1;
        let mut appended = product.registration().await?;
        appended.extend(product.skus().iter().enumerate().map(|(place, (sku, _))| {
            self.shelve(product, place, sku, |_| {
                let (quantity, location) = (units(UNITS), LocationId::MAIN);
                let (on_hand_after, available_after) = (quantity, quantity);
                (quantity, StockEvent::Received { quantity, reference: None, on_hand_after, available_after, location })
            })
        }));
        Ok(appended)
    }

    async fn place(&mut self) -> anyhow::Result<Vec<Decided>> {
        let order = Order { number: self.orders, size: self.size };
        self.orders += 1;
        let buyer = &self.buyers[order.buyer()];
        let mut stream = Stream::begin(order.id());
        stream.handle(order.place(buyer)).await?;
        let mut appended = vec![stream.decided()];
        if order.is_from_checkout() {
            let mut payment = Stream::begin(order.payment_id());
            payment.handle(order.request_payment()).await?;
            appended.push(payment.decided());
            self.unsettled.push_back(Unsettled { order, stream, payment });
        }
        for wanted in order.wanted() {
            let quantity = wanted.line.quantity;
            let sold_out = format!("{} is sold out", wanted.line.sku);
            let shelf = self.shelves[wanted.product.0 * SKUS_MAX + wanted.sku];
            let left = shelf.available.checked_sub(quantity).context(sold_out)?;
            appended.push(self.shelve(wanted.product, wanted.sku, &wanted.line.sku, |_| {
                let reserved = StockEvent::Reserved {
                    order_id: order.id(),
                    quantity,
                    available_after: left,
                    shares: Shares::default(),
                    back_ordered: Quantity::ZERO,
                    back_ordered_after: Quantity::ZERO,
                    expires_at: order.held_until(),
                };
                (left, reserved)
            }));
        }
        Ok(appended)
    }

    /// `happens` has what is available, and says what is afterwards.
    fn shelve(
        &mut self,
        product: Product,
        place: usize,
        sku: &Sku,
        happens: impl FnOnce(Quantity) -> (Quantity, StockEvent),
    ) -> Decided {
        let shelf = &mut self.shelves[product.0 * SKUS_MAX + place];
        let (available, event) = happens(shelf.available);
        let version = shelf.version;
        *shelf = Shelf { available, version: version + 1 };
        let stream = StreamId { aggregate_type: Stock::TYPE, aggregate_id: sku.as_str().into() };
        Decided { stream, version, events: vec![Fresh::of(&event)] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::shop::buyer::sealed_for_nobody;
    use crate::books::stock::Count;
    use kontor_domain::order::Order as OrderAggregate;
    use kontor_event_schemas::Fact;
    use std::collections::HashMap;

    const SMALL: Size = Size { products: 100, orders: 6_000 };

    async fn told() -> Vec<(StreamId, i64, Fact)> {
        let mut history = History::new(SMALL, sealed_for_nobody(SMALL.buyers()));
        let mut appends = Vec::new();
        while history.told() != (SMALL.products, SMALL.orders) {
            appends.push(history.next().await.expect("nothing is refused"));
        }
        while let Some(settled) = history.settle().await.expect("nothing is refused") {
            appends.push(settled);
        }
        let mut facts = Vec::new();
        for Decided { stream, version, events } in appends.into_iter().flatten() {
            for (sequence, event) in (version + 1..).zip(events) {
                let fact = Fact::decode(stream.aggregate_type, &stream.aggregate_id, event.payload.as_bytes());
                facts.push((stream.clone(), sequence, fact.expect("it can be read")));
            }
        }
        facts
    }

    #[tokio::test]
    async fn every_event_can_be_read_and_streams_have_no_gaps() {
        let mut versions = HashMap::new();
        for (stream, sequence, _) in told().await {
            let version = versions.entry(stream).or_insert(0);
            assert_eq!(sequence, *version + 1);
            *version = sequence;
        }
    }

    #[tokio::test]
    async fn the_books_are_right_and_every_order_is_as_it_is_said_to_be() {
        let (mut stock, mut orders) = (HashMap::<Sku, Count>::new(), HashMap::<_, OrderAggregate>::new());
        for (_, _, fact) in told().await {
            match fact {
                Fact::Stock(sku, event) => assert_eq!(stock.entry(sku).or_default().enter(&event), [""; 0]),
                Fact::Order(order_id, event) => orders.entry(order_id).or_default().apply(event),
                _ => {}
            }
        }
        assert_eq!(orders.len(), SMALL.orders);
        for number in 0..SMALL.orders {
            let order = Order { number, size: SMALL };
            let told = &orders[&order.id()];
            let placed = told.placed().expect("it was placed");
            assert_eq!((placed.total, told.is_confirmed()), (order.total(), order.is_from_checkout()));
            for wanted in order.wanted() {
                assert_eq!(stock[&wanted.line.sku].of(order.id()), wanted.line.quantity.units().cast_signed());
            }
        }
    }

    /// Of which the history keeps two numbers only.
    #[tokio::test]
    async fn the_rules_of_stock_would_have_decided_the_same() {
        use kontor_domain::stock::{StockCommand, StockEvent::*};
        let mut streams = HashMap::new();
        for (StreamId { aggregate_id, .. }, _, fact) in told().await {
            let Fact::Stock(sku, event) = fact else { continue };
            let location = LocationId::MAIN;
            let command = match event {
                Received { quantity, .. } => StockCommand::Receive { quantity, reference: None, location },
                Reserved { order_id, quantity, expires_at, .. } => {
                    StockCommand::Reserve { order_id, quantity, expires_at }
                }
                Confirmed { order_id, .. } => StockCommand::Confirm { order_id },
                ref other => panic!("{other:?}"),
            };
            let stream = streams.entry(aggregate_id).or_insert_with(|| Stream::<Stock>::begin(sku));
            stream.handle(command).await.expect("it is not refused");
            assert_eq!(stream.decided().events, [Fresh::of(&event)]);
        }
    }

    #[tokio::test]
    async fn the_same_shop_is_told_each_time() {
        assert_eq!(told().await, told().await);
    }
}

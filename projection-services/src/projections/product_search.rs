//! `product-search`: each product as it is searched for, with prices, availability and units sold. One document a product, in
//! a search store.
//!
//! A document has beside it what events have said of the product ([`entry`]), from which the rest of it follows. What is said
//! of the stock of a SKU that no product has is kept in a document that nobody finds, until one has it. The tree of categories
//! is in another such document ([`tree`]): a product is found in those above its own, too, under their names.

mod entry;
mod tree;

use crate::runtime::store::{SEARCH_SETTINGS, Store, StoreError, StoreOptions};
use crate::runtime::{ApplyError, Event, Projection, SearchProjection, SearchStore, SearchView};
use cqrs_es::Aggregate;
use entry::{Entry, StockEntry};
use futures::FutureExt;
use futures::future::BoxFuture;
use kontor_domain::Sku;
use kontor_domain::category::{CategoryEvent, CategoryTree};
use kontor_domain::product::{Product, ProductEvent};
use kontor_domain::stock::{Stock, StockEvent};
use kontor_event_schemas::Fact;
use kontor_search::Document;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tree::Tree;

/// Its name, by which queries find it.
pub const PRODUCT_SEARCH: &str = "product-search";

pub struct ProductSearch;

/// Of each product the document, with what is known of it.
#[derive(Debug, Default)]
struct Changes {
    known: BTreeMap<Sku, Known>,
    /// The product that a SKU is one of.
    owners: HashMap<Sku, Sku>,
    /// Those that are nothing any more.
    gone: BTreeSet<Sku>,
    tree: Tree,
}

#[derive(Debug, Default)]
struct Known {
    document: Document,
    entry: Entry,
    /// Whether an event has said something new.
    is_changed: bool,
}

impl Known {
    fn change(&mut self, position: i64) -> &mut Entry {
        (self.document.position, self.is_changed) = (position, true);
        &mut self.entry
    }
}

impl Changes {
    /// With the documents that these events touch.
    async fn before(view: &SearchView<'_>, events: &[Event]) -> Result<Self, StoreError> {
        let (mut touched, mut needs_tree) = (BTreeSet::new(), false);
        for Event { fact, .. } in events {
            match fact {
                Fact::Product(sku, event) => {
                    touched.insert(sku);
                    match event {
                        ProductEvent::VariantAdded { sku, .. } | ProductEvent::VariantRemoved { sku } => {
                            touched.insert(sku);
                        }
                        ProductEvent::Categorised { .. } => needs_tree = true,
                        _ => {} // None of them is about another SKU.
                    }
                }
                Fact::Stock(sku, _) => drop(touched.insert(sku)),
                _ => {} // None of them touches a product.
            }
        }
        let mut changes = Changes::default();
        changes.load(view.read_by_sku(touched.into_iter().map(Sku::to_string)).await?)?;
        if needs_tree {
            changes.tree = Tree::read(view).await?;
        }
        Ok(changes)
    }

    fn load(&mut self, documents: Vec<Document>) -> Result<(), ApplyError> {
        for document in documents {
            let unreadable =
                |what: &str| ApplyError::Contradiction(format!("{what} of {} is unreadable", document.product));
            let product: Sku = document.product.parse().map_err(|_| unreadable("the code"))?;
            let entry: Entry = serde_json::from_str(&document.source).map_err(|_| unreadable("the source"))?;
            for sku in entry.skus(&product) {
                self.owners.insert(sku.clone(), product.clone());
            }
            self.known.insert(product, Known { document, entry, is_changed: false });
        }
        Ok(())
    }

    fn known(&mut self, product: &Sku) -> &mut Known {
        if !self.known.contains_key(product) {
            let document = Document { product: product.to_string(), ..Document::default() };
            self.known.insert(product.clone(), Known { document, ..Known::default() });
            self.owners.insert(product.clone(), product.clone());
            self.gone.remove(product);
        }
        self.known.get_mut(product).expect("it is there")
    }

    fn fold(&mut self, Event { position, fact }: &Event) {
        match fact {
            Fact::Product(sku, event) => self.fold_product(sku, event, *position),
            Fact::Stock(sku, event) => self.fold_stock(sku, event, *position),
            Fact::Category(..) => {}                                   // Folded by itself.
            Fact::Slug(..) | Fact::Sku(..) => {}                       // The product's own events say it.
            Fact::Order(..) | Fact::Cancellation(..) => {}             // Their goods are stock events of their own.
            Fact::Cart(..) | Fact::Payment(..) | Fact::Timer(..) => {} // They move no goods.
        }
    }

    fn fold_product(&mut self, sku: &Sku, event: &ProductEvent, position: i64) {
        match event {
            ProductEvent::VariantAdded { sku: variant, options } => {
                let stock = self.take_stock(variant, position);
                self.known(sku).change(position).add_variant(variant.clone(), options.clone(), stock);
                self.owners.insert(variant.clone(), sku.clone());
            }
            ProductEvent::VariantRemoved { sku: variant } => {
                if let Some(stock) = self.known(sku).change(position).remove_variant(variant) {
                    self.owners.remove(variant);
                    self.leave_stock(variant, stock, position);
                }
            }
            ProductEvent::Categorised { categories } => {
                let above = self.tree.with_above(categories);
                let known = self.known(sku);
                known.change(position).categories = categories.clone();
                known.document.categories = above;
            }
            event => self.known(sku).change(position).fold(event, position),
        }
    }

    fn fold_stock(&mut self, sku: &Sku, event: &StockEvent, position: i64) {
        let owner = self.owners.get(sku).unwrap_or(sku).clone();
        let known = self.known(&owner);
        if known.entry.stock_of(&owner, sku).fold(event, position) {
            known.change(position);
        }
    }

    /// What is known of the stock of a SKU that becomes a product's variant. What is then nothing any more goes.
    fn take_stock(&mut self, sku: &Sku, position: i64) -> StockEntry {
        let Some(known) = self.known.get_mut(sku) else { return StockEntry::default() };
        let stock = std::mem::take(&mut known.change(position).stock);
        if known.entry == Entry::default() {
            self.known.remove(sku);
            self.gone.insert(sku.clone());
        }
        stock
    }

    /// Keeps what is known of the stock of a SKU that was a product's variant, for whoever has it next.
    fn leave_stock(&mut self, sku: &Sku, stock: StockEntry, position: i64) {
        if stock != StockEntry::default() {
            self.known(sku).change(position).stock = stock;
            self.owners.insert(sku.clone(), sku.clone());
        }
    }

    fn write(self, view: &mut SearchView<'_>) {
        for (product, known) in self.known.into_iter().filter(|(_, known)| known.is_changed) {
            view.put(known.entry.document(&product, known.document));
        }
        for product in self.gone {
            view.remove(product.to_string());
        }
    }
}

async fn fold(view: &mut SearchView<'_>, events: &[Event]) -> Result<(), StoreError> {
    if !events.is_empty() {
        let mut changes = Changes::before(view, events).await?;
        events.iter().for_each(|event| changes.fold(event));
        changes.write(view);
    }
    Ok(())
}

/// Folds what happened to the tree into it and into the products that are in the category, or below it.
async fn fold_category(view: &mut SearchView<'_>, event: &CategoryEvent, position: i64) -> Result<(), StoreError> {
    let mut tree = Tree::read(view).await?;
    tree.fold(event);
    let touched = match event {
        CategoryEvent::Created { .. } => None, // No product is in it yet.
        CategoryEvent::Renamed { category, .. }
        | CategoryEvent::Moved { category, .. }
        | CategoryEvent::Removed { category } => Some(category),
    };
    if let Some(category) = touched {
        let mut changes = Changes::default();
        changes.load(view.read_by_category(category.as_str()).await?)?;
        for known in changes.known.values_mut() {
            if let CategoryEvent::Removed { category } = event {
                known.entry.categories.remove(category);
            }
            known.document.categories = tree.with_above(&known.change(position).categories);
        }
        changes.write(view);
    }
    tree.write(view, position);
    Ok(())
}

impl Projection for ProductSearch {
    fn name(&self) -> &'static str {
        PRODUCT_SEARCH
    }

    fn version(&self) -> i32 {
        2 // Since a Typesense has the words of titles: it is searched by them, and finds nothing where they are not.
    }

    fn aggregate_types(&self) -> &'static [&'static str] {
        &[Product::TYPE, Stock::TYPE, CategoryTree::TYPE]
    }

    fn spanning(&self) -> &'static [&'static str] {
        self.aggregate_types() // A variant's stock is in its product's document; and one commit is cheaper than several.
    }

    fn lacks(&self, options: &StoreOptions) -> Option<&'static str> {
        options.search.is_none().then_some(SEARCH_SETTINGS)
    }

    fn gathers(&self) -> Duration {
        Duration::from_millis(500) // A commit costs about the same whatever is in it; a search is to be at most a second behind.
    }

    fn store(self: Arc<Self>, options: &StoreOptions) -> Arc<dyn Store> {
        SearchStore::of(self, options)
    }
}

impl SearchProjection for ProductSearch {
    fn apply<'a>(&'a self, view: &'a mut SearchView<'_>, events: &'a [Event]) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            let mut rest = events;
            loop {
                let of_tree = rest.iter().enumerate().find_map(|(n, event)| match &event.fact {
                    Fact::Category(_, category) => Some((n, category, event.position)),
                    _ => None,
                });
                let Some((n, event, position)) = of_tree else { return fold(view, rest).await };
                fold(view, &rest[..n]).await?;
                fold_category(view, event, position).await?;
                rest = &rest[n + 1..];
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kontor_domain::product::{AttributeValue, Options};
    use kontor_domain::text::{Name, Reason, Text};
    use kontor_domain::{Currency, Money, OrderId, Quantity};
    use serde_json::Value;

    fn sku(text: &str) -> Sku {
        text.parse().expect("a valid SKU")
    }

    fn units(units: u64) -> Quantity {
        Quantity::new(units).expect("a valid quantity")
    }

    fn mug(event: ProductEvent) -> Fact {
        Fact::Product(sku("MUG"), event)
    }

    fn registered(draft: bool) -> Fact {
        mug(ProductEvent::Registered { name: Name::new("Enamel mug").expect("a valid name"), description: None, draft })
    }

    fn priced(amount_minor: i64) -> Fact {
        mug(ProductEvent::Priced { price: Money::new(amount_minor, Currency::GBP), previous: None })
    }

    fn added(variant: &str, size: &str) -> Fact {
        let options = Options::from([("size".parse().expect("a valid name"), Text::new(size).expect("a valid value"))]);
        mug(ProductEvent::VariantAdded { sku: sku(variant), options })
    }

    fn received(of: &str, available: u64) -> Fact {
        let units = units(available);
        let (on_hand_after, available_after, location) = (units, units, Default::default());
        let event = StockEvent::Received { quantity: units, reference: None, on_hand_after, available_after, location };
        Fact::Stock(sku(of), event)
    }

    fn shipped(of: &str, sold: u64) -> Fact {
        let (order_id, zero) = (OrderId(uuid::Uuid::nil()), Quantity::ZERO);
        let event = StockEvent::Shipped {
            order_id,
            quantity: units(sold),
            on_hand_after: zero,
            available_after: zero,
            shares: Default::default(),
            remaining: zero,
        };
        Fact::Stock(sku(of), event)
    }

    fn returned(of: &str, back: u64) -> Fact {
        let (order_id, after, location) = (OrderId(uuid::Uuid::nil()), units(back), Default::default());
        let event =
            StockEvent::Returned { order_id, quantity: after, on_hand_after: after, available_after: after, location };
        Fact::Stock(sku(of), event)
    }

    /// At positions 1, 2, ...; each in a batch of its own, so that what is kept in a document is enough.
    fn folded(facts: impl IntoIterator<Item = Fact>) -> BTreeMap<String, Document> {
        let mut documents = BTreeMap::new();
        for (n, fact) in facts.into_iter().enumerate() {
            again(&mut documents, n as i64 + 1, fact);
        }
        documents
    }

    fn again(documents: &mut BTreeMap<String, Document>, position: i64, fact: Fact) {
        let mut changes = Changes::default();
        changes.load(documents.values().cloned().collect()).expect("they can be read");
        changes.fold(&Event { position, fact });
        let written = changes.known.into_iter();
        *documents = written
            .map(|(product, known)| (product.to_string(), known.entry.document(&product, known.document)))
            .collect();
    }

    #[test]
    fn only_what_is_on_sale_is_public() {
        let is_public = |facts: Vec<Fact>| folded(facts)["MUG"].is_public;
        let published = || mug(ProductEvent::Published { name: Name::new("Enamel mug").expect("a valid name") });
        let withdrawn = || mug(ProductEvent::Withdrawn { reason: Reason::new("broken").expect("a valid reason") });
        assert!(is_public(vec![registered(false)]));
        assert!(!is_public(vec![registered(true)]));
        assert!(is_public(vec![registered(true), published()]));
        assert!(!is_public(vec![registered(false), withdrawn()]));
        assert!(!is_public(vec![priced(700)]), "it was never registered");
    }

    #[test]
    fn a_product_costs_what_the_cheapest_of_its_variants_does() {
        let own = |amount_minor| {
            let price = Money::new(amount_minor, Currency::GBP);
            mug(ProductEvent::VariantPriced { sku: sku("MUG-L"), price, previous: None })
        };
        let price = |facts: Vec<Fact>| folded(facts)["MUG"].prices["GBP"];
        assert_eq!(price(vec![registered(false), priced(700)]), 700);
        assert_eq!(price(vec![registered(false), added("MUG-L", "L"), own(900), priced(700)]), 900);
        assert_eq!(
            price(vec![registered(false), added("MUG-L", "L"), added("MUG-S", "S"), own(900), priced(700)]),
            700
        );
    }

    #[test]
    fn a_product_has_the_stock_of_its_variants_wherever_their_events_come() {
        let documents = folded([
            received("MUG", 50),
            received("MUG-S", 3),
            registered(false),
            added("MUG-S", "S"),
            added("MUG-L", "L"),
            received("MUG-L", 4),
        ]);
        let skus: Vec<_> = documents.keys().map(String::as_str).collect();
        assert_eq!(skus, ["MUG"], "what was kept of MUG-S is the product's now");
        let mug = &documents["MUG"];
        assert_eq!((mug.available, mug.position), (7, 6));
        assert_eq!(mug.skus, ["MUG", "MUG-L", "MUG-S"]);
        assert_eq!(mug.attributes["size"], ["L", "S"]);
        let card: Value = serde_json::from_str(&mug.card).expect("a card is JSON");
        assert_eq!((&card["name"], &card["available"]), (&"Enamel mug".into(), &7.into()));
    }

    #[test]
    fn a_variant_that_is_removed_keeps_its_stock_for_the_next_product() {
        let documents = folded([
            registered(false),
            added("S", "S"),
            received("S", 3),
            mug(ProductEvent::VariantRemoved { sku: sku("S") }),
            Fact::Product(
                sku("CUP"),
                ProductEvent::Registered { name: Name::new("Cup").expect("a name"), description: None, draft: false },
            ),
            Fact::Product(sku("CUP"), ProductEvent::VariantAdded { sku: sku("S"), options: Options::new() }),
        ]);
        assert_eq!((documents["MUG"].available, documents["CUP"].available), (0, 3));
        assert_eq!(documents.len(), 2);
    }

    #[test]
    fn what_is_shipped_and_not_returned_is_sold_and_counted_once() {
        let mut documents = folded([registered(false), received("MUG", 9), shipped("MUG", 5), returned("MUG", 2)]);
        assert_eq!(documents["MUG"].sold, 3.0);
        // After a crash between documents and checkpoint.
        again(&mut documents, 3, shipped("MUG", 5));
        again(&mut documents, 4, returned("MUG", 2));
        assert_eq!((documents["MUG"].sold, documents["MUG"].available), (3.0, 2));
    }

    #[test]
    fn what_says_nothing_new_is_not_written() {
        let documents = folded([registered(false), received("MUG", 9)]);
        let mut changes = Changes::default();
        changes.load(documents.into_values().collect()).expect("they can be read");
        let event = StockEvent::BackOrdersLimited { up_to: units(5), available_after: units(9) };
        changes.fold(&Event { position: 3, fact: Fact::Stock(sku("MUG"), event) });
        assert!(!changes.known[&sku("MUG")].is_changed);
    }

    #[test]
    fn attributes_are_found_by_unless_they_are_prose() {
        let text = |text: &str| AttributeValue::Text(Text::new(text).expect("a valid value"));
        let attributes = [
            ("material".parse().expect("a name"), text("Enamel")),
            ("care".parse().expect("a name"), text(&"Wash by hand.".repeat(20))),
            ("pieces".parse().expect("a name"), AttributeValue::Integer(6)),
        ];
        let documents = folded([registered(false), mug(ProductEvent::AttributesSet { attributes: attributes.into() })]);
        let found: Vec<_> =
            documents["MUG"].attributes.iter().map(|(name, values)| (name.as_str(), &values[0])).collect();
        assert_eq!(found, [("material", &"Enamel".to_owned()), ("pieces", &"6".to_owned())]);
    }
}

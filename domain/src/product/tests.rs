//! What the tests of all stories share, a product's life as a whole, and the laws under random commands.

use super::*;
use crate::Currency;
use crate::scenario::{given, handle};
use crate::text::Text;
use proptest::prelude::*;
use serde_json::json;

pub fn name(text: &str) -> Name {
    Name::new(text).expect("a valid name")
}

pub fn sku(text: &str) -> Sku {
    text.parse().expect("a valid SKU")
}

pub fn slug(text: &str) -> Slug {
    text.parse().expect("a valid slug")
}

pub fn option(text: &str) -> OptionName {
    text.parse().expect("a valid name")
}

pub fn value(text: &str) -> OptionValue {
    Text::new(text).expect("a valid value")
}

pub fn size(text: &str) -> Options {
    Options::from([(option("size"), value(text))])
}

pub fn pence(amount_minor: i64) -> Money {
    Money::new(amount_minor, Currency::GBP)
}

pub fn euro(amount_minor: i64) -> Money {
    Money::new(amount_minor, Currency::from_code("EUR").expect("EUR is in ISO 4217"))
}

pub fn media(count: usize) -> Vec<Medium> {
    let url = |n| format!("https://cdn.example/{n}.jpg").parse().expect("a valid URL");
    (0..count).map(|n| Medium { kind: MediaKind::Image, url: url(n), alternative_text: None }).collect()
}

pub fn registered() -> ProductEvent {
    ProductEvent::Registered { name: name("MUG"), description: None, draft: false }
}

pub fn drafted() -> ProductEvent {
    ProductEvent::Registered { name: name("MUG"), description: None, draft: true }
}

pub fn withdrawn() -> ProductEvent {
    ProductEvent::Withdrawn { reason: reason() }
}

/// `MUG-L` for `L`.
pub fn added(text: &str) -> ProductEvent {
    ProductEvent::VariantAdded { sku: sku(&format!("MUG-{text}")), options: size(text) }
}

fn reason() -> Reason {
    Reason::new("sold out for good").expect("a valid reason")
}

fn register(text: &str) -> ProductCommand {
    ProductCommand::Register { name: name(text), description: None, draft: false }
}

fn draft(text: &str) -> ProductCommand {
    ProductCommand::Register { name: name(text), description: None, draft: true }
}

fn describe(text: &str) -> ProductCommand {
    ProductCommand::Describe { name: name(text), description: None }
}

#[test]
fn a_product_is_registered_once() {
    given::<Product>([]).when(register("MUG")).then(registered());
    given::<Product>([registered()]).when(register("MUG")).then_nothing();
    given::<Product>([registered()])
        .when(register("CUP"))
        .then_refused(ProductError::RegisteredDifferently { name: name("MUG") });
}

#[test]
fn a_draft_is_published_once() {
    let published = ProductEvent::Published { name: name("MUG") };
    given::<Product>([]).when(draft("MUG")).then(drafted());
    given::<Product>([drafted()]).when(ProductCommand::Publish).then(published.clone());
    given::<Product>([drafted(), published.clone()]).when(ProductCommand::Publish).then_nothing();
    given::<Product>([registered()]).when(ProductCommand::Publish).then_nothing();
    given::<Product>([drafted(), published]).when(draft("MUG")).then_nothing();
    given::<Product>([drafted()])
        .when(register("MUG"))
        .then_refused(ProductError::RegisteredDifferently { name: name("MUG") });
    given::<Product>([]).when(ProductCommand::Publish).then_refused(ProductError::Unknown);
}

#[test]
fn what_was_published_is_no_draft_again() {
    given::<Product>([drafted()]).when(ProductCommand::KeepDraft).then_nothing();
    given::<Product>([registered()]).when(ProductCommand::KeepDraft).then_refused(ProductError::Published);
    given::<Product>([]).when(ProductCommand::KeepDraft).then_refused(ProductError::Unknown);
}

#[test]
fn a_description_replaces_the_former() {
    given::<Product>([registered()])
        .when(describe("CUP"))
        .then(ProductEvent::Described { name: name("CUP"), description: None });
    given::<Product>([registered()]).when(describe("MUG")).then_nothing();
    given::<Product>([]).when(describe("MUG")).then_refused(ProductError::Unknown);
}

#[test]
fn a_withdrawn_product_changes_no_more() {
    let withdraw = || ProductCommand::Withdraw { reason: reason() };
    given::<Product>([registered()]).when(withdraw()).then(withdrawn());
    given::<Product>([registered(), withdrawn()]).when(withdraw()).then_nothing();
    given::<Product>([]).when(withdraw()).then_refused(ProductError::Unknown);
    for command in [
        describe("CUP"),
        ProductCommand::Price { price: pence(1) },
        ProductCommand::Publish,
        ProductCommand::KeepDraft,
        ProductCommand::SetSlug { slug: slug("mug") },
        ProductCommand::SetTaxClass { tax_class: "books".parse().expect("a valid tax class") },
        ProductCommand::SetAttributes {
            attributes: [("new".parse().expect("a valid name"), AttributeValue::Flag(true))].into(),
        },
        ProductCommand::SetMedia { media: media(1) },
        ProductCommand::Categorise { categories: ["home".parse().expect("a valid id")].into() },
    ] {
        given::<Product>([registered(), withdrawn()]).when(command).then_refused(ProductError::Withdrawn);
    }
    for command in [describe("MUG"), ProductCommand::Categorise { categories: BTreeSet::new() }] {
        given::<Product>([registered(), withdrawn()]).when(command).then_nothing();
    }
}

#[test]
fn what_a_withdrawn_product_came_in_can_still_be_put_on_record() {
    let add = ProductCommand::AddVariant { sku: sku("MUG-L"), options: size("L") };
    given::<Product>([registered(), withdrawn()]).when(add).then(added("L"));
    let price = ProductCommand::PriceVariant { sku: sku("MUG-L"), price: pence(1) };
    let priced = ProductEvent::VariantPriced { sku: sku("MUG-L"), price: pence(1), previous: None };
    given::<Product>([registered(), added("L"), withdrawn()]).when(price).then(priced);
    let remove = ProductCommand::RemoveVariant { sku: sku("MUG-L") };
    let removed = ProductEvent::VariantRemoved { sku: sku("MUG-L") };
    given::<Product>([registered(), added("L"), withdrawn()]).when(remove).then(removed);
}

/// Golden: events as they were stored before there were drafts, variants and prices in several currencies.
#[test]
fn the_first_stored_events_are_still_read() {
    let stored = [
        json!({"Registered": {"name": "MUG", "description": null}}),
        json!({"Priced": {"price": {"amount_minor": 250, "currency": "GBP"}, "previous": null}}),
    ];
    let events = stored.clone().map(|event| serde_json::from_value::<ProductEvent>(event).expect("it can be read"));
    assert_eq!(events.clone().map(|event| serde_json::to_value(event).expect("it has a JSON form")), stored);
    let product: Product = crate::scenario::state(events);
    assert!(product.is_on_sale(&sku("MUG")));
    assert_eq!(product.price(&sku("MUG"), Currency::GBP).map(|price| price.unit_price), Some(pence(250)));
}

fn any_command() -> impl Strategy<Value = ProductCommand> {
    let variant = || "MUG-[A-C]".prop_map(|text| sku(&text));
    let money = || prop_oneof![(-1_i64..3).prop_map(pence), (1_i64..3).prop_map(euro)];
    let options = prop::collection::btree_map("size|colour", "[a-bA-B]", 0..3)
        .prop_map(|options| options.into_iter().map(|(name, text)| (option(&name), value(&text))).collect::<Options>());
    let category = "[A-C]".prop_map(|text| text.parse().expect("a valid id"));
    prop_oneof![
        4 => ("[A-C]", any::<bool>()).prop_map(|(text, is_draft)| if is_draft { draft(&text) } else { register(&text) }),
        1 => "[A-C]".prop_map(|text| describe(&text)),
        2 => money().prop_map(|price| ProductCommand::Price { price }),
        1 => Just(ProductCommand::Publish),
        1 => Just(ProductCommand::KeepDraft),
        1 => Just(ProductCommand::Withdraw { reason: reason() }),
        6 => (variant(), options).prop_map(|(sku, options)| ProductCommand::AddVariant { sku, options }),
        1 => variant().prop_map(|sku| ProductCommand::RemoveVariant { sku }),
        2 => (variant(), money()).prop_map(|(sku, price)| ProductCommand::PriceVariant { sku, price }),
        1 => (variant(), money())
            .prop_map(|(sku, price)| ProductCommand::RemoveVariantPrice { sku, currency: price.currency }),
        1 => "[a-c]".prop_map(|text| ProductCommand::SetSlug { slug: slug(&text) }),
        1 => "[a-c]".prop_map(|text| ProductCommand::SetTaxClass { tax_class: text.parse().expect("a valid class") }),
        1 => (0_usize..3).prop_map(|count| ProductCommand::SetMedia { media: media(count) }),
        1 => prop::collection::btree_map("[a-c]", -1_i64..2, 0..3).prop_map(|numbers| {
            let number = |(name, number): (String, _)| {
                (name.parse().expect("a valid name"), AttributeValue::Integer(number))
            };
            ProductCommand::SetAttributes { attributes: numbers.into_iter().map(number).collect() }
        }),
        1 => prop::collection::btree_set(category, 0..3)
            .prop_map(|categories| ProductCommand::Categorise { categories }),
    ]
}

/// Checks what must hold after every event.
fn holds(product: &Product) -> Result<(), TestCaseError> {
    let options: Vec<_> = product.variants.values().map(|variant| &variant.options).collect();
    for (n, mine) in options.iter().enumerate() {
        prop_assert!(!mine.is_empty());
        for others in &options[n + 1..] {
            prop_assert!(mine.keys().eq(others.keys()));
            let spelt = |options: &Options| options.values().map(|v| v.as_str().to_lowercase()).collect::<Vec<_>>();
            prop_assert_ne!(spelt(mine), spelt(others));
        }
    }
    for sku in product.variants.keys().chain([&sku("MUG")]) {
        let price = product.price(sku, Currency::GBP);
        prop_assert!(price.is_none_or(|price| price.unit_price.amount_minor > 0));
        prop_assert!(!product.is_on_sale(sku) || product.line_name(sku).is_some());
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_retry_changes_nothing(commands in prop::collection::vec(any_command(), 0..40)) {
        let mut product = Product::default();
        for command in commands {
            let before = product.clone();
            match handle(&mut product, command.clone()) {
                Err(_) => prop_assert_eq!(&product, &before),
                Ok(events) => {
                    let mut replayed = before;
                    for event in events {
                        let stored = serde_json::to_string(&event).expect("an event has a JSON form");
                        replayed.apply(serde_json::from_str(&stored).expect("it is read back"));
                    }
                    prop_assert_eq!(&replayed, &product);
                    holds(&product)?;
                    prop_assert_eq!(handle(&mut product, command), Ok(vec![]));
                    prop_assert_eq!(&replayed, &product);
                }
            }
        }
        let snapshot = serde_json::to_value(&product).expect("a state has a JSON form");
        prop_assert_eq!(serde_json::from_value::<Product>(snapshot).expect("it is read back"), product);
    }
}

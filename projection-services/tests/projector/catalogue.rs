//! The rows of the catalogue are those of the aggregates, however the events fall into batches.

use crate::shop::Shop;
use crate::trade::{Decided, Outcome, decide};
use kontor_domain::category::{CategoryCommand, CategoryTree};
use kontor_domain::product::{AttributeValue, MediaKind, Medium, Options, Product, ProductCommand};
use kontor_domain::text::{Name, Reason, Text};
use kontor_domain::{CategoryId, Currency, Money};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

const PRODUCTS: [&str; 4] = ["CUP", "MUG", "POT", "TIN"];
const CATEGORIES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// A catalogue that is edited at random, decided by the rules of the domain.
pub struct Editor {
    random: StdRng,
    products: BTreeMap<&'static str, Product>,
    tree: CategoryTree,
    /// Which categories each product is in: without those that were removed since.
    memberships: BTreeMap<String, BTreeSet<String>>,
}

impl Editor {
    pub fn new(seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed);
        Self { random, products: BTreeMap::new(), tree: CategoryTree::default(), memberships: BTreeMap::new() }
    }

    /// The outcome of the next command that is not refused and changes something.
    pub fn next(&mut self) -> Outcome {
        loop {
            let decided = if self.random.random_range(0..4) == 0 { self.category() } else { self.product() };
            if !decided.events.is_empty() {
                self.keep_memberships(&decided);
                return vec![decided];
            }
        }
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.random.random_range(0..of.len())]
    }

    fn category(&mut self) -> Decided {
        let parent = [None, Some(self.pick(&CATEGORIES))][self.random.random_range(0..2)].map(id);
        let (chosen, number) = (self.pick(&CATEGORIES), self.random.random_range(0..9));
        let (category, name) = (id(chosen), Name::new(&format!("No. {number}")).expect("a valid name"));
        let slug = format!("{chosen}-{number}").parse().expect("a valid slug");
        let command = match self.random.random_range(0..7) {
            0..3 => CategoryCommand::Create { category, name, slug, parent },
            3 => CategoryCommand::Rename { category, name, slug },
            4 => CategoryCommand::Move { category, parent },
            _ => CategoryCommand::Remove { category },
        };
        decide(&mut self.tree, "main".to_owned(), command)
    }

    fn product(&mut self) -> Decided {
        let code = self.pick(&PRODUCTS);
        let number = self.random.random_range(1..4);
        // Few SKUs, which wander from product to product.
        let sku = format!("VARIANT-{number}").parse().expect("a valid SKU");
        let is_of_another =
            self.products.iter().any(|(other, product)| *other != code && product.options(&sku).is_some());
        let currency = self.pick(&["GBP", "EUR"]);
        let price = Money::new(number, Currency::from_code(currency).expect("in ISO 4217"));
        let name = Name::new(&format!("No. {number}")).expect("a valid name");
        let categories: BTreeSet<_> = (0..number).map(|_| id(self.pick(&CATEGORIES))).collect();
        let command = match self.random.random_range(0..24) {
            0..4 => ProductCommand::Register { name, description: None, draft: number == 1 },
            4 => ProductCommand::Describe { name, description: None },
            5..7 => ProductCommand::Price { price },
            7 => ProductCommand::Publish,
            8..13 if !is_of_another => {
                let size = Text::new(&format!("{number}")).expect("a valid value");
                let options = Options::from([("size".parse().expect("a valid name"), size)]);
                ProductCommand::AddVariant { sku, options }
            }
            13..15 => ProductCommand::RemoveVariant { sku },
            15..17 => ProductCommand::PriceVariant { sku, price },
            17 => ProductCommand::RemoveVariantPrice { sku, currency: price.currency },
            18 => ProductCommand::SetSlug { slug: format!("{code}-{number}").to_lowercase().parse().expect("a slug") },
            19 => ProductCommand::SetTaxClass { tax_class: format!("class-{number}").parse().expect("a tax class") },
            20 => ProductCommand::SetAttributes {
                attributes: [("pieces".parse().expect("a valid name"), AttributeValue::Integer(number))].into(),
            },
            21 => {
                let url = format!("https://cdn.example/{number}").parse().expect("a valid URL");
                ProductCommand::SetMedia { media: vec![Medium { kind: MediaKind::Image, url, alternative_text: None }] }
            }
            22 if self.random.random_range(0..9) == 0 => {
                ProductCommand::Withdraw { reason: Reason::new("broken").expect("a valid reason") }
            }
            _ if self.tree.check(&categories).is_ok() => ProductCommand::Categorise { categories },
            _ => ProductCommand::Publish,
        };
        decide(self.products.entry(code).or_default(), code.to_owned(), command)
    }

    fn keep_memberships(&mut self, decided: &Decided) {
        for (_, payload) in &decided.events {
            let event: Value = serde_json::from_str(payload).expect("JSON");
            if let Some(categories) = event.pointer("/Categorised/categories") {
                let categories = serde_json::from_value(categories.clone()).expect("ids");
                self.memberships.insert(decided.aggregate_id.clone(), categories);
            }
            if let (Some(gone), "category-tree") = (event.pointer("/Removed/category"), decided.aggregate_type) {
                let gone = gone.as_str().expect("an id");
                for categories in self.memberships.values_mut() {
                    categories.remove(gone);
                }
            }
        }
    }

    /// Products by their codes, in the form of [`kept`].
    fn products(&self) -> Value {
        let registered = self.products.iter().filter(|(_, product)| product.described().is_some());
        let rows = registered.map(|(code, product)| {
            let state = serde_json::to_value(product).expect("a state has a JSON form");
            let categories = self.memberships.get(*code).cloned().unwrap_or_default();
            let row = json!({
                "name": state["described"][0], "stage": state["stage"], "slug": state["slug"],
                "tax_class": state["tax_class"], "prices": state["prices"], "variants": state["variants"],
                "variant_count": state["variants"].as_object().map(Map::len), "attributes": state["attributes"],
                "reason": (state["stage"] == "withdrawn").then_some("broken"), "media": state["media"], "categories": categories, "listed_in": categories,
            });
            ((*code).to_owned(), row)
        });
        Value::Object(rows.collect())
    }
}

fn id(text: &str) -> CategoryId {
    text.parse().expect("a valid id")
}

/// What the read model has: products, and categories as the tree's state has them.
async fn kept(shop: &Shop) -> (Value, Value) {
    let row: (String, String) = sqlx::query_as(
        "select (select coalesce(json_object_agg(p.sku, json_build_object(
                 'name', name, 'slug', slug, 'tax_class', tax_class, 'prices', prices, 'variant_count', variants,
                 'stage', case when withdrawn then 'withdrawn' when draft then 'draft' else 'published' end,
                 'reason', withdrawal_reason, 'attributes', attributes, 'media', media, 'categories', categories,
                 'listed_in', (select coalesce(json_agg(m.category order by m.category), '[]')
                               from projections.listed m where m.sku = p.sku and m.category <> ''),
                 'variants', (select coalesce(json_object_agg(v.sku, json_build_object('options', v.options,
                                  'prices', v.prices)), '{}') from projections.variants v where v.product = p.sku)
             )), '{}') from projections.products p)::text,
             (select coalesce(json_object_agg(category, json_build_object('name', name, 'slug', slug, 'parent', parent)),
                 '{}') from projections.categories)::text",
    )
    .fetch_one(&shop.database)
    .await
    .expect("rows");
    (serde_json::from_str(&row.0).expect("JSON"), serde_json::from_str(&row.1).expect("JSON"))
}

#[tokio::test]
async fn the_rows_of_the_catalogue_are_the_state_of_its_aggregates() {
    let mut shop = Shop::open().await;
    let projector = shop.projector().await;
    let mut editor = Editor::new(11);
    for commands in [1, 1, 40, 3, 60, 100, 1, 200, 25, 400] {
        let mut position = 0;
        for _ in 0..commands {
            position = shop.append(editor.next()).await;
        }
        shop.until_at("catalogue", position).await;
        let (products, categories) = kept(&shop).await;
        assert_eq!(products, editor.products(), "after {position} events");
        let tree = serde_json::to_value(&editor.tree).expect("a state has a JSON form");
        assert_eq!(categories, tree["categories"], "after {position} events");
    }
    projector.stop().await;
}

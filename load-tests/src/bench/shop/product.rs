//! The n-th product: what there is to know of it, and the events that have made it so.

use super::stream::{Decided, Stream};
use super::valid;
use crate::dice::Dice;
use kontor_domain::category::{CategoryCommand, CategoryTree};
use kontor_domain::product::{AttributeValue, Attributes, Product as Aggregate, ProductCommand};
use kontor_domain::sku::{SkuClaim, SkuCommand};
use kontor_domain::slug::{SlugClaim, SlugCommand};
use kontor_domain::text::{Description, Name, Text};
use kontor_domain::{CategoryId, CategoryTreeId, Currency, Money, Sku, Slug};
use std::collections::{BTreeMap, BTreeSet};

/// How many SKUs one product may have at most.
pub const SKUS_MAX: usize = 3;

const SIZES: [&str; SKUS_MAX] = ["S", "M", "L"];
/// What the largest costs more.
const LARGE_MINOR: i64 = 200;
const COLOURS: [&str; 8] = ["red", "blue", "green", "grey", "white", "black", "oak", "copper"];
const MATERIALS: [&str; 11] =
    ["Enamel", "Glass", "Linen", "Cotton", "Steel", "Brass", "Wicker", "Bamboo", "Woollen", "Paper", "Ceramic"];
const NOUNS: [&str; 23] = [
    "kettle", "teapot", "mug", "bowl", "plate", "vase", "lantern", "cushion", "blanket", "apron", "basket", "candle",
    "clock", "frame", "mirror", "doormat", "jug", "ladle", "napkin", "ornament", "parasol", "rug", "stool",
];
const DEPARTMENTS: usize = 20;
const SHELVES: usize = 9;

/// A product by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Product(pub usize);

impl Product {
    /// The one that is called so.
    pub fn called(code: &str) -> Option<Self> {
        code.strip_prefix('P')?.parse().ok().map(Product)
    }

    pub fn code(self) -> Sku {
        valid(format!("P{:06}", self.0).parse())
    }

    pub fn name(self) -> String {
        let [material, noun, colour] = self.words();
        format!("{material} {noun} {} in {colour}", self.0)
    }

    /// That its name has, besides its number. Their numbers have no common divisor, so all of them go together.
    fn words(self) -> [&'static str; 3] {
        [MATERIALS[self.0 % MATERIALS.len()], NOUNS[self.0 % NOUNS.len()], COLOURS[self.0 % COLOURS.len()]]
    }

    /// Of one unit: 3.95 to 63.95.
    pub fn price(self) -> Money {
        Money::new(395 + 100 * Dice::new(self.0 as u64).roll(61) as i64, Currency::GBP)
    }

    pub fn slug(self) -> Slug {
        valid(format!("article-{}", self.0).parse())
    }

    /// One of those below the departments.
    pub fn category(self) -> CategoryId {
        let (department, shelf) = (self.0 % DEPARTMENTS, self.0 / DEPARTMENTS % SHELVES);
        valid(format!("d{department:02}-{shelf}").parse())
    }

    /// Every tenth comes in three sizes.
    pub fn has_variants(self) -> bool {
        self.0.is_multiple_of(10)
    }

    /// What can be bought of it, and for how much: its variants, or itself.
    pub fn skus(self) -> Vec<(Sku, Money)> {
        let (code, price) = (self.code(), self.price());
        if !self.has_variants() {
            return vec![(code, price)];
        }
        let large = Money::new(price.amount_minor + LARGE_MINOR, price.currency);
        SIZES.map(|size| (valid(format!("{code}-{size}").parse()), if size == "L" { large } else { price })).into()
    }

    /// All that is said of it, in one append: its stream, and the claims to its slug and SKUs.
    pub(super) async fn registration(self) -> anyhow::Result<Vec<Decided>> {
        let code = self.code();
        let mut product = Stream::<Aggregate>::begin(&code);
        let description = valid(Description::new(&format!("{}: made to last, and easy to clean.", self.name())));
        let name = valid(Name::new(&self.name()));
        product.handle(ProductCommand::Register { name, description: Some(description), draft: false }).await?;
        if self.0.is_multiple_of(4) {
            let euros = Currency::from_code("EUR").expect("a currency");
            let price = Money::new(self.price().amount_minor * 6 / 5, euros);
            product.handle(ProductCommand::Price { price }).await?;
        }
        product.handle(ProductCommand::Price { price: self.price() }).await?;
        product.handle(ProductCommand::SetSlug { slug: self.slug() }).await?;
        product.handle(ProductCommand::SetAttributes { attributes: self.attributes() }).await?;
        product.handle(ProductCommand::Categorise { categories: BTreeSet::from([self.category()]) }).await?;
        let mut claims = Vec::new();
        for (size, (sku, price)) in SIZES.into_iter().zip(self.skus()).filter(|_| self.has_variants()) {
            let options = BTreeMap::from([(valid("size".parse()), valid(Text::new(size)))]);
            product.handle(ProductCommand::AddVariant { sku: sku.clone(), options }).await?;
            if price != self.price() {
                product.handle(ProductCommand::PriceVariant { sku: sku.clone(), price }).await?;
            }
            let mut claim = Stream::<SkuClaim>::begin(&sku);
            claim.handle(SkuCommand::Claim { product: code.clone(), is_code: false }).await?;
            claims.push(claim.decided());
        }
        let mut slug = Stream::<SlugClaim>::begin(self.slug().as_str());
        slug.handle(SlugCommand::Claim { product: code }).await?;
        Ok([product.decided(), slug.decided()].into_iter().chain(claims).collect())
    }

    fn attributes(self) -> Attributes {
        let colour = AttributeValue::Text(valid(Text::new(COLOURS[self.0 % COLOURS.len()])));
        let weight = AttributeValue::Integer(50 + 10 * (self.0 % 200) as i64);
        BTreeMap::from([(valid("colour".parse()), colour), (valid("weight-g".parse()), weight)])
    }
}

/// Every word of the products' names, in small letters: each is in an eleventh to a twenty-third of them.
pub fn words() -> impl Iterator<Item = String> {
    MATERIALS.iter().chain(&NOUNS).chain(&COLOURS).map(|word| word.to_lowercase())
}

/// All categories, those with products first.
pub fn categories() -> Vec<CategoryId> {
    let below = |department| (0..SHELVES).map(move |shelf| format!("d{department:02}-{shelf}"));
    let departments = (0..DEPARTMENTS).map(|department| format!("d{department:02}"));
    (0..DEPARTMENTS).flat_map(below).chain(departments).map(|category| valid(category.parse())).collect()
}

/// The tree of categories, in one append.
pub(super) async fn tree() -> anyhow::Result<Vec<Decided>> {
    let mut tree = Stream::<CategoryTree>::begin(CategoryTreeId::MAIN);
    let mut top_first = categories();
    top_first.rotate_right(DEPARTMENTS);
    for category in top_first {
        let parent = category.as_str().split_once('-').map(|(department, _)| valid(department.parse()));
        let name = valid(Name::new(&format!("Category {category}")));
        let slug = valid(category.as_str().parse());
        tree.handle(CategoryCommand::Create { category, name, slug, parent }).await?;
    }
    Ok(vec![tree.decided()])
}

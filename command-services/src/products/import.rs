//! One row of a catalogue file: a product or a variant with all that is said of it, in one append.

use super::{handle, listing, variants};
use crate::executor::{Decision, Stop, Unit};
use crate::refusal::Refusal;
use kontor_domain::product::{Attributes, Medium, Options, Product, ProductCommand, ProductError};
use kontor_domain::text::{Description, Name, Reason};
use kontor_domain::{CategoryId, Money, Sku, Slug, TaxClass};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// A row, of one kind or the other.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Row")]
pub enum ImportProduct {
    Product(Box<ProductRow>),
    Variant(VariantRow),
}

/// Makes a product or a variant what a row of a file says: new, or changed. What the row does not say stays as it is.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [example()]))]
#[serde(deny_unknown_fields)]
struct Row {
    sku: Sku,
    /// The product that the SKU is a variant of; absent: it is a product.
    product: Option<Sku>,
    name: Option<Name>,
    description: Option<Description>,
    status: Option<Status>,
    /// Why the product was withdrawn; with that status only.
    reason: Option<Reason>,
    slug: Option<Slug>,
    tax_class: Option<TaxClass>,
    #[serde(default)]
    prices: Vec<Money>,
    options: Option<Options>,
    categories: Option<BTreeSet<CategoryId>>,
    attributes: Option<Attributes>,
    media: Option<Vec<Medium>>,
}

/// A row of a product. The path names it; one of a variant has other fields.
fn example() -> Value {
    json!({
        "name": "Enamel mug", "status": "published", "slug": "enamel-mug", "tax_class": "standard",
        "prices": [{"amount_minor": 1250, "currency": "GBP"}], "attributes": {"material": {"text": "Enamel"}},
    })
}

impl JsonSchema for ImportProduct {
    fn schema_name() -> Cow<'static, str> {
        "ImportProduct".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Row::json_schema(generator)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Status {
    Draft,
    Published,
    Withdrawn,
}

/// What a row says of how far the product is.
#[derive(Debug, Clone, PartialEq)]
enum Standing {
    Draft,
    Published,
    Withdrawn { reason: Reason },
}

#[derive(Debug)]
pub struct ProductRow {
    sku: Sku,
    name: Option<Name>,
    description: Option<Description>,
    standing: Option<Standing>,
    slug: Option<Slug>,
    tax_class: Option<TaxClass>,
    prices: Vec<Money>,
    categories: Option<BTreeSet<CategoryId>>,
    attributes: Option<Attributes>,
    media: Option<Vec<Medium>>,
}

#[derive(Debug)]
pub struct VariantRow {
    sku: Sku,
    product: Sku,
    options: Option<Options>,
    prices: Vec<Money>,
}

impl TryFrom<Row> for ImportProduct {
    type Error = String;

    fn try_from(row: Row) -> Result<Self, String> {
        let Row { sku, product, name, description, status, reason, slug, tax_class, prices, .. } = row;
        let Row { options, categories, attributes, media, .. } = row;
        let Some(product) = product else {
            if options.is_some() {
                return Err("options are those of a variant: say which product it is of, with product".to_owned());
            }
            let standing = standing(status, reason)?;
            let row =
                ProductRow { sku, name, description, standing, slug, tax_class, prices, categories, attributes, media };
            return Ok(Self::Product(Box::new(row)));
        };
        let of_product = [
            ("name", name.is_some()),
            ("description", description.is_some()),
            ("status", status.is_some()),
            ("reason", reason.is_some()),
            ("slug", slug.is_some()),
            ("tax_class", tax_class.is_some()),
            ("categories", categories.is_some()),
            ("attributes", attributes.is_some()),
            ("media", media.is_some()),
        ];
        match of_product.into_iter().find(|(_, is_given)| *is_given) {
            Some((field, _)) => Err(format!("{field} is said of a product, not of a variant such as {sku}")),
            None => Ok(Self::Variant(VariantRow { sku, product, options, prices })),
        }
    }
}

fn standing(status: Option<Status>, reason: Option<Reason>) -> Result<Option<Standing>, String> {
    match (status, reason) {
        (Some(Status::Withdrawn), Some(reason)) => Ok(Some(Standing::Withdrawn { reason })),
        (Some(Status::Withdrawn), None) => Err("reason is missing: why the product was withdrawn".to_owned()),
        (_, Some(_)) => Err("reason says why a product was withdrawn: say that it was, with status".to_owned()),
        (Some(Status::Draft), None) => Ok(Some(Standing::Draft)),
        (Some(Status::Published), None) => Ok(Some(Standing::Published)),
        (None, None) => Ok(None),
    }
}

impl Decision for ImportProduct {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        match self {
            ImportProduct::Product(row) => row.decide(unit).await,
            ImportProduct::Variant(row) => row.decide(unit).await,
        }
    }
}

impl Decision for ProductRow {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        let sku = &self.sku;
        if let Some(categories) = &self.categories {
            listing::check_categories(unit, categories).await?;
        }
        // Slugs come after SKUs, and those after products: so they must be held.
        let is_new = self.say_words(unit).await?;
        for command in self.changes() {
            handle(unit, sku, command).await?;
        }
        let slugs = match &self.slug {
            Some(slug) => listing::set_slug(unit, sku, slug).await?,
            None => vec![],
        };
        if let Some(standing) = &self.standing {
            handle(unit, sku, standing.command()).await?; // The last: what was withdrawn does not change any more.
        }
        if is_new {
            variants::keep_free(unit, sku).await?;
        }
        listing::claim_slugs(unit, slugs).await
    }
}

impl ProductRow {
    /// Registers the product, or describes it anew. `true`: there was none.
    async fn say_words(&self, unit: &mut Unit<'_>) -> Result<bool, Stop> {
        let held = unit.state::<Product>(self.sku.as_str()).await?.described();
        let held = held.map(|(name, description)| (name.clone(), description.cloned()));
        let is_new = held.is_none();
        let (name, words) = held.map_or((None, None), |(name, words)| (Some(name), words));
        let name = self.name.clone().or(name).ok_or(Refusal::Product(ProductError::Unknown))?;
        let description = self.description.clone().or(words);
        let command = match is_new {
            true => ProductCommand::Register { name, description, draft: self.standing == Some(Standing::Draft) },
            false => ProductCommand::Describe { name, description },
        };
        handle(unit, &self.sku, command).await?;
        Ok(is_new)
    }

    /// What the row says that no other aggregate must hear of, but for its standing.
    fn changes(&self) -> impl Iterator<Item = ProductCommand> {
        let tax_class = self.tax_class.clone().map(|tax_class| ProductCommand::SetTaxClass { tax_class });
        let categories = self.categories.clone().map(|categories| ProductCommand::Categorise { categories });
        let attributes = self.attributes.clone().map(|attributes| ProductCommand::SetAttributes { attributes });
        let media = self.media.clone().map(|media| ProductCommand::SetMedia { media });
        let prices = self.prices.iter().map(|&price| ProductCommand::Price { price });
        prices.chain([tax_class, categories, attributes, media].into_iter().flatten())
    }
}

impl Standing {
    fn command(&self) -> ProductCommand {
        match self {
            Standing::Draft => ProductCommand::KeepDraft,
            Standing::Published => ProductCommand::Publish,
            Standing::Withdrawn { reason } => ProductCommand::Withdraw { reason: reason.clone() },
        }
    }
}

impl Decision for VariantRow {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        let Self { sku, product, .. } = self;
        variants::hold(unit, product, sku).await?;
        let held = unit.state::<Product>(product.as_str()).await?.options(sku).cloned();
        let options = self.options.clone().or(held).unwrap_or_default();
        let is_new = variants::add(unit, product, sku, &options).await?;
        for &price in &self.prices {
            handle(unit, product, ProductCommand::PriceVariant { sku: sku.clone(), price }).await?;
        }
        if is_new {
            variants::claim_for(unit, product, sku).await?;
        }
        Ok(())
    }
}

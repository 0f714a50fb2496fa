//! A product as customers see it: its words and pictures, its variants, their prices, whether it is on sale.
//!
//! Without variants a product is its own only variant: its code is a SKU. That a SKU is of one product only, that a slug
//! is, and that a category exists, is for [`crate::sku`], [`crate::slug`] and [`crate::category`] to say, in the same append.

mod attributes;
mod listing;
mod media;
mod prices;
#[cfg(test)]
mod tests;
mod variants;

pub use attributes::{AttributeValue, Attributes, Decimal};
pub use media::{HttpsUrl, MediaKind, Medium};
pub use variants::{OptionValue, Options};

use crate::money::Money;
use crate::text::{Description, Name, Reason};
use crate::{CategoryId, Currency, OptionName, Sku, Slug, TaxClass};
use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use prices::Prices;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Not;
use variants::Variant;

pub use listing::{ATTRIBUTES_MAX, CATEGORIES_MAX, MEDIA_MAX};
pub use variants::{OPTIONS_MAX, VARIANTS_MAX};

/// What has happened to one product. Stored and published: a field may be added, none renamed or removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ProductEvent {
    /// The product exists from now on, without a price. It is on sale, unless it is a `draft`.
    Registered {
        name: Name,
        description: Option<Description>,
        #[serde(default, skip_serializing_if = "Not::not")]
        draft: bool,
    },
    /// Name and description are now these.
    Described { name: Name, description: Option<Description> },
    /// One unit of each variant without a price of its own now costs `price`. `previous` is what it cost before in the same
    /// currency; the prices in others still hold.
    Priced { price: Money, previous: Option<Money> },
    /// The draft is on sale.
    Published { name: Name },
    /// The product is no longer sold.
    Withdrawn { reason: Reason },
    /// The product comes in this variant, too, with a SKU of its own. Its first variant takes the place of the product's
    /// code, which is not sold any more.
    VariantAdded { sku: Sku, options: Options },
    /// The product does not come in this variant any more.
    VariantRemoved { sku: Sku },
    /// One unit of this variant now costs `price`, whatever the product costs in that currency.
    VariantPriced { sku: Sku, price: Money, previous: Option<Money> },
    /// One unit of this variant costs what the product does again, in the currency of `previous`: its own price until now.
    VariantPriceRemoved { sku: Sku, previous: Money },
    /// The product's page has this address now.
    SlugSet { slug: Slug, previous: Option<Slug> },
    /// The product is taxed like this.
    TaxClassSet { tax_class: TaxClass, previous: TaxClass },
    /// These are all its attributes now.
    AttributesSet { attributes: Attributes },
    /// These are all its pictures, films and documents now, the first to be shown first.
    MediaSet { media: Vec<Medium> },
    /// These are all the categories it is in now.
    Categorised { categories: BTreeSet<CategoryId> },
}

impl DomainEvent for ProductEvent {
    fn event_type(&self) -> String {
        match self {
            ProductEvent::Registered { .. } => "Registered",
            ProductEvent::Described { .. } => "Described",
            ProductEvent::Priced { .. } => "Priced",
            ProductEvent::Published { .. } => "Published",
            ProductEvent::Withdrawn { .. } => "Withdrawn",
            ProductEvent::VariantAdded { .. } => "VariantAdded",
            ProductEvent::VariantRemoved { .. } => "VariantRemoved",
            ProductEvent::VariantPriced { .. } => "VariantPriced",
            ProductEvent::VariantPriceRemoved { .. } => "VariantPriceRemoved",
            ProductEvent::SlugSet { .. } => "SlugSet",
            ProductEvent::TaxClassSet { .. } => "TaxClassSet",
            ProductEvent::AttributesSet { .. } => "AttributesSet",
            ProductEvent::MediaSet { .. } => "MediaSet",
            ProductEvent::Categorised { .. } => "Categorised",
        }
        .to_owned()
    }

    fn event_version(&self) -> String {
        "1.0".to_owned()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum ProductCommand {
    Register {
        name: Name,
        description: Option<Description>,
        draft: bool,
    },
    Describe {
        name: Name,
        description: Option<Description>,
    },
    Price {
        price: Money,
    },
    Publish,
    /// The one who asks takes the product for a draft.
    KeepDraft,
    Withdraw {
        reason: Reason,
    },
    AddVariant {
        sku: Sku,
        options: Options,
    },
    RemoveVariant {
        sku: Sku,
    },
    PriceVariant {
        sku: Sku,
        price: Money,
    },
    RemoveVariantPrice {
        sku: Sku,
        currency: Currency,
    },
    SetSlug {
        slug: Slug,
    },
    SetTaxClass {
        tax_class: TaxClass,
    },
    SetAttributes {
        attributes: Attributes,
    },
    SetMedia {
        media: Vec<Medium>,
    },
    Categorise {
        categories: BTreeSet<CategoryId>,
    },
}

/// Why a product command was refused; nothing has changed. Each variant is one problem `type` over HTTP.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ProductError {
    #[error("no product has this SKU")]
    Unknown,
    #[error("the SKU already belongs to \"{name}\"")]
    RegisteredDifferently { name: Name },
    #[error("the product is on sale and cannot be a draft again")]
    Published,
    #[error("the product was withdrawn")]
    Withdrawn,
    #[error("a price must be above 0, is {price}")]
    PriceNotPositive { price: Money },
    #[error("the product has no variant {sku}")]
    UnknownVariant { sku: Sku },
    #[error("{sku} is a variant with other options")]
    VariantAddedDifferently { sku: Sku, options: Options },
    #[error("a product may have {VARIANTS_MAX} variants, and has them")]
    TooManyVariants,
    #[error("a variant has 1 to {OPTIONS_MAX} options, {count} were given")]
    OptionCount { count: usize },
    #[error("the other variants are told apart by {}, this one by {}", list(.expected), list(.found))]
    OtherOptions { expected: BTreeSet<OptionName>, found: BTreeSet<OptionName> },
    #[error("{sku} has the same options")]
    SameOptions { sku: Sku },
    #[error("{option} is \"{found}\", another variant spells it \"{expected}\"")]
    OptionSpelling { option: OptionName, expected: OptionValue, found: OptionValue },
    #[error("a product may have {ATTRIBUTES_MAX} attributes, {count} were given")]
    TooManyAttributes { count: usize },
    #[error("a product may have {MEDIA_MAX} media, {count} were given")]
    TooManyMedia { count: usize },
    #[error("a product may be in {CATEGORIES_MAX} categories, {count} were given")]
    TooManyCategories { count: usize },
}

fn list(names: &BTreeSet<OptionName>) -> String {
    names.iter().map(OptionName::as_str).collect::<Vec<_>>().join(", ")
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Product {
    described: Option<(Name, Option<Description>)>,
    stage: Stage,
    prices: Prices,
    tax_class: TaxClass,
    slug: Option<Slug>,
    variants: BTreeMap<Sku, Variant>,
    attributes: Attributes,
    media: Vec<Medium>,
    categories: BTreeSet<CategoryId>,
}

/// How far a product is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    #[default]
    Draft,
    Published,
    Withdrawn,
}

impl Product {
    /// Name and description; `None`: no such product is registered.
    pub fn described(&self) -> Option<(&Name, Option<&Description>)> {
        self.described.as_ref().map(|(name, description)| (name, description.as_ref()))
    }

    pub fn stage(&self) -> Stage {
        self.stage
    }

    pub fn slug(&self) -> Option<&Slug> {
        self.slug.as_ref()
    }

    /// What was withdrawn can be told again what it is. Of its variants more: what it came in may still be put on record, and
    /// a SKU be freed for another product.
    fn decide(&self, command: ProductCommand) -> Result<Option<ProductEvent>, ProductError> {
        let event = self.change(command)?;
        match &event {
            None
            | Some(
                ProductEvent::VariantAdded { .. }
                | ProductEvent::VariantRemoved { .. }
                | ProductEvent::VariantPriced { .. }
                | ProductEvent::VariantPriceRemoved { .. },
            ) => Ok(event),
            Some(_) if self.stage == Stage::Withdrawn => Err(ProductError::Withdrawn),
            Some(_) => Ok(event),
        }
    }

    fn change(&self, command: ProductCommand) -> Result<Option<ProductEvent>, ProductError> {
        match command {
            ProductCommand::Register { name, description, draft } => self.register(name, description, draft),
            ProductCommand::Describe { name, description } => self.describe(name, description),
            ProductCommand::Price { price } => self.set_price(price),
            ProductCommand::Publish => self.publish(),
            ProductCommand::KeepDraft => self.keep_draft(),
            ProductCommand::Withdraw { reason } => self.withdraw(reason),
            ProductCommand::AddVariant { sku, options } => self.add_variant(sku, options),
            ProductCommand::RemoveVariant { sku } => self.remove_variant(sku),
            ProductCommand::PriceVariant { sku, price } => self.set_price_of_variant(sku, price),
            ProductCommand::RemoveVariantPrice { sku, currency } => self.remove_price_of_variant(sku, currency),
            ProductCommand::SetSlug { slug } => self.set_slug(slug),
            ProductCommand::SetTaxClass { tax_class } => self.set_tax_class(tax_class),
            ProductCommand::SetAttributes { attributes } => self.set_attributes(attributes),
            ProductCommand::SetMedia { media } => self.set_media(media),
            ProductCommand::Categorise { categories } => self.categorise(categories),
        }
    }

    /// Opens the product. `None`: it is already registered with these words, and on sale if it should be.
    fn register(
        &self,
        name: Name,
        description: Option<Description>,
        draft: bool,
    ) -> Result<Option<ProductEvent>, ProductError> {
        let is_still_draft = self.stage == Stage::Draft;
        match &self.described {
            // A draft that was published since was a draft all the same.
            Some((held, words)) if *held == name && *words == description && (draft || !is_still_draft) => Ok(None),
            Some((held, _)) => Err(ProductError::RegisteredDifferently { name: held.clone() }),
            None => Ok(Some(ProductEvent::Registered { name, description, draft })),
        }
    }

    /// Changes the words. `None`: they already are these.
    fn describe(&self, name: Name, description: Option<Description>) -> Result<Option<ProductEvent>, ProductError> {
        let (held, words) = self.registered()?;
        if *held == name && *words == description {
            return Ok(None);
        }
        Ok(Some(ProductEvent::Described { name, description }))
    }

    /// Puts a draft on sale. `None`: it already is.
    fn publish(&self) -> Result<Option<ProductEvent>, ProductError> {
        let (name, _) = self.registered()?;
        match self.stage {
            Stage::Published => Ok(None),
            _ => Ok(Some(ProductEvent::Published { name: name.clone() })),
        }
    }

    /// Changes nothing: a product that was published stays so.
    fn keep_draft(&self) -> Result<Option<ProductEvent>, ProductError> {
        self.registered()?;
        match self.stage {
            Stage::Draft => Ok(None),
            Stage::Published => Err(ProductError::Published),
            Stage::Withdrawn => Err(ProductError::Withdrawn),
        }
    }

    /// Takes the product off sale, for good. `None`: it already is.
    fn withdraw(&self, reason: Reason) -> Result<Option<ProductEvent>, ProductError> {
        self.registered()?;
        Ok((self.stage != Stage::Withdrawn).then_some(ProductEvent::Withdrawn { reason }))
    }

    /// The words of a product that is there.
    fn registered(&self) -> Result<&(Name, Option<Description>), ProductError> {
        self.described.as_ref().ok_or(ProductError::Unknown)
    }
}

impl Aggregate for Product {
    const TYPE: &'static str = "product";
    type Command = ProductCommand;
    type Event = ProductEvent;
    type Error = ProductError;
    type Services = ();

    async fn handle(&mut self, command: ProductCommand, _: &(), sink: &EventSink<Self>) -> Result<(), ProductError> {
        if let Some(event) = self.decide(command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: ProductEvent) {
        match event {
            ProductEvent::Registered { name, description, draft } => {
                self.described = Some((name, description));
                self.stage = if draft { Stage::Draft } else { Stage::Published };
            }
            ProductEvent::Described { name, description } => self.described = Some((name, description)),
            ProductEvent::Priced { price, .. } => self.prices.set(price),
            ProductEvent::Published { .. } => self.stage = Stage::Published,
            ProductEvent::Withdrawn { .. } => self.stage = Stage::Withdrawn,
            ProductEvent::VariantAdded { sku, options } => drop(self.variants.insert(sku, Variant::new(options))),
            ProductEvent::VariantRemoved { sku } => drop(self.variants.remove(&sku)),
            ProductEvent::VariantPriced { sku, price, .. } => {
                if let Some(variant) = self.variants.get_mut(&sku) {
                    variant.prices.set(price);
                }
            }
            ProductEvent::VariantPriceRemoved { sku, previous } => {
                if let Some(variant) = self.variants.get_mut(&sku) {
                    variant.prices.remove(previous.currency);
                }
            }
            ProductEvent::SlugSet { slug, .. } => self.slug = Some(slug),
            ProductEvent::TaxClassSet { tax_class, .. } => self.tax_class = tax_class,
            ProductEvent::AttributesSet { attributes } => self.attributes = attributes,
            ProductEvent::MediaSet { media } => self.media = media,
            ProductEvent::Categorised { categories } => self.categories = categories,
        }
    }
}

//! Why a product command was refused, by the product or by the one that has its SKU or slug.

use super::Problem;
use super::kind::problems;
use kontor_domain::product::{ATTRIBUTES_MAX, CATEGORIES_MAX, MEDIA_MAX, OPTIONS_MAX, ProductError, VARIANTS_MAX};
use kontor_domain::sku::SkuError;
use kontor_domain::slug::SlugError;

problems! {
    /// No product has this SKU: register it first.
    UNKNOWN_PRODUCT = 404 "unknown-product", "There is no such product", [];
    /// A product is registered once. To change it, describe it; to put a draft on sale, publish it.
    REGISTERED_DIFFERENTLY = 409 "registered-differently", "The SKU belongs to another product", [name];
    /// What was on sale is not a draft again. To take it off sale, withdraw it.
    PRODUCT_PUBLISHED = 409 "product-published", "The product is on sale", [];
    /// A withdrawn product does not change any more.
    PRODUCT_WITHDRAWN = 409 "product-withdrawn", "The product was withdrawn", [];
    /// A product is not given away: its price is at least one minor unit.
    PRICE_NOT_POSITIVE = 422 "price-not-positive", "The price is not above 0", [field, price];
    /// The SKU is no variant of the product: add it first.
    UNKNOWN_VARIANT = 404 "unknown-variant", "The product has no such variant", [variant];
    /// A variant keeps its options. To give it others, remove it and add it again.
    VARIANT_ADDED_DIFFERENTLY = 409 "variant-added-differently", "The variant has other options", [variant, options];
    /// The number of variants is bounded: make it two products.
    TOO_MANY_VARIANTS = 409 "too-many-variants", "The product has as many variants as it may have", [max];
    /// A variant has options, or nobody could tell it from the others; but not more than a buyer can choose from.
    OPTION_COUNT = 422 "option-count", "The variant has too many options, or none", [count, max];
    /// All variants of a product are told apart by the same options.
    OTHER_OPTIONS = 409 "other-options", "The other variants are told apart by other options", [expected, found];
    /// No two variants of a product are alike.
    SAME_OPTIONS = 409 "same-options", "Another variant has the same options", [variant];
    /// One value is spelt in one way, or buyers would take it for two.
    OPTION_SPELLING = 409 "option-spelling", "Another variant spells the value otherwise", [option, expected, found];
    /// The number of attributes is bounded.
    TOO_MANY_ATTRIBUTES = 422 "too-many-attributes", "The product would have too many attributes", [count, max];
    /// The number of media is bounded.
    TOO_MANY_MEDIA = 422 "too-many-media", "The product would have too many media", [count, max];
    /// The number of categories that a product is in is bounded.
    TOO_MANY_CATEGORIES = 422 "too-many-categories", "The product would be in too many categories", [count, max];
    /// A SKU is a variant of one product. Remove it there first.
    SKU_TAKEN = 409 "sku-taken", "The SKU is a variant of another product", [sku, product];
    /// What is a product of its own is no variant of another.
    SKU_IS_PRODUCT = 409 "sku-is-product", "A product is called so", [sku];
    /// A slug is that of one product. Give the other one another slug first.
    SLUG_TAKEN = 409 "slug-taken", "Another product has the slug", [slug, product];
}

pub fn problem(error: ProductError, detail: String) -> Problem {
    match error {
        ProductError::Unknown => UNKNOWN_PRODUCT.problem(detail),
        ProductError::RegisteredDifferently { name } => REGISTERED_DIFFERENTLY.problem(detail).with("name", name),
        ProductError::Published => PRODUCT_PUBLISHED.problem(detail),
        ProductError::Withdrawn => PRODUCT_WITHDRAWN.problem(detail),
        ProductError::PriceNotPositive { price } => {
            PRICE_NOT_POSITIVE.problem(detail).with("field", "price").with("price", price)
        }
        ProductError::UnknownVariant { sku } => UNKNOWN_VARIANT.problem(detail).with("variant", sku),
        ProductError::VariantAddedDifferently { sku, options } => {
            VARIANT_ADDED_DIFFERENTLY.problem(detail).with("variant", sku).with("options", options)
        }
        ProductError::TooManyVariants => TOO_MANY_VARIANTS.problem(detail).with("max", VARIANTS_MAX),
        ProductError::OptionCount { count } => {
            OPTION_COUNT.problem(detail).with("count", count).with("max", OPTIONS_MAX)
        }
        ProductError::OtherOptions { expected, found } => {
            OTHER_OPTIONS.problem(detail).with("expected", expected).with("found", found)
        }
        ProductError::SameOptions { sku } => SAME_OPTIONS.problem(detail).with("variant", sku),
        ProductError::OptionSpelling { option, expected, found } => {
            OPTION_SPELLING.problem(detail).with("option", option).with("expected", expected).with("found", found)
        }
        ProductError::TooManyAttributes { count } => {
            TOO_MANY_ATTRIBUTES.problem(detail).with("count", count).with("max", ATTRIBUTES_MAX)
        }
        ProductError::TooManyMedia { count } => {
            TOO_MANY_MEDIA.problem(detail).with("count", count).with("max", MEDIA_MAX)
        }
        ProductError::TooManyCategories { count } => {
            TOO_MANY_CATEGORIES.problem(detail).with("count", count).with("max", CATEGORIES_MAX)
        }
    }
}

pub fn of_sku(error: SkuError, detail: String) -> Problem {
    match error {
        SkuError::Taken { product } => SKU_TAKEN.problem(detail).with("product", product),
        SkuError::IsProduct => SKU_IS_PRODUCT.problem(detail),
    }
}

pub fn of_slug(error: SlugError, detail: String) -> Problem {
    match error {
        SlugError::Taken { product } => SLUG_TAKEN.problem(detail).with("product", product),
    }
}

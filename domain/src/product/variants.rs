//! The variants of a product: each a SKU with its options. All are told apart by the same options, and no two are alike.

use super::prices::Prices;
use super::{Product, ProductError, ProductEvent};
use crate::text::Text;
use crate::{OptionName, Sku};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The most variants that one product may have.
pub const VARIANTS_MAX: usize = 500;
/// The most options by which the variants of one product are told apart.
pub const OPTIONS_MAX: usize = 5;

/// One value of an option, such as `L`.
pub type OptionValue = Text<64>;
/// What tells a variant from the others, such as `size` = `L`.
pub type Options = BTreeMap<OptionName, OptionValue>;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Variant {
    pub options: Options,
    /// Its own; in other currencies it costs what the product does.
    pub prices: Prices,
}

impl Variant {
    pub fn new(options: Options) -> Self {
        Self { options, prices: Prices::default() }
    }
}

impl Product {
    /// The options of a variant. `None`: it is none of the product's.
    pub fn options(&self, sku: &Sku) -> Option<&Options> {
        self.variants.get(sku).map(|variant| &variant.options)
    }

    /// Adds a variant. `None`: it is there, with these options.
    pub(super) fn add_variant(&self, sku: Sku, options: Options) -> Result<Option<ProductEvent>, ProductError> {
        self.registered()?;
        match self.variants.get(&sku) {
            Some(variant) if variant.options == options => return Ok(None),
            Some(variant) => {
                let options = variant.options.clone();
                return Err(ProductError::VariantAddedDifferently { sku, options });
            }
            None => {}
        }
        if self.variants.len() >= VARIANTS_MAX {
            return Err(ProductError::TooManyVariants);
        }
        if options.is_empty() || options.len() > OPTIONS_MAX {
            return Err(ProductError::OptionCount { count: options.len() });
        }
        for (other, Variant { options: others, .. }) in &self.variants {
            fits(&options, other, others)?;
        }
        Ok(Some(ProductEvent::VariantAdded { sku, options }))
    }

    /// Takes a variant out. `None`: it is not there.
    pub(super) fn remove_variant(&self, sku: Sku) -> Result<Option<ProductEvent>, ProductError> {
        self.registered()?;
        Ok(self.variants.contains_key(&sku).then_some(ProductEvent::VariantRemoved { sku }))
    }
}

/// Whether a variant with `options` can stand beside `other`.
fn fits(options: &Options, other: &Sku, others: &Options) -> Result<(), ProductError> {
    let names = |options: &Options| options.keys().cloned().collect::<BTreeSet<_>>();
    if !options.keys().eq(others.keys()) {
        return Err(ProductError::OtherOptions { expected: names(others), found: names(options) });
    }
    if options == others {
        return Err(ProductError::SameOptions { sku: other.clone() });
    }
    for ((option, found), expected) in options.iter().zip(others.values()) {
        // Of "L" and "l" a buyer would make two sizes.
        if found != expected && found.as_str().to_lowercase() == expected.as_str().to_lowercase() {
            let (option, expected, found) = (option.clone(), expected.clone(), found.clone());
            return Err(ProductError::OptionSpelling { option, expected, found });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::product::ProductCommand;
    use crate::product::tests::*;
    use crate::scenario::given;

    fn add(text: &str, of: Options) -> ProductCommand {
        ProductCommand::AddVariant { sku: sku(text), options: of }
    }

    #[test]
    fn a_variant_is_added_once() {
        given::<Product>([registered()]).when(add("MUG-L", size("L"))).then(added("L"));
        given::<Product>([registered(), added("L")]).when(add("MUG-L", size("L"))).then_nothing();
        given::<Product>([registered(), added("L")])
            .when(add("MUG-L", size("S")))
            .then_refused(ProductError::VariantAddedDifferently { sku: sku("MUG-L"), options: size("L") });
        given::<Product>([]).when(add("MUG-L", size("L"))).then_refused(ProductError::Unknown);
    }

    #[test]
    fn no_two_variants_are_alike() {
        given::<Product>([registered(), added("L")])
            .when(add("MUG-X", size("L")))
            .then_refused(ProductError::SameOptions { sku: sku("MUG-L") });
        given::<Product>([registered(), added("L")]).when(add("MUG-X", size("l"))).then_refused(
            ProductError::OptionSpelling { option: option("size"), expected: value("L"), found: value("l") },
        );
    }

    #[test]
    fn all_variants_are_told_apart_by_the_same_options() {
        let colour = Options::from([(option("colour"), value("red"))]);
        given::<Product>([registered(), added("L")]).when(add("MUG-X", colour)).then_refused(
            ProductError::OtherOptions { expected: [option("size")].into(), found: [option("colour")].into() },
        );
        given::<Product>([registered()])
            .when(add("MUG-X", Options::new()))
            .then_refused(ProductError::OptionCount { count: 0 });
        let many = (0..=OPTIONS_MAX).map(|n| (option(&format!("o{n}")), value("x"))).collect();
        given::<Product>([registered()])
            .when(add("MUG-X", many))
            .then_refused(ProductError::OptionCount { count: OPTIONS_MAX + 1 });
    }

    #[test]
    fn the_number_of_variants_is_bounded() {
        let all = (0..VARIANTS_MAX)
            .map(|n| ProductEvent::VariantAdded { sku: sku(&format!("MUG-{n}")), options: size(&n.to_string()) });
        given::<Product>([registered()].into_iter().chain(all))
            .when(add("MUG-X", size("X")))
            .then_refused(ProductError::TooManyVariants);
    }

    #[test]
    fn a_variant_that_was_removed_can_be_added_with_other_options() {
        let remove = || ProductCommand::RemoveVariant { sku: sku("MUG-L") };
        let removed = || ProductEvent::VariantRemoved { sku: sku("MUG-L") };
        given::<Product>([registered(), added("L")]).when(remove()).then(removed());
        given::<Product>([registered(), added("L"), removed()]).when(remove()).then_nothing();
        given::<Product>([registered(), added("L"), removed()])
            .when(add("MUG-L", size("S")))
            .then(ProductEvent::VariantAdded { sku: sku("MUG-L"), options: size("S") });
        given::<Product>([]).when(remove()).then_refused(ProductError::Unknown);
    }
}

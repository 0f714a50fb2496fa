//! How a product is found and shown: slug, categories, attributes, media; and how it is taxed.

use super::{Attributes, Medium, Product, ProductError, ProductEvent};
use crate::{CategoryId, Slug, TaxClass};
use std::collections::BTreeSet;

/// The most attributes of one product.
pub const ATTRIBUTES_MAX: usize = 100;
/// The most pictures, films and documents of one product.
pub const MEDIA_MAX: usize = 50;
/// The most categories that one product is in.
pub const CATEGORIES_MAX: usize = 20;

impl Product {
    /// Gives the product's page an address. `None`: it already has this one.
    pub(super) fn set_slug(&self, slug: Slug) -> Result<Option<ProductEvent>, ProductError> {
        self.registered()?;
        let previous = self.slug.clone();
        Ok((previous.as_ref() != Some(&slug)).then_some(ProductEvent::SlugSet { slug, previous }))
    }

    /// Says how the product is taxed. `None`: it already is.
    pub(super) fn set_tax_class(&self, tax_class: TaxClass) -> Result<Option<ProductEvent>, ProductError> {
        self.registered()?;
        let previous = self.tax_class.clone();
        Ok((previous != tax_class).then_some(ProductEvent::TaxClassSet { tax_class, previous }))
    }

    /// Replaces all attributes. `None`: they already are these.
    pub(super) fn set_attributes(&self, attributes: Attributes) -> Result<Option<ProductEvent>, ProductError> {
        self.registered()?;
        if attributes.len() > ATTRIBUTES_MAX {
            return Err(ProductError::TooManyAttributes { count: attributes.len() });
        }
        Ok((self.attributes != attributes).then_some(ProductEvent::AttributesSet { attributes }))
    }

    /// Replaces all media. `None`: they already are these, in this order.
    pub(super) fn set_media(&self, media: Vec<Medium>) -> Result<Option<ProductEvent>, ProductError> {
        self.registered()?;
        if media.len() > MEDIA_MAX {
            return Err(ProductError::TooManyMedia { count: media.len() });
        }
        Ok((self.media != media).then_some(ProductEvent::MediaSet { media }))
    }

    /// Says which categories the product is in, all of which exist. `None`: it already is in these.
    pub(super) fn categorise(&self, categories: BTreeSet<CategoryId>) -> Result<Option<ProductEvent>, ProductError> {
        self.registered()?;
        if categories.len() > CATEGORIES_MAX {
            return Err(ProductError::TooManyCategories { count: categories.len() });
        }
        Ok((self.categories != categories).then_some(ProductEvent::Categorised { categories }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::product::tests::*;
    use crate::product::{AttributeValue, ProductCommand};
    use crate::scenario::given;

    #[test]
    fn a_slug_names_the_one_before() {
        let set = |text: &str| ProductCommand::SetSlug { slug: slug(text) };
        let was_set = |text: &str, previous: Option<&str>| ProductEvent::SlugSet {
            slug: slug(text),
            previous: previous.map(slug),
        };
        given::<Product>([registered()]).when(set("mug")).then(was_set("mug", None));
        given::<Product>([registered(), was_set("mug", None)]).when(set("cup")).then(was_set("cup", Some("mug")));
        given::<Product>([registered(), was_set("mug", None)]).when(set("mug")).then_nothing();
        given::<Product>([]).when(set("mug")).then_refused(ProductError::Unknown);
    }

    #[test]
    fn a_product_is_taxed_at_the_standard_rate_unless_somebody_says_otherwise() {
        let class = |text: &str| text.parse::<TaxClass>().expect("a valid tax class");
        let set = |text: &str| ProductCommand::SetTaxClass { tax_class: class(text) };
        let books = ProductEvent::TaxClassSet { tax_class: class("books"), previous: TaxClass::STANDARD };
        given::<Product>([registered()]).when(set("standard")).then_nothing();
        given::<Product>([registered()]).when(set("books")).then(books.clone());
        given::<Product>([registered(), books]).when(set("books")).then_nothing();
    }

    #[test]
    fn attributes_media_and_categories_are_replaced_as_a_whole() {
        for (command, event) in [
            (
                ProductCommand::SetAttributes { attributes: attributes(1) },
                ProductEvent::AttributesSet { attributes: attributes(1) },
            ),
            (ProductCommand::SetMedia { media: media(1) }, ProductEvent::MediaSet { media: media(1) }),
            (
                ProductCommand::Categorise { categories: categories(1) },
                ProductEvent::Categorised { categories: categories(1) },
            ),
        ] {
            given::<Product>([registered()]).when(command.clone()).then(event.clone());
            given::<Product>([registered(), event]).when(command.clone()).then_nothing();
            given::<Product>([]).when(command.clone()).then_refused(ProductError::Unknown);
        }
        given::<Product>([registered()]).when(ProductCommand::SetMedia { media: vec![] }).then_nothing();
    }

    #[test]
    fn what_is_said_of_a_product_is_bounded() {
        let count = ATTRIBUTES_MAX + 1;
        given::<Product>([registered()])
            .when(ProductCommand::SetAttributes { attributes: attributes(count) })
            .then_refused(ProductError::TooManyAttributes { count });
        let count = MEDIA_MAX + 1;
        given::<Product>([registered()])
            .when(ProductCommand::SetMedia { media: media(count) })
            .then_refused(ProductError::TooManyMedia { count });
        let count = CATEGORIES_MAX + 1;
        given::<Product>([registered()])
            .when(ProductCommand::Categorise { categories: categories(count) })
            .then_refused(ProductError::TooManyCategories { count });
    }

    fn attributes(count: usize) -> Attributes {
        let name = |n| format!("attribute-{n}").parse().expect("a valid name");
        (0..count).map(|n| (name(n), AttributeValue::Integer(1))).collect()
    }

    fn categories(count: usize) -> BTreeSet<CategoryId> {
        (0..count).map(|n| format!("C{n}").parse().expect("a valid id")).collect()
    }
}

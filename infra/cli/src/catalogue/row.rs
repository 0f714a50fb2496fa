//! One row of a catalogue file: a category as the command import-category has it, or a product or variant as import-product does.

use kontor_domain::product::{Attributes, Medium, Options};
use kontor_domain::text::{Description, Name, Reason};
use kontor_domain::{CategoryId, Money, Sku, Slug, TaxClass};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Row {
    Category(CategoryRow),
    Item(Box<ItemRow>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CategoryRow {
    pub category: CategoryId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<CategoryId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slug: Option<Slug>,
}

/// A product or a variant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemRow {
    pub sku: Sku,
    /// The product that the SKU is a variant of; `None`: it is a product.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<Sku>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<Description>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Why the product was withdrawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slug: Option<Slug>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tax_class: Option<TaxClass>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prices: Vec<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<Options>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub categories: Option<BTreeSet<CategoryId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Attributes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media: Option<Vec<Medium>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    Draft,
    Published,
    Withdrawn,
}

impl CategoryRow {
    /// That says nothing but which category it is.
    pub fn of(category: CategoryId) -> Self {
        Self { category, parent: None, name: None, slug: None }
    }
}

impl ItemRow {
    /// That says nothing but which product it is.
    pub fn of(sku: Sku) -> Self {
        Self {
            sku,
            product: None,
            name: None,
            description: None,
            status: None,
            reason: None,
            slug: None,
            tax_class: None,
            prices: vec![],
            options: None,
            categories: None,
            attributes: None,
            media: None,
        }
    }
}

impl Row {
    /// The category's id, or the SKU.
    pub fn id(&self) -> &str {
        match self {
            Row::Category(row) => row.category.as_str(),
            Row::Item(row) => row.sku.as_str(),
        }
    }

    /// The row as a line of a bulk. Its key is a hash of what the row says, so that it is the same in every run of the name.
    pub fn command(&self, run: &str) -> String {
        #[derive(Serialize)]
        struct Keyed<'a> {
            key: String,
            command: &'static str,
            #[serde(flatten)]
            row: &'a Row,
        }
        let mut digest = Sha256::new();
        digest.update((run.len() as u64).to_le_bytes()); // Keeps the name and the row apart.
        digest.update(run);
        digest.update(json(self));
        let key = format!("catalogue/{}", hex::encode(digest.finalize()));
        let command = match self {
            Row::Category(_) => "import-category",
            Row::Item(_) => "import-product",
        };
        json(&Keyed { key, command, row: self })
    }
}

pub fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("text and numbers have a JSON form")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str, run: &str) -> String {
        let row = Row::Item(serde_json::from_str(text).expect("a row"));
        let command: serde_json::Value = serde_json::from_str(&row.command(run)).expect("JSON");
        assert_eq!((&command["command"], &command["sku"]), (&"import-product".into(), &"MUG".into()));
        command["key"].as_str().expect("a key").to_owned()
    }

    #[test]
    fn a_row_has_the_same_key_in_every_run_of_a_name() {
        let first = key(r#"{"sku":"MUG","name":"Mug"}"#, "");
        assert_eq!(first, key(r#"{"name":"Mug", "sku":"MUG"}"#, ""));
        assert_ne!(first, key(r#"{"sku":"MUG","name":"Cup"}"#, ""));
        assert_ne!(first, key(r#"{"sku":"MUG","name":"Mug"}"#, "again"));
    }

    #[test]
    fn a_category_is_a_command_of_its_own() {
        let row = Row::Category(CategoryRow::of("home".parse().expect("a valid id")));
        let command: serde_json::Value = serde_json::from_str(&row.command("")).expect("JSON");
        assert_eq!((&command["command"], &command["category"]), (&"import-category".into(), &"home".into()));
    }
}

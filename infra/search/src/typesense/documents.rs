//! How a product is kept in Typesense.

use crate::analysis;
use crate::document::Document;
use crate::engine::SearchError;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::collections::BTreeSet;
use typesense::models::{CollectionSchema, Field};

/// Between the id and the name of a category, and the name and the value of an attribute. It is indexed as a word of its own,
/// so that `a = bc` is not found as `ab = c`.
pub const EQUALS: &str = " = ";
/// Parts that a collection is read in when all of it is read.
pub const PARTS: u64 = 64;
/// What is given back of a document that is read.
pub const KEPT: &str = "document,card";

/// The field with the price in a currency.
pub fn price(currency: &str) -> String {
    format!("price_{currency}")
}

/// `synonyms`: the set of synonyms that is in force.
pub fn schema<'a>(collection: &'a str, synonyms: &str) -> CollectionSchema<'a> {
    let field = |name: &str, kind: &str| Field::new(name.to_owned(), kind.to_owned());
    let split = || Some(["-", "/", ".", "+", "&", ",", "(", ")", "\""].map(str::to_owned).to_vec());
    let text = |name: &str, kind: &str| Field { token_separators: split(), optional: Some(true), ..field(name, kind) };
    let facet = |name: &str, kind: &str| Field { facet: Some(true), optional: Some(true), ..field(name, kind) };
    let pairs = |name: &str| Field { symbols_to_index: Some(vec!["=".to_owned()]), ..facet(name, "string[]") };
    let fields = vec![
        text("title", "string"),
        Field { optional: Some(true), ..field("words", "string[]") },
        text("labels", "string[]"),
        text("description", "string"),
        Field { optional: Some(true), ..field("skus", "string[]") },
        facet("category_ids", "string[]"),
        pairs("categories"),
        pairs("attributes"),
        facet("price_.*", "int64"),
        facet("is_public", "bool"),
        facet("is_titled", "bool"),
        facet("in_stock", "bool"),
        field("sold", "float"),
        field("listed", "int64"),
        Field { sort: Some(true), ..field("part", "int32") },
    ];
    CollectionSchema {
        default_sorting_field: Some(Cow::from("sold")),
        synonym_sets: Some(vec![synonyms.to_owned()]),
        ..CollectionSchema::new(collection.into(), fields)
    }
}

/// What comes back. The fields that are searched are for Typesense alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kept {
    /// All but the card, as JSON.
    pub document: String,
    #[serde(default)]
    pub card: String,
}

/// As it is kept: one line of an import.
pub fn written(document: &Document) -> Value {
    let categories = document.categories.iter().map(|category| format!("{}{EQUALS}{}", category.id, category.name));
    let attributes = document.attributes.iter();
    let attributes =
        attributes.flat_map(|(name, values)| values.iter().map(move |value| format!("{name}{EQUALS}{value}")));
    let labels = document.categories.iter().map(|category| &category.name);
    let labels = labels.chain(document.attributes.values().flatten());
    let mut kept = json!({
        "id": document.product,
        "title": document.title,
        "words": words_of(&document.title),
        "description": document.description.as_deref().unwrap_or_default(),
        "labels": labels.collect::<Vec<_>>(),
        "skus": document.skus.iter().flat_map(|sku| [sku.clone(), apart(sku)]).collect::<Vec<_>>(),
        "category_ids": document.categories.iter().map(|category| &category.id).collect::<Vec<_>>(),
        "categories": categories.collect::<Vec<_>>(),
        "attributes": attributes.collect::<Vec<_>>(),
        "is_public": document.is_public,
        "is_titled": !document.title.is_empty(),
        "in_stock": document.available > 0,
        "sold": document.sold,
        "listed": document.listed,
        "part": part(&document.product),
        "card": document.card,
    });
    let fields: &mut Map<String, Value> = kept.as_object_mut().expect("it is one");
    fields.extend(document.prices.iter().map(|(currency, amount)| (price(currency), json!(amount))));
    let rest = Document { card: String::new(), ..document.clone() };
    fields.insert("document".to_owned(), serde_json::to_string(&rest).expect("a document has a JSON form").into());
    kept
}

/// The words of a title as the index in a folder takes them: each, its other forms, and each two as one. Typesense by itself knows
/// neither plurals nor what is joined, nor where a number begins.
fn words_of(title: &str) -> BTreeSet<String> {
    let words = analysis::words(title);
    let forms = words.iter().flat_map(|word| analysis::forms(&word.text)).map(Cow::into_owned);
    let joined = analysis::pairs(&words);
    let all = words.iter().map(|word| word.text.clone()).chain(forms).chain(joined);
    all.collect()
}

/// A code as it is asked for: letters and digits apart.
fn apart(text: &str) -> String {
    let words: Vec<_> = analysis::words(text).into_iter().map(|word| word.text).collect();
    words.join(" ")
}

/// The document as it was written.
///
/// # Errors
/// It was not written by [`written`].
pub fn document(kept: Kept) -> Result<Document, SearchError> {
    let document: Document = serde_json::from_str(&kept.document)
        .map_err(|error| SearchError::Failed(format!("a document in Typesense is damaged: {error}")))?;
    Ok(Document { card: kept.card, ..document })
}

/// FNV-1a of 64 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>), of which the upper half is used.
fn part(product: &str) -> u64 {
    let hash = product
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (hash >> 32) % PARTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_has_its_words_in_all_their_forms_and_each_two_as_one() {
        let words: Vec<_> = words_of("SET/6 MUGS").into_iter().collect();
        assert_eq!(words, ["6", "6mugs", "mug", "mugs", "set", "set6", "sets", "six"]);
        assert_eq!(apart("85123A"), "85123 a");
    }
}

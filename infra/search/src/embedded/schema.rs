//! How a product is kept in an index of tantivy.

use crate::analysis::{Word, pairs, words};
use crate::document::Document;
use crate::engine::SearchError;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use tantivy::schema::{
    BytesOptions, FAST, Field, IndexRecordOption, STRING, Schema, TextFieldIndexing, TextOptions, Value,
};
use tantivy::tokenizer::{PreTokenizedString, RAW_TOKENIZER_NAME, Token};
use tantivy::{TantivyDocument, Term};

/// Between the parts of a facet.
pub const SEPARATOR: char = '\u{1f}';

/// The fields of every collection. Their names are in the index: changed fields are a new generation.
#[derive(Debug, Clone, Copy)]
pub struct Fields {
    /// As they are, to be read by.
    pub product: Field,
    pub sku: Field,
    pub category: Field,
    /// What products are found by: the words of the title with their places, each two of them as one, SKUs in small letters,
    /// words of categories and attributes, words of the description.
    pub title: Field,
    pub pair: Field,
    pub code: Field,
    pub label: Field,
    pub prose: Field,
    /// What is filtered and counted: see [`facets`].
    facet: Field,
    /// Each price with its currency: see [`packed`].
    price: Field,
    public: Field,
    in_stock: Field,
    sold: Field,
    listed: Field,
    /// Equal hits are sorted by it, the same in every process.
    tie: Field,
    /// [`Shown`] as JSON.
    shown: Field,
    /// [`Kept`] as JSON.
    kept: Field,
    /// As they were written.
    card: Field,
    source: Field,
}

/// The names of fields that are read as columns.
pub mod column {
    pub const FACET: &str = "facet";
    pub const PRICE: &str = "price";
    pub const PUBLIC: &str = "public";
    pub const IN_STOCK: &str = "in_stock";
    pub const SOLD: &str = "sold";
    pub const LISTED: &str = "listed";
    pub const TIE: &str = "tie";
}

/// What a hit is made from.
#[derive(Debug, Serialize, Deserialize)]
pub struct Shown<'a> {
    #[serde(borrow)]
    pub product: Cow<'a, str>,
    #[serde(borrow)]
    pub title: Cow<'a, str>,
    #[serde(borrow)]
    pub description: Option<Cow<'a, str>>,
}

/// The rest of a document: most of it is nowhere else as it was.
#[derive(Debug, Serialize, Deserialize)]
struct Kept<'a> {
    is_public: bool,
    categories: Cow<'a, [crate::document::Category]>,
    attributes: Cow<'a, BTreeMap<String, Vec<String>>>,
    skus: Cow<'a, [String]>,
    prices: Cow<'a, BTreeMap<String, i64>>,
    available: i64,
    sold: f64,
    listed: i64,
    position: i64,
}

pub fn schema() -> (Schema, Fields) {
    let mut schema = Schema::builder();
    let text = |record| {
        let indexing = TextFieldIndexing::default().set_tokenizer(RAW_TOKENIZER_NAME).set_fieldnorms(false);
        TextOptions::default().set_indexing_options(indexing.set_index_option(record))
    };
    let stored = || BytesOptions::default().set_stored();
    let fields = Fields {
        product: schema.add_text_field("product", STRING),
        sku: schema.add_text_field("sku", STRING),
        category: schema.add_text_field("category", STRING),
        title: schema.add_text_field("title", text(IndexRecordOption::WithFreqsAndPositions)),
        pair: schema.add_text_field("pair", text(IndexRecordOption::Basic)),
        code: schema.add_text_field("code", text(IndexRecordOption::Basic)),
        label: schema.add_text_field("label", text(IndexRecordOption::Basic)),
        prose: schema.add_text_field("prose", text(IndexRecordOption::Basic)),
        facet: schema.add_text_field(column::FACET, TextOptions::default().set_fast(RAW_TOKENIZER_NAME)),
        price: schema.add_u64_field(column::PRICE, FAST),
        public: schema.add_bool_field(column::PUBLIC, FAST),
        in_stock: schema.add_bool_field(column::IN_STOCK, FAST),
        sold: schema.add_f64_field(column::SOLD, FAST),
        listed: schema.add_i64_field(column::LISTED, FAST),
        tie: schema.add_u64_field(column::TIE, FAST),
        shown: schema.add_bytes_field("shown", stored()),
        kept: schema.add_bytes_field("kept", stored()),
        card: schema.add_bytes_field("card", stored()),
        source: schema.add_bytes_field("source", stored()),
    };
    (schema.build(), fields)
}

impl Fields {
    pub fn by_product(&self, product: &str) -> Term {
        Term::from_field_text(self.product, product)
    }

    /// As it is kept.
    pub fn written(&self, document: &Document) -> TantivyDocument {
        let mut kept = TantivyDocument::default();
        kept.add_text(self.product, &document.product);
        document.skus.iter().for_each(|sku| kept.add_text(self.sku, sku));
        document.categories.iter().for_each(|category| kept.add_text(self.category, &category.id));

        let title = words(&document.title);
        kept.add_pre_tokenized_text(self.pair, tokens(pairs(&title)));
        kept.add_pre_tokenized_text(self.title, tokens(title.into_iter().map(|word| word.text)));
        let codes =
            std::iter::once(&document.product).chain(document.skus.iter().filter(|sku| **sku != document.product));
        kept.add_pre_tokenized_text(self.code, tokens(codes.map(|code| code.to_lowercase())));
        let labels = document.categories.iter().map(|category| &category.name);
        let labels = labels.chain(document.attributes.values().flatten());
        kept.add_pre_tokenized_text(
            self.label,
            tokens(labels.flat_map(|label| words(label)).map(|Word { text, .. }| text)),
        );
        let prose = document.description.as_deref().map(words).unwrap_or_default();
        kept.add_pre_tokenized_text(self.prose, tokens(prose.into_iter().map(|word| word.text)));

        facets(document).for_each(|facet| kept.add_text(self.facet, facet));
        let prices = document.prices.iter().filter_map(|(currency, &amount)| packed(currency, amount));
        prices.for_each(|price| kept.add_u64(self.price, price));
        kept.add_bool(self.public, document.is_public);
        kept.add_bool(self.in_stock, document.available > 0);
        kept.add_f64(self.sold, document.sold);
        kept.add_i64(self.listed, document.listed);
        kept.add_u64(self.tie, tie(&document.product));
        kept.add_bytes(self.shown, &json(&Shown::of(document)));
        kept.add_bytes(self.kept, &json(&Kept::of(document)));
        kept.add_bytes(self.card, document.card.as_bytes());
        kept.add_bytes(self.source, document.source.as_bytes());
        kept
    }

    /// What a hit is made from.
    ///
    /// # Errors
    /// It was not written by [`Fields::written`].
    pub fn shown<'a>(&self, kept: &'a TantivyDocument) -> Result<Shown<'a>, SearchError> {
        parsed(kept, self.shown)
    }

    /// What is given back with a hit.
    ///
    /// # Errors
    /// As of [`Fields::shown`].
    pub fn card(&self, kept: &TantivyDocument) -> Result<String, SearchError> {
        text(kept, self.card)
    }

    /// The document as it was written.
    ///
    /// # Errors
    /// As of [`Fields::shown`].
    pub fn document(&self, kept: &TantivyDocument) -> Result<Document, SearchError> {
        let Shown { product, title, description } = self.shown(kept)?;
        let rest: Kept<'_> = parsed(kept, self.kept)?;
        Ok(Document {
            product: product.into_owned(),
            is_public: rest.is_public,
            title: title.into_owned(),
            description: description.map(Cow::into_owned),
            categories: rest.categories.into_owned(),
            attributes: rest.attributes.into_owned(),
            skus: rest.skus.into_owned(),
            prices: rest.prices.into_owned(),
            available: rest.available,
            sold: rest.sold,
            listed: rest.listed,
            position: rest.position,
            card: self.card(kept)?,
            source: text(kept, self.source)?,
        })
    }
}

impl<'a> Shown<'a> {
    fn of(document: &'a Document) -> Self {
        Shown {
            product: (&document.product).into(),
            title: (&document.title).into(),
            description: document.description.as_ref().map(Cow::from),
        }
    }
}

impl<'a> Kept<'a> {
    fn of(document: &'a Document) -> Self {
        Kept {
            is_public: document.is_public,
            categories: (&document.categories).into(),
            attributes: Cow::Borrowed(&document.attributes),
            skus: (&document.skus).into(),
            prices: Cow::Borrowed(&document.prices),
            available: document.available,
            sold: document.sold,
            listed: document.listed,
            position: document.position,
        }
    }
}

/// What a product is filtered and counted by: `c`, id and name of each category, `a`, name and value of each attribute.
fn facets(document: &Document) -> impl Iterator<Item = String> {
    let categories = document.categories.iter().map(|category| ('c', &category.id, &category.name));
    let attributes =
        document.attributes.iter().flat_map(|(name, values)| values.iter().map(move |value| ('a', name, value)));
    categories.chain(attributes).map(|(kind, first, second)| format!("{kind}{SEPARATOR}{first}{SEPARATOR}{second}"))
}

/// A currency as a number below 2^15. `None`: it is no code of three letters.
pub fn currency_number(code: &str) -> Option<u16> {
    let is_code = code.len() == 3 && code.bytes().all(|letter| letter.is_ascii_uppercase());
    is_code.then(|| code.bytes().fold(0, |number, letter| number << 5 | u16::from(letter - b'A')))
}

/// A price with its currency as one number: the currency above, 48 bits of minor units below.
fn packed(currency: &str, amount_minor: i64) -> Option<u64> {
    let amount = u64::try_from(amount_minor).ok()?.min((1 << 48) - 1);
    Some(u64::from(currency_number(currency)?) << 48 | amount)
}

/// Currency and minor units of such a number.
pub fn unpacked(price: u64) -> (u16, i64) {
    ((price >> 48) as u16, (price & ((1 << 48) - 1)) as i64)
}

/// FNV-1a of 64 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>).
fn tie(product: &str) -> u64 {
    product.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn tokens(texts: impl Iterator<Item = String>) -> PreTokenizedString {
    let token = |(position, text)| Token { position, text, ..Token::default() };
    PreTokenizedString { text: String::new(), tokens: texts.enumerate().map(token).collect() }
}

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("it has text keys and numbers that are finite, or null")
}

fn bytes(kept: &TantivyDocument, field: Field) -> Result<&[u8], SearchError> {
    let bytes = kept.get_first(field).and_then(|value| value.as_bytes());
    bytes.ok_or_else(|| SearchError::Failed("a document of the index has not all fields".into()))
}

fn text(kept: &TantivyDocument, field: Field) -> Result<String, SearchError> {
    String::from_utf8(bytes(kept, field)?.to_vec()).map_err(damaged)
}

fn parsed<'a, T: Deserialize<'a>>(kept: &'a TantivyDocument, field: Field) -> Result<T, SearchError> {
    serde_json::from_slice(bytes(kept, field)?).map_err(damaged)
}

fn damaged(error: impl std::fmt::Display) -> SearchError {
    SearchError::Failed(format!("a document of the index is damaged: {error}"))
}

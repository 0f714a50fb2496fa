//! Product cards and availability: what is answered, and how it is kept, ready to be sent.

use bytes::Bytes;
use kontor_domain::product::{Medium, OptionValue};
use kontor_domain::{OptionName, Sku};
use serde::Serialize;
use std::collections::BTreeMap;

/// Minor units by ISO 4217 code.
pub type Prices = BTreeMap<String, i64>;

/// What a shop shows of one SKU in a list, a cart or on a page: of a product, or of one of its variants.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Card<'a> {
    pub sku: &'a str,
    /// The code of the product that it is, or is a variant of.
    pub product: &'a str,
    pub name: &'a str,
    /// The address of the product's page.
    pub slug: Option<&'a str>,
    pub status: Status,
    /// What tells the variant from the others. `None`: it is the product.
    pub options: Option<&'a BTreeMap<OptionName, OptionValue>>,
    /// Of one unit, in each currency: a variant's own price before the product's.
    #[serde(serialize_with = "prices")]
    pub prices: Prices,
    /// The first of the product's media.
    pub medium: Option<&'a Medium>,
    /// That the product is in itself, not those above them.
    pub categories: Vec<&'a str>,
    /// How many variants the product comes in; 0: its own code is what is sold.
    pub variant_count: usize,
    /// Units that no order holds: of all variants together if it is a product with variants.
    pub available: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    Draft,
    Published,
    Withdrawn,
}

/// What everybody may know of a SKU's stock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Availability<'a> {
    pub sku: &'a Sku,
    /// Units that no order holds.
    pub available: u64,
    /// Units that may still be ordered beyond those, and are waited for.
    pub back_orders_left: u64,
}

fn prices<S: serde::Serializer>(prices: &Prices, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Price<'a> {
        amount_minor: i64,
        currency: &'a str,
    }
    serializer.collect_seq(prices.iter().map(|(currency, &amount_minor)| Price { amount_minor, currency }))
}

impl Status {
    pub fn of(draft: bool, withdrawn: bool) -> Status {
        match (withdrawn, draft) {
            (true, _) => Status::Withdrawn,
            (false, true) => Status::Draft,
            (false, false) => Status::Published,
        }
    }

    fn letter(self) -> u8 {
        match self {
            Status::Draft => b'd',
            Status::Published => b'p',
            Status::Withdrawn => b'w',
        }
    }
}

impl Card<'_> {
    /// As it is kept: a letter for its status, so that it need not be parsed to know who may see it, and the JSON.
    pub fn kept(&self) -> Kept {
        let mut kept = vec![self.status.letter()];
        serde_json::to_writer(&mut kept, self).expect("a card has a JSON form");
        Kept(kept.into())
    }
}

/// A card as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept(Bytes);

impl Kept {
    /// `None`: it is none.
    pub fn read(kept: Vec<u8>) -> Option<Kept> {
        matches!(kept.first()?, b'd' | b'p' | b'w').then(|| Kept(kept.into()))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether everybody may see it.
    pub fn is_public(&self) -> bool {
        self.0.first() == Some(&Status::Published.letter())
    }

    /// The JSON, ready to be sent.
    pub fn json(&self) -> Bytes {
        self.0.slice(1..)
    }
}

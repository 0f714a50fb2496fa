//! A product as customers see it: its name, its price, whether it is on sale.

use crate::pricing::Price;
use crate::text::{Description, Name, Reason};
use crate::{Currency, Money, Sku, TaxClass};
use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use serde::{Deserialize, Serialize};

/// What has happened to one product. Stored and published: a field may be added, none renamed or removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ProductEvent {
    /// The product exists from now on, without a price.
    Registered { name: Name, description: Option<Description> },
    /// Name and description are now these.
    Described { name: Name, description: Option<Description> },
    /// One unit now costs `price`; `previous` is what it cost before.
    Priced { price: Money, previous: Option<Money> },
    /// The product is no longer sold.
    Withdrawn { reason: Reason },
}

impl DomainEvent for ProductEvent {
    fn event_type(&self) -> String {
        match self {
            ProductEvent::Registered { .. } => "Registered",
            ProductEvent::Described { .. } => "Described",
            ProductEvent::Priced { .. } => "Priced",
            ProductEvent::Withdrawn { .. } => "Withdrawn",
        }
        .to_owned()
    }

    fn event_version(&self) -> String {
        "1.0".to_owned()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum ProductCommand {
    Register { name: Name, description: Option<Description> },
    Describe { name: Name, description: Option<Description> },
    Price { price: Money },
    Withdraw { reason: Reason },
}

/// Why a product command was refused; nothing has changed. Each variant is one problem `type` over HTTP.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ProductError {
    #[error("no product has this SKU")]
    Unknown,
    #[error("the SKU already belongs to \"{name}\"")]
    RegisteredDifferently { name: Name },
    #[error("the product was withdrawn")]
    Withdrawn,
    #[error("a price must be above 0, is {price}")]
    PriceNotPositive { price: Money },
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Product {
    described: Option<(Name, Option<Description>)>,
    price: Option<Money>,
    withdrawn: bool,
}

impl Product {
    /// What one unit of the SKU costs; `None`: it has no price in this currency.
    pub fn price(&self, _: &Sku, currency: Currency) -> Option<Price> {
        let unit_price = self.price.filter(|price| price.currency == currency)?;
        Some(Price { unit_price, tax_class: TaxClass::STANDARD })
    }

    /// Whether the SKU can be bought.
    pub fn is_on_sale(&self, _: &Sku) -> bool {
        self.on_sale().is_ok()
    }

    fn decide(&self, command: ProductCommand) -> Result<Option<ProductEvent>, ProductError> {
        match command {
            ProductCommand::Register { name, description } => self.register(name, description),
            ProductCommand::Describe { name, description } => self.describe(name, description),
            ProductCommand::Price { price } => self.set_price(price),
            ProductCommand::Withdraw { reason } => self.withdraw(reason),
        }
    }

    /// Opens the product. `None`: it is already registered with these words.
    fn register(&self, name: Name, description: Option<Description>) -> Result<Option<ProductEvent>, ProductError> {
        match &self.described {
            Some((held, words)) if *held == name && *words == description => Ok(None),
            Some((held, _)) => Err(ProductError::RegisteredDifferently { name: held.clone() }),
            None => Ok(Some(ProductEvent::Registered { name, description })),
        }
    }

    /// Changes the words. `None`: they already are these.
    fn describe(&self, name: Name, description: Option<Description>) -> Result<Option<ProductEvent>, ProductError> {
        let (held, words) = self.on_sale()?;
        if *held == name && *words == description {
            return Ok(None);
        }
        Ok(Some(ProductEvent::Described { name, description }))
    }

    /// Sets the price of one unit. `None`: it already is this.
    fn set_price(&self, price: Money) -> Result<Option<ProductEvent>, ProductError> {
        self.on_sale()?;
        if price.amount_minor <= 0 {
            return Err(ProductError::PriceNotPositive { price });
        }
        if self.price == Some(price) {
            return Ok(None);
        }
        Ok(Some(ProductEvent::Priced { price, previous: self.price }))
    }

    /// Takes the product off sale, for good. `None`: it already is.
    fn withdraw(&self, reason: Reason) -> Result<Option<ProductEvent>, ProductError> {
        if self.withdrawn {
            return Ok(None);
        }
        self.on_sale()?;
        Ok(Some(ProductEvent::Withdrawn { reason }))
    }

    fn on_sale(&self) -> Result<&(Name, Option<Description>), ProductError> {
        match &self.described {
            None => Err(ProductError::Unknown),
            Some(_) if self.withdrawn => Err(ProductError::Withdrawn),
            Some(described) => Ok(described),
        }
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
            ProductEvent::Registered { name, description } | ProductEvent::Described { name, description } => {
                self.described = Some((name, description));
            }
            ProductEvent::Priced { price, .. } => self.price = Some(price),
            ProductEvent::Withdrawn { .. } => self.withdrawn = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{given, handle};
    use proptest::prelude::*;

    fn name(text: &str) -> Name {
        Name::new(text).expect("a valid name")
    }

    fn reason() -> Reason {
        Reason::new("sold out for good").expect("a valid reason")
    }

    fn pence(amount_minor: i64) -> Money {
        Money::new(amount_minor, Currency::GBP)
    }

    fn registered() -> ProductEvent {
        ProductEvent::Registered { name: name("MUG"), description: None }
    }

    fn register(text: &str) -> ProductCommand {
        ProductCommand::Register { name: name(text), description: None }
    }

    fn describe(text: &str) -> ProductCommand {
        ProductCommand::Describe { name: name(text), description: None }
    }

    #[test]
    fn a_product_is_registered_once() {
        given::<Product>([]).when(register("MUG")).then(registered());
        given::<Product>([registered()]).when(register("MUG")).then_nothing();
        given::<Product>([registered()])
            .when(register("CUP"))
            .then_refused(ProductError::RegisteredDifferently { name: name("MUG") });
    }

    #[test]
    fn a_description_replaces_the_former() {
        given::<Product>([registered()])
            .when(describe("CUP"))
            .then(ProductEvent::Described { name: name("CUP"), description: None });
        given::<Product>([registered()]).when(describe("MUG")).then_nothing();
        given::<Product>([]).when(describe("MUG")).then_refused(ProductError::Unknown);
    }

    #[test]
    fn a_price_names_the_one_before() {
        let first = ProductEvent::Priced { price: pence(250), previous: None };
        given::<Product>([registered()]).when(ProductCommand::Price { price: pence(250) }).then(first.clone());
        given::<Product>([registered(), first.clone()])
            .when(ProductCommand::Price { price: pence(300) })
            .then(ProductEvent::Priced { price: pence(300), previous: Some(pence(250)) });
        given::<Product>([registered(), first]).when(ProductCommand::Price { price: pence(250) }).then_nothing();
    }

    #[test]
    fn a_price_is_above_zero() {
        given::<Product>([registered()])
            .when(ProductCommand::Price { price: pence(0) })
            .then_refused(ProductError::PriceNotPositive { price: pence(0) });
        given::<Product>([]).when(ProductCommand::Price { price: pence(1) }).then_refused(ProductError::Unknown);
    }

    #[test]
    fn a_withdrawn_product_changes_no_more() {
        let withdrawn = ProductEvent::Withdrawn { reason: reason() };
        let withdraw = || ProductCommand::Withdraw { reason: reason() };
        given::<Product>([registered()]).when(withdraw()).then(withdrawn.clone());
        given::<Product>([registered(), withdrawn.clone()]).when(withdraw()).then_nothing();
        given::<Product>([]).when(withdraw()).then_refused(ProductError::Unknown);
        given::<Product>([registered(), withdrawn.clone()]).when(describe("CUP")).then_refused(ProductError::Withdrawn);
        given::<Product>([registered(), withdrawn])
            .when(ProductCommand::Price { price: pence(1) })
            .then_refused(ProductError::Withdrawn);
    }

    fn any_command() -> impl Strategy<Value = ProductCommand> {
        prop_oneof![
            "[A-C]".prop_map(|text| register(&text)),
            "[A-C]".prop_map(|text| describe(&text)),
            (-1_i64..3).prop_map(|amount| ProductCommand::Price { price: pence(amount) }),
            Just(ProductCommand::Withdraw { reason: reason() }),
        ]
    }

    proptest! {
        #[test]
        fn a_retry_changes_nothing(commands in prop::collection::vec(any_command(), 0..20)) {
            let mut product = Product::default();
            for command in commands {
                if handle(&mut product, command.clone()).is_ok() {
                    let before = product.clone();
                    prop_assert_eq!(handle(&mut product, command), Ok(vec![]));
                    prop_assert_eq!(&product, &before);
                }
            }
        }
    }
}

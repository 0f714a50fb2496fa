//! Which product a SKU is a variant of: one at a time, and never one that is itself called so.
//!
//! Claimed and released in the same append as the product's own event. A product's code is not claimed: that it is one, its
//! own stream says.

use crate::Sku;
use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use serde::{Deserialize, Serialize};

/// What has happened to one SKU. Stored and published: a field may be added, none renamed or removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum SkuEvent {
    /// The SKU is a variant of this product, and of no other.
    Claimed { product: Sku },
    /// It is not any more.
    Released { product: Sku },
}

impl DomainEvent for SkuEvent {
    fn event_type(&self) -> String {
        match self {
            SkuEvent::Claimed { .. } => "Claimed",
            SkuEvent::Released { .. } => "Released",
        }
        .to_owned()
    }

    fn event_version(&self) -> String {
        "1.0".to_owned()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum SkuCommand {
    /// Makes it a variant of `product`. `is_code`: a product is called so.
    Claim {
        product: Sku,
        is_code: bool,
    },
    Release {
        product: Sku,
    },
    /// A product is about to be called so: it must be nobody's variant.
    KeepFree,
}

/// Why a SKU command was refused; nothing has changed. Each variant is one problem `type` over HTTP.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SkuError {
    #[error("it is a variant of {product}")]
    Taken { product: Sku },
    #[error("it is a product of its own")]
    IsProduct,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SkuClaim {
    product: Option<Sku>,
}

impl SkuClaim {
    /// The product that the SKU is a variant of. `None`: none, so it is a product's code, or nothing.
    pub fn product(&self) -> Option<&Sku> {
        self.product.as_ref()
    }

    fn decide(&self, command: SkuCommand) -> Result<Option<SkuEvent>, SkuError> {
        match command {
            SkuCommand::Claim { product, is_code } => self.claim(product, is_code),
            SkuCommand::Release { product } => Ok(self.release(product)),
            SkuCommand::KeepFree => match &self.product {
                Some(product) => Err(SkuError::Taken { product: product.clone() }),
                None => Ok(None),
            },
        }
    }

    /// Makes it a variant of `product`. `None`: it is one already.
    fn claim(&self, product: Sku, is_code: bool) -> Result<Option<SkuEvent>, SkuError> {
        match &self.product {
            Some(held) if *held == product => return Ok(None),
            Some(held) => return Err(SkuError::Taken { product: held.clone() }),
            None => {}
        }
        if is_code {
            return Err(SkuError::IsProduct);
        }
        Ok(Some(SkuEvent::Claimed { product }))
    }

    /// Makes it nobody's variant. `None`: it is none of `product`.
    fn release(&self, product: Sku) -> Option<SkuEvent> {
        (self.product.as_ref() == Some(&product)).then_some(SkuEvent::Released { product })
    }
}

impl Aggregate for SkuClaim {
    const TYPE: &'static str = "sku";
    type Command = SkuCommand;
    type Event = SkuEvent;
    type Error = SkuError;
    type Services = ();

    async fn handle(&mut self, command: SkuCommand, _: &(), sink: &EventSink<Self>) -> Result<(), SkuError> {
        if let Some(event) = self.decide(command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: SkuEvent) {
        match event {
            SkuEvent::Claimed { product } => self.product = Some(product),
            SkuEvent::Released { .. } => self.product = None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{given, handle};
    use proptest::prelude::*;

    fn sku(text: &str) -> Sku {
        text.parse().expect("a valid SKU")
    }

    fn claim(text: &str) -> SkuCommand {
        SkuCommand::Claim { product: sku(text), is_code: false }
    }

    fn release(text: &str) -> SkuCommand {
        SkuCommand::Release { product: sku(text) }
    }

    fn claimed(text: &str) -> SkuEvent {
        SkuEvent::Claimed { product: sku(text) }
    }

    fn released(text: &str) -> SkuEvent {
        SkuEvent::Released { product: sku(text) }
    }

    #[test]
    fn a_sku_is_a_variant_of_one_product_only() {
        given::<SkuClaim>([]).when(claim("MUG")).then(claimed("MUG"));
        given::<SkuClaim>([claimed("MUG")]).when(claim("MUG")).then_nothing();
        given::<SkuClaim>([claimed("MUG")]).when(claim("CUP")).then_refused(SkuError::Taken { product: sku("MUG") });
    }

    #[test]
    fn what_is_a_product_is_no_variant_and_the_other_way_round() {
        let of_product = SkuCommand::Claim { product: sku("MUG"), is_code: true };
        given::<SkuClaim>([]).when(of_product).then_refused(SkuError::IsProduct);
        given::<SkuClaim>([]).when(SkuCommand::KeepFree).then_nothing();
        given::<SkuClaim>([claimed("MUG")])
            .when(SkuCommand::KeepFree)
            .then_refused(SkuError::Taken { product: sku("MUG") });
    }

    #[test]
    fn a_sku_that_was_released_is_free() {
        given::<SkuClaim>([claimed("MUG")]).when(release("MUG")).then(released("MUG"));
        given::<SkuClaim>([claimed("MUG"), released("MUG")]).when(release("MUG")).then_nothing();
        given::<SkuClaim>([claimed("MUG"), released("MUG")]).when(claim("CUP")).then(claimed("CUP"));
        given::<SkuClaim>([claimed("MUG")]).when(release("CUP")).then_nothing();
    }

    proptest! {
        #[test]
        fn only_who_has_a_sku_gives_it_away(commands in prop::collection::vec(("[A-C]", 0..4), 0..20)) {
            let mut claim_of = SkuClaim::default();
            for (product, kind) in commands {
                let command = match kind {
                    0 => release(&product),
                    1 => SkuCommand::KeepFree,
                    kind => SkuCommand::Claim { product: sku(&product), is_code: kind == 2 },
                };
                let before = claim_of.product().cloned();
                let outcome = handle(&mut claim_of, command.clone());
                if claim_of.product() != before.as_ref() && before.is_some() {
                    prop_assert_eq!((before, claim_of.product()), (Some(sku(&product)), None));
                }
                if outcome.is_ok() {
                    prop_assert_eq!(handle(&mut claim_of, command), Ok(vec![]));
                }
            }
        }
    }
}

//! Who has a slug: one product at a time. Claimed and released in the same append as the product's own event.

use crate::Sku;
use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use serde::{Deserialize, Serialize};

/// What has happened to one slug. Stored and published: a field may be added, none renamed or removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum SlugEvent {
    /// The slug is that of this product, and of no other.
    Claimed { product: Sku },
    /// The product has another one now.
    Released { product: Sku },
}

impl DomainEvent for SlugEvent {
    fn event_type(&self) -> String {
        match self {
            SlugEvent::Claimed { .. } => "Claimed",
            SlugEvent::Released { .. } => "Released",
        }
        .to_owned()
    }

    fn event_version(&self) -> String {
        "1.0".to_owned()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum SlugCommand {
    Claim { product: Sku },
    Release { product: Sku },
}

/// Why a slug command was refused; nothing has changed. Each variant is one problem `type` over HTTP.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SlugError {
    #[error("{product} has this slug")]
    Taken { product: Sku },
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SlugClaim {
    product: Option<Sku>,
}

impl SlugClaim {
    /// Whose the slug is.
    pub fn product(&self) -> Option<&Sku> {
        self.product.as_ref()
    }

    fn decide(&self, command: SlugCommand) -> Result<Option<SlugEvent>, SlugError> {
        match (command, &self.product) {
            (SlugCommand::Claim { product }, Some(held)) if *held == product => Ok(None),
            (SlugCommand::Claim { .. }, Some(held)) => Err(SlugError::Taken { product: held.clone() }),
            (SlugCommand::Claim { product }, None) => Ok(Some(SlugEvent::Claimed { product })),
            (SlugCommand::Release { product }, Some(held)) if *held == product => {
                Ok(Some(SlugEvent::Released { product }))
            }
            // It is not this product's to release, or not any more.
            (SlugCommand::Release { .. }, _) => Ok(None),
        }
    }
}

impl Aggregate for SlugClaim {
    const TYPE: &'static str = "slug";
    type Command = SlugCommand;
    type Event = SlugEvent;
    type Error = SlugError;
    type Services = ();

    async fn handle(&mut self, command: SlugCommand, _: &(), sink: &EventSink<Self>) -> Result<(), SlugError> {
        if let Some(event) = self.decide(command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: SlugEvent) {
        match event {
            SlugEvent::Claimed { product } => self.product = Some(product),
            SlugEvent::Released { .. } => self.product = None,
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

    fn claim(text: &str) -> SlugCommand {
        SlugCommand::Claim { product: sku(text) }
    }

    fn release(text: &str) -> SlugCommand {
        SlugCommand::Release { product: sku(text) }
    }

    fn claimed(text: &str) -> SlugEvent {
        SlugEvent::Claimed { product: sku(text) }
    }

    fn released(text: &str) -> SlugEvent {
        SlugEvent::Released { product: sku(text) }
    }

    #[test]
    fn a_slug_is_of_one_product_only() {
        given::<SlugClaim>([]).when(claim("MUG")).then(claimed("MUG"));
        given::<SlugClaim>([claimed("MUG")]).when(claim("MUG")).then_nothing();
        given::<SlugClaim>([claimed("MUG")]).when(claim("CUP")).then_refused(SlugError::Taken { product: sku("MUG") });
    }

    #[test]
    fn a_slug_that_was_released_is_free() {
        given::<SlugClaim>([claimed("MUG")]).when(release("MUG")).then(released("MUG"));
        given::<SlugClaim>([claimed("MUG"), released("MUG")]).when(release("MUG")).then_nothing();
        given::<SlugClaim>([claimed("MUG"), released("MUG")]).when(claim("CUP")).then(claimed("CUP"));
        given::<SlugClaim>([claimed("MUG")]).when(release("CUP")).then_nothing();
    }

    proptest! {
        #[test]
        fn only_who_has_a_slug_gives_it_away(commands in prop::collection::vec(("[A-C]", any::<bool>()), 0..20)) {
            let mut claim_of = SlugClaim::default();
            for (product, claims) in commands {
                let command = if claims { claim(&product) } else { release(&product) };
                let before = claim_of.product().cloned();
                let outcome = handle(&mut claim_of, command.clone());
                prop_assert_eq!(outcome.is_err(), claims && before.as_ref().is_some_and(|held| *held != sku(&product)));
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

//! A cancellation booked by itself: goods and money taken back without naming the order they were sold in.
//!
//! Shops book these from paper, and the trade before Kontor knows no other. A cancellation of an order that is here is
//! [`OrderCommand::Cancel`](crate::order::OrderCommand::Cancel).

use crate::order::{Line, LinesError, total};
use crate::text::{Country, Reference};
use crate::{CancellationId, CustomerId, Money};
use chrono::{DateTime, Utc};
use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use serde::{Deserialize, Serialize};

/// What has happened to one cancellation. Stored and published: a field may be added, none renamed or removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum CancellationEvent {
    /// The goods are back in stock, in the same append, and `total` is owed to the customer.
    Booked(Booked),
}

/// A cancellation as it was booked. Quantities and `total` are what is taken back, so they are positive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Booked {
    pub cancellation_id: CancellationId,
    pub reference: Option<Reference>,
    /// `None`: a guest.
    pub customer_id: Option<CustomerId>,
    pub country: Country,
    pub lines: Vec<Line>,
    pub total: Money,
    /// Business time, UTC.
    pub cancelled_at: DateTime<Utc>,
}

impl DomainEvent for CancellationEvent {
    fn event_type(&self) -> String {
        match self {
            CancellationEvent::Booked(_) => "Booked",
        }
        .to_owned()
    }

    fn event_version(&self) -> String {
        "1.0".to_owned()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum CancellationCommand {
    Book {
        cancellation_id: CancellationId,
        reference: Option<Reference>,
        customer_id: Option<CustomerId>,
        country: Country,
        lines: Vec<Line>,
        cancelled_at: DateTime<Utc>,
    },
}

/// Why a cancellation was refused; nothing has changed. Each variant is one problem `type` over HTTP.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CancellationError {
    #[error("another cancellation of {total} was booked under this id")]
    BookedDifferently { total: Money },
    #[error(transparent)]
    Lines(#[from] LinesError),
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Cancellation {
    booked: Option<Booked>,
}

impl Cancellation {
    fn decide(&self, command: CancellationCommand) -> Result<Option<CancellationEvent>, CancellationError> {
        match command {
            CancellationCommand::Book { cancellation_id, reference, customer_id, country, lines, cancelled_at } => {
                let total = total(&lines)?;
                self.book(Booked { cancellation_id, reference, customer_id, country, lines, total, cancelled_at })
            }
        }
    }

    /// Books the cancellation. `None`: this very one is booked already, whatever time the retry names.
    fn book(&self, cancellation: Booked) -> Result<Option<CancellationEvent>, CancellationError> {
        match &self.booked {
            Some(booked) if (Booked { cancelled_at: cancellation.cancelled_at, ..booked.clone() }) == cancellation => {
                Ok(None)
            }
            Some(booked) => Err(CancellationError::BookedDifferently { total: booked.total }),
            None => Ok(Some(CancellationEvent::Booked(cancellation))),
        }
    }
}

impl Aggregate for Cancellation {
    const TYPE: &'static str = "cancellation";
    type Command = CancellationCommand;
    type Event = CancellationEvent;
    type Error = CancellationError;
    type Services = ();

    async fn handle(
        &mut self,
        command: CancellationCommand,
        _: &(),
        sink: &EventSink<Self>,
    ) -> Result<(), CancellationError> {
        if let Some(event) = self.decide(command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: CancellationEvent) {
        match event {
            CancellationEvent::Booked(booked) => self.booked = Some(booked),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::given;
    use crate::{Currency, Quantity};
    use uuid::Uuid;

    fn lines(units: u64) -> Vec<Line> {
        vec![Line {
            sku: "22502".parse().expect("a valid SKU"),
            quantity: Quantity::new(units).expect("few units"),
            unit_price: Money::new(495, Currency::GBP),
        }]
    }

    fn booked(units: u64) -> Booked {
        Booked {
            cancellation_id: CancellationId(Uuid::from_u128(0xC)),
            reference: Reference::new("C489449").ok(),
            customer_id: "16321".parse().ok(),
            country: Country::new("Australia").expect("a valid country"),
            lines: lines(units),
            total: Money::new(495 * units as i64, Currency::GBP),
            cancelled_at: DateTime::UNIX_EPOCH,
        }
    }

    fn book(units: u64) -> CancellationCommand {
        let Booked { cancellation_id, reference, customer_id, country, lines, cancelled_at, .. } = booked(units);
        CancellationCommand::Book { cancellation_id, reference, customer_id, country, lines, cancelled_at }
    }

    #[test]
    fn a_cancellation_is_booked_once() {
        given::<Cancellation>([]).when(book(60)).then(CancellationEvent::Booked(booked(60)));
        given::<Cancellation>([CancellationEvent::Booked(booked(60))]).when(book(60)).then_nothing();
        given::<Cancellation>([CancellationEvent::Booked(booked(60))])
            .when(book(1))
            .then_refused(CancellationError::BookedDifferently { total: Money::new(29_700, Currency::GBP) });
    }

    #[test]
    fn lines_that_cannot_be_booked_are_refused() {
        given::<Cancellation>([]).when(book(0)).then_refused(LinesError::Quantity { line: 1 }.into());
    }
}

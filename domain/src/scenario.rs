//! `given` events, `when` a command, `then` events or a refusal: how the rules are told in tests.

use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use std::fmt::Debug;

/// The state after `events`.
pub fn given<A>(events: impl IntoIterator<Item = A::Event>) -> Given<A>
where
    A: Aggregate<Services = ()>,
{
    Given(state(events))
}

/// The fold of `events`.
pub fn state<A: Aggregate>(events: impl IntoIterator<Item = A::Event>) -> A {
    events.into_iter().fold(A::default(), |mut state, event| {
        state.apply(event);
        state
    })
}

pub struct Given<A>(A);

impl<A> Given<A>
where
    A: Aggregate<Services = ()>,
    A::Error: PartialEq + Debug,
{
    pub fn when(mut self, command: A::Command) -> Outcome<A> {
        Outcome(handle(&mut self.0, command))
    }
}

/// Handles one command as the executor does: through the cqrs-es adapter.
pub fn handle<A: Aggregate<Services = ()>>(state: &mut A, command: A::Command) -> Result<Vec<A::Event>, A::Error> {
    futures::executor::block_on(async {
        let sink = EventSink::default();
        state.handle(command, &(), &sink).await?;
        Ok(sink.collect().await)
    })
}

pub struct Outcome<A: Aggregate>(Result<Vec<A::Event>, A::Error>);

impl<A> Outcome<A>
where
    A: Aggregate,
    A::Event: DomainEvent,
    A::Error: PartialEq + Debug,
{
    pub fn then(self, event: A::Event) {
        assert_eq!(self.0, Ok(vec![event]));
    }

    pub fn then_nothing(self) {
        assert_eq!(self.0, Ok(vec![]));
    }

    pub fn then_refused(self, refusal: A::Error) {
        assert_eq!(self.0, Err(refusal));
    }
}

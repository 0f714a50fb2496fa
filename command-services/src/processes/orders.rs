//! The orders that something is to be done about, and those that somebody has set goods aside for before there is an order.
//! An order is known from its placing until nothing is to be done before there is news of it; then it is forgotten, and
//! with the news read from its streams.

use super::reactions::Origin;
use crate::executor::{Executor, Failure};
use chrono::{DateTime, Utc};
use cqrs_es::{Aggregate, EventEnvelope};
use kontor_domain::order::{Order, OrderEvent, Placed};
use kontor_domain::payment::{Payment, PaymentEvent};
use kontor_domain::processes::{Event, Instruction, Processes, Reaction, command_id};
use kontor_domain::timer::Timer;
use kontor_domain::{OrderId, PaymentId};
use kontor_event_schemas::{Fact, Metadata};
use kontor_event_store::stream::StreamError;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use uuid::Uuid;

/// Orders with their processes, and what was begun for them.
#[derive(Default)]
pub struct Orders {
    known: HashMap<OrderId, Known>,
    /// Heard of, but not known.
    strangers: HashSet<OrderId>,
    /// Heard of since somebody last looked at what is to be done.
    touched: HashSet<OrderId>,
    /// When each order's time is over.
    alarms: BTreeSet<(DateTime<Utc>, OrderId)>,
}

struct Known {
    processes: Processes,
    /// The request behind the newest of its events.
    origin: Origin,
    /// That event. Ids are in the order of time.
    newest: Uuid,
    /// What was begun, by its key: whether it is still under way.
    begun: HashMap<Uuid, bool>,
    /// Its place among the alarms.
    alarm: Option<DateTime<Utc>>,
}

/// Something to be done for an order.
#[derive(Debug, Clone)]
pub struct Work {
    pub order_id: OrderId,
    /// What has the same key is not begun a second time: a question while it is under way, a command never.
    pub key: Uuid,
    pub origin: Origin,
    pub instruction: Instruction,
}

impl Orders {
    /// Takes note of an event that concerns an order.
    pub fn hear(&mut self, fact: &Fact, metadata: &Metadata) {
        let (order_id, event) = match fact {
            Fact::Order(order_id, event) => (*order_id, Event::Order(event)),
            Fact::Payment(_, event) => (of_payment(event), Event::Payment(event)),
            Fact::Timer(order_id, event) => (*order_id, Event::Timer(event)),
            _ => return,
        };
        if let Event::Order(OrderEvent::Placed(Placed { checkout, .. })) = event {
            if checkout.is_none() {
                return; // Nothing ever follows for it.
            }
            self.known.entry(order_id).or_insert_with(|| Known::new(Origin::of(metadata)));
        }
        match self.known.get_mut(&order_id) {
            Some(known) => {
                known.apply(metadata, event);
                self.touched.insert(order_id);
            }
            None => drop(self.strangers.insert(order_id)),
        }
    }

    /// Reads those that were heard of without being known.
    pub async fn meet_strangers(&mut self, executor: &Executor) -> Result<(), Failure> {
        for order_id in std::mem::take(&mut self.strangers) {
            self.read(executor, order_id).await?;
        }
        Ok(())
    }

    /// Reads all events that concern an order, from its streams.
    pub async fn read(&mut self, executor: &Executor, order_id: OrderId) -> Result<(), Failure> {
        let id = order_id.to_string();
        let log = executor.log();
        let placed = log.stream::<Order>(&id).await?;
        let payment_id = placed.iter().find_map(|event| payment_of(&event.payload));
        if payment_id.is_none() && !placed.is_empty() {
            return Ok(()); // Nothing ever follows for it.
        }
        let mut known = Known::new(Origin::time());
        for EventEnvelope { payload, metadata, .. } in &placed {
            known.apply(&read::<Order>(&id, metadata)?, Event::Order(payload));
        }
        if let Some(payment_id) = payment_id {
            for EventEnvelope { payload, metadata, .. } in &log.stream::<Payment>(&payment_id.to_string()).await? {
                known.apply(&read::<Payment>(&id, metadata)?, Event::Payment(payload));
            }
        }
        for EventEnvelope { payload, metadata, .. } in &log.stream::<Timer>(&id).await? {
            known.apply(&read::<Timer>(&id, metadata)?, Event::Timer(payload));
        }
        self.known.insert(order_id, known);
        self.touched.insert(order_id);
        Ok(())
    }

    /// What is to be done for the orders that were heard of, and was not begun. Orders for which nothing is are forgotten.
    /// With `begin`, what is returned counts as begun.
    pub fn to_do(&mut self, begin: bool) -> Vec<Work> {
        let mut to_do = Vec::new();
        for order_id in std::mem::take(&mut self.touched) {
            let Some(known) = self.known.get_mut(&order_id) else { continue };
            let wakes_at = known.processes.wakes_at();
            if known.alarm != wakes_at {
                if let Some(at) = known.alarm {
                    self.alarms.remove(&(at, order_id));
                }
                self.alarms.extend(wakes_at.map(|at| (at, order_id)));
                known.alarm = wakes_at;
            }
            if begin {
                to_do.extend(known.begin(order_id, known.processes.react()));
            }
            let is_at_work = known.begun.values().any(|under_way| *under_way);
            if !is_at_work && known.processes.is_idle() {
                self.known.remove(&order_id);
            }
        }
        to_do
    }

    /// Notes that something that was begun is done, or refused.
    pub fn done(&mut self, Work { order_id, key, instruction, .. }: &Work) {
        if let Some(known) = self.known.get_mut(order_id) {
            if let Reaction::AskProvider { .. } = instruction.reaction {
                known.begun.remove(key); // The provider may be asked again when there is news.
            } else {
                known.begun.insert(*key, false);
            }
            self.touched.insert(*order_id);
        }
    }

    /// What is to be done for the orders whose time is over at `now`; it counts as begun.
    pub fn due(&mut self, now: DateTime<Utc>) -> Vec<Work> {
        let later = self.alarms.split_off(&(now, OrderId(Uuid::max())));
        let mut to_do = Vec::new();
        for (_, order_id) in std::mem::replace(&mut self.alarms, later) {
            let Some(known) = self.known.get_mut(&order_id) else { continue };
            known.alarm = None; // Whatever is timed besides is among the alarms again when there is news.
            to_do.extend(known.begin(order_id, known.processes.due(now)));
        }
        to_do
    }

    /// When the next order's time is over.
    pub fn next_alarm(&self) -> Option<DateTime<Utc>> {
        self.alarms.first().map(|(at, ..)| *at)
    }

    /// Counts nothing as begun: whoever had begun it does not act any more.
    pub fn begin_anew(&mut self) {
        for known in self.known.values_mut() {
            known.begun.clear();
            known.alarm = None;
        }
        self.alarms.clear();
        self.touched = self.known.keys().copied().collect();
    }

    /// Those that are known: something is to be done about them.
    pub fn ids(&self) -> HashSet<OrderId> {
        self.known.keys().copied().collect()
    }

    /// How many they are.
    pub fn count(&self) -> usize {
        self.known.len()
    }
}

impl Known {
    fn new(origin: Origin) -> Self {
        Self { processes: Processes::default(), origin, newest: Uuid::nil(), begun: HashMap::new(), alarm: None }
    }

    /// Those of the instructions that were not begun.
    fn begin(&mut self, order_id: OrderId, instructions: Vec<Instruction>) -> Vec<Work> {
        let mut work = Vec::new();
        for instruction in instructions {
            let key = key(&instruction);
            if let Entry::Vacant(place) = self.begun.entry(key) {
                place.insert(true);
                work.push(Work { order_id, key, origin: self.origin, instruction });
            }
        }
        work
    }

    /// Events of one stream in their order; streams may come one after the other.
    fn apply(&mut self, metadata: &Metadata, event: Event<'_>) {
        self.processes.apply(metadata.event_id, event);
        if metadata.event_id > self.newest {
            (self.newest, self.origin) = (metadata.event_id, Origin::of(metadata));
        }
    }
}

/// A command is begun once; about an attempt one question at a time is asked, whatever made us ask.
fn key(instruction: &Instruction) -> Uuid {
    match instruction.reaction {
        // Not the attempt's own id, which may be that of the command that requested it.
        Reaction::AskProvider { attempt, .. } => command_id(attempt.0, instruction.reaction.name()),
        _ => instruction.command_id,
    }
}

fn payment_of(event: &OrderEvent) -> Option<PaymentId> {
    match event {
        OrderEvent::Placed(placed) => placed.checkout.as_ref().map(|checkout| checkout.payment_id),
        _ => None,
    }
}

fn of_payment(event: &PaymentEvent) -> OrderId {
    use PaymentEvent::*;
    match event {
        AuthorisationRequested { order_id, .. }
        | CaptureRequested { order_id, .. }
        | VoidRequested { order_id, .. }
        | RefundRequested { order_id, .. }
        | OutcomeUnknown { order_id, .. }
        | Pending { order_id, .. }
        | Authorised { order_id, .. }
        | Declined { order_id, .. }
        | Captured { order_id, .. }
        | Voided { order_id, .. }
        | Refunded { order_id, .. }
        | RefundBounced { order_id, .. }
        | Failed { order_id, .. }
        | Expired { order_id, .. } => *order_id,
    }
}

/// The metadata as cqrs-es hands it on.
fn read<A: Aggregate>(id: &str, metadata: &HashMap<String, String>) -> Result<Metadata, StreamError> {
    let value = serde_json::to_value(metadata).expect("texts have a JSON form");
    serde_json::from_value(value).map_err(|error| StreamError::Unreadable {
        aggregate_type: A::TYPE,
        aggregate_id: id.to_owned(),
        reason: format!("its metadata: {error}"),
    })
}

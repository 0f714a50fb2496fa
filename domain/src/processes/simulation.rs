//! Orders lived through with everything that can go wrong between processes, aggregates and the provider: events are
//! delivered twice and out of order, commands are run twice or late, answers are lost. Money and goods are handled
//! once, and every order ends settled or waiting for something that has a name.

use super::samples::Fact;
use super::{Confirmation, Instruction, Processes, Reaction, Waiting};
use crate::order::samples::*;
use crate::order::{Fulfilment, Order, OrderCommand, OrderEvent, Picked};
use crate::payment::{FailureCode, Operation, Outcome, Payment, PaymentCommand, PaymentEvent, Provider};
use crate::scenario::handle;
use crate::timer::{Timer, TimerCommand, TimerReason};
use crate::{AttemptId, Money, ReturnId, ShipmentId};
use chrono::TimeDelta;
use cqrs_es::Aggregate;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// What goes wrong at the provider.
#[derive(Debug, Clone, Copy)]
struct Trouble {
    declines: bool,
    holds_less: bool,
    captures_once: bool,
    fails_captures: bool,
    fails_refunds: bool,
    fails_voids: bool,
}

/// The provider's own books: what it did under each key, once.
#[derive(Debug, Default)]
struct ProviderBooks {
    done: BTreeMap<AttemptId, (Operation, i64, bool)>,
    has_expired: bool,
}

impl ProviderBooks {
    /// Does what is asked, once a key, and says what it did.
    fn ask(&mut self, attempt: AttemptId, operation: Operation, amount: i64, trouble: Trouble) -> Outcome {
        let works = match operation {
            Operation::Authorise => !trouble.declines,
            Operation::Capture => !trouble.fails_captures && !self.has_expired,
            Operation::Refund => !trouble.fails_refunds,
            Operation::Void => !trouble.fails_voids && !self.has_expired,
        };
        let amount = if operation == Operation::Authorise && trouble.holds_less { amount - 1 } else { amount };
        let (_, amount, works) = *self.done.entry(attempt).or_insert((operation, amount, works));
        let code = FailureCode::new("provider_error").expect("a valid code");
        match (operation, works) {
            (Operation::Authorise, true) => {
                let captures_once = trouble.captures_once;
                Outcome::Authorised {
                    amount: pence(amount),
                    expires_at: noon(),
                    captures_once,
                    provider_reference: None,
                }
            }
            (Operation::Authorise, false) => Outcome::Declined { code },
            (_, false) => Outcome::Failed { code },
            (Operation::Capture, true) => Outcome::Captured,
            (Operation::Void, true) => Outcome::Voided,
            (Operation::Refund, true) => Outcome::Refunded,
        }
    }

    fn moved(&self, operation: Operation) -> i64 {
        let of = |(done, amount, works): &(Operation, i64, bool)| (*done == operation && *works).then_some(*amount);
        self.done.values().filter_map(of).sum()
    }
}

/// One order, all that belongs to it, and the log.
struct World {
    order: Order,
    payment: Payment,
    timer: Timer,
    provider: ProviderBooks,
    trouble: Trouble,
    log: Vec<Fact>,
    processes: Processes,
    /// How much of the log the processes have been brought in order.
    delivered: usize,
    /// Every instruction there ever was. Some run late, some twice.
    instructions: Vec<Instruction>,
}

impl World {
    fn new(trouble: Trouble) -> Self {
        let mut world = World {
            order: Order::default(),
            payment: Payment::default(),
            timer: Timer::default(),
            provider: ProviderBooks::default(),
            trouble,
            log: Vec::new(),
            processes: Processes::default(),
            delivered: 0,
            instructions: Vec::new(),
        };
        assert!(world.order(place(two_lines(), Fulfilment::Checkout)));
        world
    }

    /// Whether the command was not refused.
    fn order(&mut self, command: OrderCommand) -> bool {
        append(&mut self.log, &mut self.order, command)
    }

    fn payment(&mut self, command: PaymentCommand) -> bool {
        append(&mut self.log, &mut self.payment, command)
    }

    fn deliver(&mut self, place: usize) {
        let event_id = Uuid::from_u128(place as u128 + 1_000);
        self.processes.apply(event_id, self.log[place].as_event());
        for instruction in self.processes.react() {
            if !self.instructions.contains(&instruction) {
                self.instructions.push(instruction);
            }
        }
    }

    fn deliver_next(&mut self) -> bool {
        let is_there = self.delivered < self.log.len();
        if is_there {
            self.deliver(self.delivered);
            self.delivered += 1;
        }
        is_there
    }

    /// What the runtime does with an instruction, without calling the provider.
    fn run(&mut self, Instruction { command_id, reaction }: Instruction) {
        let (at, attempt) = (noon(), AttemptId(command_id));
        match reaction {
            Reaction::AuthorisePayment { order_id, amount, method, .. } => {
                let provider = Provider::new("simulator").expect("a valid name");
                let requested_at = at;
                self.payment(PaymentCommand::RequestAuthorisation {
                    order_id,
                    attempt,
                    provider,
                    method,
                    amount,
                    requested_at,
                });
            }
            Reaction::AskProvider { attempt, confirms, .. } => self.answer(attempt, confirms),
            Reaction::ConfirmOrder(confirmation) => drop(self.confirm(&confirmation)),
            Reaction::CancelUnpaidOrder { reason, .. } => {
                self.order(OrderCommand::CancelUnpaid { reason, cancelled_at: at });
            }
            Reaction::CancelOrder { reason, .. } => {
                self.order(OrderCommand::Cancel { reason, cancelled_at: at });
            }
            Reaction::VoidPayment { .. } => {
                self.payment(PaymentCommand::RequestVoid { attempt, requested_at: at });
            }
            Reaction::CapturePayment { amount, .. } => {
                self.payment(PaymentCommand::RequestCapture { attempt, amount, requested_at: at });
            }
            Reaction::BookCapture { captured_total, .. } => {
                self.order(OrderCommand::BookCapture { captured_total, captured_at: at });
            }
            Reaction::RestockGoods { return_id, .. } => {
                self.order(OrderCommand::Restock { return_id, restocked_at: at });
            }
            Reaction::RefundPayment { return_id, amount, .. } => {
                let return_id = Some(return_id);
                self.payment(PaymentCommand::RequestRefund { attempt, return_id, amount, requested_at: at });
            }
            Reaction::BookRefund { return_id, attempt, amount, .. } => {
                self.order(OrderCommand::BookRefund { return_id, attempt, amount, refunded_at: at });
            }
            Reaction::BookRefundBounce { return_id, attempt, .. } => {
                self.order(OrderCommand::BookRefundBounce { return_id, attempt, bounced_at: at });
            }
            Reaction::WakeMe { order_id, at, reason } => {
                append(&mut self.log, &mut self.timer, TimerCommand::Set { order_id, reason, at, sku: None });
            }
            Reaction::FireTimer { .. } | Reaction::ExpireReservation { .. } => {
                unreachable!("what the time brings is no reaction to an event")
            }
        }
    }

    /// Whether it was not refused.
    fn confirm(&mut self, confirmation: &Confirmation) -> bool {
        let authorise = |(payment_id, amount)| OrderCommand::Authorise { payment_id, amount, authorised_at: noon() };
        let authorise = confirmation.authorised.map(authorise);
        authorise.is_none_or(|authorise| self.order(authorise))
            && self.order(OrderCommand::Confirm { confirmed_at: noon() })
    }

    /// The provider says what became of an attempt; it does it now if it was not asked before. The order is confirmed with it,
    /// or the answer is recorded alone.
    fn answer(&mut self, attempt: AttemptId, confirms: Option<Confirmation>) {
        let Some(asked) = self.payment.attempt(attempt).cloned() else { return };
        let outcome = self.provider.ask(attempt, asked.operation, asked.amount.amount_minor, self.trouble);
        let (before, order) = (self.log.len(), self.order.clone());
        self.record(attempt, outcome.clone());
        let recorded = self.log.len();
        if let Some(confirmation) = confirms.filter(|confirmation| confirmation.follows_from(&outcome))
            && recorded > before
            && !self.confirm(&confirmation)
        {
            self.log.truncate(recorded);
            self.order = order;
        }
    }

    fn record(&mut self, attempt: AttemptId, outcome: Outcome) {
        self.payment(PaymentCommand::Record { attempt, outcome, provider_event: None, at: noon() });
    }

    fn open_attempt(&self, chosen: usize) -> Option<AttemptId> {
        let open: Vec<_> = self.payment.open_attempts().map(|(id, _)| id).collect();
        (!open.is_empty()).then(|| open[chosen % open.len()])
    }

    fn fire(&mut self) {
        let fired_at = noon() + TimeDelta::minutes(15);
        for reason in [TimerReason::ReservationEnds, TimerReason::CaptureEnds] {
            append(&mut self.log, &mut self.timer, TimerCommand::Fire { order_id: ORDER, reason, fired_at, sku: None });
        }
    }

    /// One thing that happens; `chosen` says to which event, instruction or return.
    fn step(&mut self, step: u8, chosen: usize) {
        let ship = |id, picked| OrderCommand::Ship {
            shipment_id: ShipmentId(Uuid::from_u128(id)),
            picked,
            tracking: None,
            shipped_at: noon(),
        };
        let return_id = ReturnId(Uuid::from_u128(chosen as u128 % 3));
        let one: Picked = picked([(chosen as u32 % 2 + 1, 1)]);
        match step {
            0..20 => drop(self.deliver_next()),
            // Anything again, or something that is not its turn yet.
            20..30 => self.deliver(chosen % self.log.len()),
            30..55 => {
                if !self.instructions.is_empty() {
                    self.run(self.instructions[chosen % self.instructions.len()].clone());
                }
            }
            55..70 => {
                if let Some(attempt) = self.open_attempt(chosen) {
                    self.answer(attempt, None);
                }
            }
            // The provider does it, and the answer is lost.
            70..74 => {
                if let Some(attempt) = self.open_attempt(chosen)
                    && let Some(asked) = self.payment.attempt(attempt).cloned()
                {
                    self.provider.ask(attempt, asked.operation, asked.amount.amount_minor, self.trouble);
                    self.record(attempt, Outcome::Unknown);
                }
            }
            74..77 => {
                if let Some(attempt) = self.open_attempt(chosen) {
                    self.record(attempt, Outcome::Pending { action: None, provider_reference: None });
                }
            }
            77..79 => drop(self.order(cancel())),
            79..80 => self.fire(),
            80..88 => drop(self.order(ship(chosen as u128 % 5, one))),
            88..93 => {
                let (reason, requested_at) = (reason(), noon());
                self.order(OrderCommand::RequestReturn { return_id, picked: one, reason, requested_at });
            }
            93..97 => {
                let (refund, received_at) = (None, noon());
                self.order(OrderCommand::ReceiveReturn { return_id, picked: one, refund, received_at });
            }
            97..99 => self.bounce(chosen),
            _ => self.expire(),
        }
    }

    /// The provider lets go of what it holds, if anything.
    fn expire(&mut self) {
        let is_held = self.provider.moved(Operation::Authorise) > 0 && self.provider.moved(Operation::Void) == 0;
        let held = self.log.iter().find_map(|fact| match fact {
            Fact::Payment(PaymentEvent::Authorised { attempt, .. }) => Some(*attempt),
            _ => None,
        });
        if let Some(attempt) = held.filter(|_| is_held) {
            self.provider.has_expired = true;
            self.record(attempt, Outcome::Expired);
        }
    }

    /// The customer's bank sends a refund back.
    fn bounce(&mut self, chosen: usize) {
        let done = self
            .provider
            .done
            .iter_mut()
            .filter(|(_, (operation, _, works))| *operation == Operation::Refund && *works);
        let mut done: Vec<_> = done.collect();
        if done.is_empty() {
            return;
        }
        let place = chosen % done.len();
        let (attempt, (.., works)) = &mut done[place];
        *works = false;
        let attempt = **attempt;
        self.record(attempt, Outcome::Failed { code: FailureCode::new("bank_returned").expect("a valid code") });
    }

    /// Everything that is under way comes to its end.
    fn settle(&mut self) {
        self.fire();
        for _ in 0..100 {
            let before = self.log.len();
            self.delivered = 0; // The processes start again from the beginning of the log.
            while self.deliver_next() {}
            for instruction in self.instructions.clone() {
                self.run(instruction);
            }
            while let Some(attempt) = self.open_attempt(0) {
                self.answer(attempt, None);
            }
            self.fire();
            if self.log.len() == before {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    fn orders(&self) -> impl Iterator<Item = &OrderEvent> {
        self.log.iter().filter_map(|fact| if let Fact::Order(event) = fact { Some(event) } else { None })
    }

    fn count(&self, is_meant: impl Fn(&Fact) -> bool) -> usize {
        self.log.iter().filter(|fact| is_meant(fact)).count()
    }
}

fn append<A: Aggregate<Services = ()>>(log: &mut Vec<Fact>, aggregate: &mut A, command: A::Command) -> bool
where
    Fact: From<A::Event>,
{
    let decided = handle(aggregate, command);
    let is_done = decided.is_ok();
    log.extend(decided.into_iter().flatten().map(Fact::from));
    is_done
}

fn any_trouble() -> impl Strategy<Value = Trouble> {
    let rarely = || prop::bool::weighted(0.15);
    (rarely(), rarely(), prop::bool::weighted(0.3), rarely(), rarely(), rarely()).prop_map(
        |(declines, holds_less, captures_once, fails_captures, fails_refunds, fails_voids)| Trouble {
            declines,
            holds_less,
            captures_once,
            fails_captures,
            fails_refunds,
            fails_voids,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn money_and_goods_are_handled_once_and_every_order_settles(
        trouble in any_trouble(),
        begins_shipped: bool,
        steps in prop::collection::vec((0_u8..100, 0_usize..1_000), 0..150),
    ) {
        let mut world = World::new(trouble);
        if begins_shipped {
            world.settle();
            world.step(80, 0);
            world.step(80, 1);
            world.settle();
        }
        for (step, chosen) in steps {
            world.step(step, chosen);
        }
        world.settle();

        let sum = |amount: fn(&OrderEvent) -> Option<Money>| {
            world.orders().filter_map(amount).map(|amount| amount.amount_minor).sum::<i64>()
        };
        let charged = sum(|event| match event { OrderEvent::Shipped { charge, .. } => Some(*charge), _ => None });
        let booked = sum(|event| match event { OrderEvent::Captured { amount, .. } => Some(*amount), _ => None });
        let owed = sum(|event| match event { OrderEvent::ReturnReceived { refund, .. } => Some(*refund), _ => None });
        let sent = sum(|event| match event { OrderEvent::Refunded { amount, .. } => Some(*amount), _ => None });
        let bounced = sum(|event| match event { OrderEvent::RefundBounced { amount, .. } => Some(*amount), _ => None });
        let back = sent - bounced;
        let (captured, refunded) = (world.provider.moved(Operation::Capture), world.provider.moved(Operation::Refund));
        let waiting = world.processes.waits_for();
        let named = |waiting: &BTreeSet<Waiting>, those: &[Waiting]| waiting.iter().all(|one| those.contains(one));

        // The provider's books and the order's are the same, and nothing moved that was not owed.
        prop_assert_eq!(captured.min(charged), booked);
        prop_assert_eq!(refunded, back);
        prop_assert!((trouble.captures_once || captured <= charged) && refunded <= owed && owed <= captured);
        if !waiting.contains(&Waiting::FailedCapture) && !waiting.contains(&Waiting::ExpiredInPart) {
            prop_assert_eq!(booked, charged);
        }
        if !waiting.contains(&Waiting::FailedRefund) {
            prop_assert_eq!(refunded, owed);
        }

        // Goods: released once, or shipped; what came back is on sale again, once.
        let cancelled = world.count(|fact| matches!(fact, Fact::Order(OrderEvent::Cancelled { .. })));
        let shipped = world.count(|fact| matches!(fact, Fact::Order(OrderEvent::Shipped { .. })));
        let confirmed = world.count(|fact| matches!(fact, Fact::Order(OrderEvent::Confirmed { .. })));
        let received = world.count(|fact| matches!(fact, Fact::Order(OrderEvent::ReturnReceived { .. })));
        let restocked = world.count(|fact| matches!(fact, Fact::Order(OrderEvent::Restocked { .. })));
        prop_assert!(cancelled <= 1 && (cancelled == 0 || shipped == 0));
        prop_assert_eq!(received, restocked);

        // Settled: cancelled without a penny held, or confirmed. Then it waits for goods or for a person, and says so.
        if cancelled == 1 {
            prop_assert!(waiting.is_empty(), "{waiting:?}");
            let is_held = world.provider.moved(Operation::Authorise) > 0 && world.provider.moved(Operation::Void) == 0;
            prop_assert!(!is_held || world.provider.has_expired || trouble.fails_voids);
        } else {
            prop_assert_eq!(confirmed, 1);
            let unshipped = !world.order.left_to_ship().is_empty() && !waiting.contains(&Waiting::ExpiredInPart);
            prop_assert_eq!(waiting.contains(&Waiting::Shipment), unshipped);
            let those = [
                Waiting::Shipment,
                Waiting::ReturnedGoods,
                Waiting::FailedCapture,
                Waiting::FailedRefund,
                Waiting::ExpiredInPart,
            ];
            prop_assert!(named(&waiting, &those), "{waiting:?}");
        }
    }
}

/// The stories above are worth nothing if they all end the same way.
#[test]
fn stories_end_in_more_than_one_way() {
    let none = Trouble {
        declines: false,
        holds_less: false,
        captures_once: false,
        fails_captures: false,
        fails_refunds: false,
        fails_voids: false,
    };
    let mut paid = World::new(none);
    paid.settle();
    assert_eq!(paid.processes.waits_for(), [Waiting::Shipment].into());
    let mut declined = World::new(Trouble { declines: true, ..none });
    declined.settle();
    assert_eq!(declined.count(|fact| matches!(fact, Fact::Order(OrderEvent::Cancelled { .. }))), 1);
    assert_eq!(declined.processes.waits_for(), [].into());
}

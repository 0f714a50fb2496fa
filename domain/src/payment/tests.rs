use super::*;
use crate::scenario::{given, handle};
use proptest::prelude::*;
use uuid::Uuid;

const ORDER: OrderId = OrderId(Uuid::from_u128(0xA));
const AUTHORISE: AttemptId = AttemptId(Uuid::from_u128(1));
const CAPTURE: AttemptId = AttemptId(Uuid::from_u128(2));
const OTHER: AttemptId = AttemptId(Uuid::from_u128(3));
const VOID: AttemptId = AttemptId(Uuid::from_u128(4));
const REFUND: AttemptId = AttemptId(Uuid::from_u128(5));

fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_259_668_800, 0).expect("a time in 2009")
}

fn pence(amount_minor: i64) -> Money {
    Money::new(amount_minor, Currency::GBP)
}

fn code() -> FailureCode {
    FailureCode::new("insufficient_funds").expect("a valid code")
}

fn authorise(attempt: AttemptId, amount: Money) -> PaymentCommand {
    PaymentCommand::RequestAuthorisation {
        order_id: ORDER,
        attempt,
        provider: Provider::new("simulator").expect("a valid name"),
        method: PaymentMethod::new("tok_success").expect("a valid token"),
        amount,
        requested_at: noon(),
    }
}

fn capture(attempt: AttemptId, amount: i64) -> PaymentCommand {
    PaymentCommand::RequestCapture { attempt, amount: pence(amount), requested_at: noon() }
}

fn void(attempt: AttemptId) -> PaymentCommand {
    PaymentCommand::RequestVoid { attempt, requested_at: noon() }
}

fn refund(attempt: AttemptId, amount: i64) -> PaymentCommand {
    PaymentCommand::RequestRefund { attempt, return_id: None, amount: pence(amount), requested_at: noon() }
}

fn record(attempt: AttemptId, outcome: Outcome) -> PaymentCommand {
    PaymentCommand::Record { attempt, outcome, provider_event: None, at: noon() }
}

fn notify(event: &str, attempt: AttemptId, outcome: Outcome) -> PaymentCommand {
    PaymentCommand::Record { attempt, outcome, provider_event: ProviderEventId::new(event).ok(), at: noon() }
}

fn authorised_outcome(amount: i64) -> Outcome {
    Outcome::Authorised { amount: pence(amount), expires_at: noon(), captures_once: false, provider_reference: None }
}

fn pending() -> Outcome {
    Outcome::Pending { action: None, provider_reference: None }
}

/// What `commands` lead to, none of which may be refused.
fn after(commands: impl IntoIterator<Item = PaymentCommand>) -> Vec<PaymentEvent> {
    let mut payment = Payment::default();
    let handled = commands.into_iter().map(|command| handle(&mut payment, command).expect("not refused"));
    handled.flatten().collect()
}

/// 345 pence authorised, then `commands`.
fn authorised_and(commands: impl IntoIterator<Item = PaymentCommand>) -> Vec<PaymentEvent> {
    after([authorise(AUTHORISE, pence(345)), record(AUTHORISE, authorised_outcome(345))].into_iter().chain(commands))
}

fn captured_and(commands: impl IntoIterator<Item = PaymentCommand>) -> Vec<PaymentEvent> {
    authorised_and([capture(CAPTURE, 345), record(CAPTURE, Outcome::Captured)].into_iter().chain(commands))
}

#[test]
fn an_attempt_is_recorded_before_the_provider_is_asked() {
    let requested = || PaymentEvent::AuthorisationRequested {
        order_id: ORDER,
        attempt: AUTHORISE,
        provider: Provider::new("simulator").expect("a valid name"),
        method: PaymentMethod::new("tok_success").expect("a valid token"),
        amount: pence(345),
        requested_at: noon(),
    };
    given::<Payment>([]).when(authorise(AUTHORISE, pence(345))).then(requested());
    given::<Payment>([requested()]).when(authorise(AUTHORISE, pence(345))).then_nothing();
    for another in [authorise(AUTHORISE, pence(344)), authorise(OTHER, pence(345))] {
        let refused = PaymentError::RequestedDifferently { order_id: ORDER, amount: pence(345) };
        given::<Payment>([requested()]).when(another).then_refused(refused);
    }
    given::<Payment>([])
        .when(authorise(AUTHORISE, pence(0)))
        .then_refused(PaymentError::AmountNotPositive { amount: pence(0) });
    given::<Payment>([]).when(record(AUTHORISE, pending())).then_refused(PaymentError::Unknown);
}

#[test]
fn an_authorisation_is_recorded_once() {
    let requested = || after([authorise(AUTHORISE, pence(345))]);
    let authorised = |provider_event| PaymentEvent::Authorised {
        order_id: ORDER,
        attempt: AUTHORISE,
        amount: pence(345),
        expires_at: noon(),
        captures_once: false,
        provider_reference: None,
        provider_event,
        at: noon(),
    };
    given::<Payment>(requested()).when(record(AUTHORISE, authorised_outcome(345))).then(authorised(None));
    given::<Payment>(requested())
        .when(notify("evt_1", AUTHORISE, authorised_outcome(345)))
        .then(authorised(ProviderEventId::new("evt_1").ok()));
    given::<Payment>(authorised_and([])).when(record(AUTHORISE, authorised_outcome(345))).then_nothing();
    given::<Payment>(authorised_and([])).when(notify("evt_1", AUTHORISE, pending())).then_nothing();
    given::<Payment>(requested())
        .when(record(AUTHORISE, authorised_outcome(346)))
        .then_refused(PaymentError::AuthorisedTooMuch { requested: pence(345), authorised: pence(346) });
    let euro = Currency::from_code("EUR").expect("EUR is in ISO 4217");
    let in_euro = Outcome::Authorised {
        amount: Money::new(345, euro),
        expires_at: noon(),
        captures_once: false,
        provider_reference: None,
    };
    given::<Payment>(requested())
        .when(record(AUTHORISE, in_euro))
        .then_refused(PaymentError::Currency { expected: Currency::GBP, found: euro });
    given::<Payment>(requested())
        .when(record(AUTHORISE, Outcome::Captured))
        .then_refused(PaymentError::OutcomeOfAnother { operation: Operation::Authorise });
    given::<Payment>(requested())
        .when(record(OTHER, pending()))
        .then_refused(PaymentError::UnknownAttempt { attempt: OTHER });
}

#[test]
fn a_late_success_corrects_a_decline_and_never_the_reverse() {
    let declined = || record(AUTHORISE, Outcome::Declined { code: code() });
    let events = after([authorise(AUTHORISE, pence(345)), declined(), record(AUTHORISE, authorised_outcome(345))]);
    assert!(matches!(events.last(), Some(PaymentEvent::Authorised { .. })));
    given::<Payment>(authorised_and([])).when(declined()).then_nothing();
}

#[test]
fn an_unknown_outcome_is_found_by_asking_never_by_charging_again() {
    let unknown = || after([authorise(AUTHORISE, pence(345)), record(AUTHORISE, Outcome::Unknown)]);
    given::<Payment>(unknown()).when(record(AUTHORISE, Outcome::Unknown)).then_nothing();
    given::<Payment>(unknown()).when(authorise(AUTHORISE, pence(345))).then_nothing();
    given::<Payment>(unknown())
        .when(authorise(OTHER, pence(345)))
        .then_refused(PaymentError::RequestedDifferently { order_id: ORDER, amount: pence(345) });
    let payment: Payment = crate::scenario::state(unknown());
    assert_eq!(payment.open_attempts().map(|(id, _)| id).collect::<Vec<_>>(), [AUTHORISE]);
    given::<Payment>(unknown()).when(record(AUTHORISE, Outcome::Declined { code: code() })).then(
        PaymentEvent::Declined { order_id: ORDER, attempt: AUTHORISE, code: code(), provider_event: None, at: noon() },
    );
}

#[test]
fn no_more_is_captured_than_is_authorised_even_while_the_provider_has_not_answered() {
    let first = || [capture(CAPTURE, 190)];
    given::<Payment>(authorised_and([])).when(capture(CAPTURE, 345)).then(PaymentEvent::CaptureRequested {
        order_id: ORDER,
        attempt: CAPTURE,
        amount: pence(345),
        requested_at: noon(),
    });
    given::<Payment>(authorised_and(first())).when(capture(CAPTURE, 190)).then_nothing();
    given::<Payment>(authorised_and(first())).when(capture(CAPTURE, 155)).then_refused(
        PaymentError::AttemptedDifferently { attempt: CAPTURE, operation: Operation::Capture, amount: pence(190) },
    );
    given::<Payment>(authorised_and(first()))
        .when(capture(OTHER, 156))
        .then_refused(PaymentError::CaptureTooLarge { requested: pence(156), capturable: pence(155) });
    given::<Payment>(after([authorise(AUTHORISE, pence(345))]))
        .when(capture(CAPTURE, 1))
        .then_refused(PaymentError::NotAuthorised);
    given::<Payment>(authorised_and([]))
        .when(capture(CAPTURE, 0))
        .then_refused(PaymentError::AmountNotPositive { amount: pence(0) });
    given::<Payment>(authorised_and([void(VOID)])).when(capture(CAPTURE, 1)).then_refused(PaymentError::Voided);
    given::<Payment>(authorised_and([record(AUTHORISE, Outcome::Expired)]))
        .when(capture(CAPTURE, 1))
        .then_refused(PaymentError::Expired);
}

#[test]
fn what_can_be_captured_once_is_captured_whole() {
    let once =
        Outcome::Authorised { amount: pence(345), expires_at: noon(), captures_once: true, provider_reference: None };
    let held = || after([authorise(AUTHORISE, pence(345)), record(AUTHORISE, once.clone())]);
    given::<Payment>(held())
        .when(capture(CAPTURE, 190))
        .then_refused(PaymentError::CaptureInPart { requested: pence(190), capturable: pence(345) });
    given::<Payment>(held()).when(capture(CAPTURE, 345)).then(PaymentEvent::CaptureRequested {
        order_id: ORDER,
        attempt: CAPTURE,
        amount: pence(345),
        requested_at: noon(),
    });
}

#[test]
fn captures_add_up_and_each_counts_once() {
    let captured = |attempt, amount, total| PaymentEvent::Captured {
        order_id: ORDER,
        attempt,
        amount: pence(amount),
        captured_total: pence(total),
        provider_event: None,
        at: noon(),
    };
    let first = || [capture(CAPTURE, 190), record(CAPTURE, Outcome::Captured)];
    given::<Payment>(authorised_and([capture(CAPTURE, 190)]))
        .when(record(CAPTURE, Outcome::Captured))
        .then(captured(CAPTURE, 190, 190));
    given::<Payment>(authorised_and(first())).when(record(CAPTURE, Outcome::Captured)).then_nothing();
    given::<Payment>(authorised_and(first().into_iter().chain([capture(OTHER, 155)])))
        .when(record(OTHER, Outcome::Captured))
        .then(captured(OTHER, 155, 345));
}

#[test]
fn a_capture_that_was_replaced_when_it_failed_cannot_count_beside_its_replacement() {
    given::<Payment>(authorised_and([
        capture(CAPTURE, 345),
        record(CAPTURE, Outcome::Failed { code: code() }),
        capture(OTHER, 345),
    ]))
    .when(record(CAPTURE, Outcome::Captured))
    .then_refused(PaymentError::CaptureTooLarge { requested: pence(345), capturable: pence(0) });
    given::<Payment>(authorised_and([
        capture(CAPTURE, 345),
        record(CAPTURE, Outcome::Failed { code: code() }),
        void(VOID),
    ]))
    .when(record(CAPTURE, Outcome::Captured))
    .then_refused(PaymentError::Voided);
}

#[test]
fn only_what_is_not_captured_is_voided_and_once() {
    given::<Payment>(authorised_and([])).when(void(VOID)).then(PaymentEvent::VoidRequested {
        order_id: ORDER,
        attempt: VOID,
        requested_at: noon(),
    });
    given::<Payment>(authorised_and([void(VOID)])).when(void(VOID)).then_nothing();
    given::<Payment>(authorised_and([void(VOID)])).when(void(OTHER)).then_nothing();
    given::<Payment>(authorised_and([void(VOID)])).when(record(VOID, Outcome::Voided)).then(PaymentEvent::Voided {
        order_id: ORDER,
        attempt: VOID,
        amount: pence(345),
        provider_event: None,
        at: noon(),
    });
    for progress in [vec![], vec![record(CAPTURE, Outcome::Captured)]] {
        given::<Payment>(authorised_and([capture(CAPTURE, 1)].into_iter().chain(progress)))
            .when(void(VOID))
            .then_refused(PaymentError::AlreadyCaptured { captured: pence(1) });
    }
    given::<Payment>(after([authorise(AUTHORISE, pence(345))]))
        .when(void(VOID))
        .then_refused(PaymentError::NotAuthorised);
    given::<Payment>(authorised_and([record(AUTHORISE, Outcome::Expired)]))
        .when(void(VOID))
        .then_refused(PaymentError::Expired);
    let failed = || [void(VOID), record(VOID, Outcome::Failed { code: code() })];
    given::<Payment>(authorised_and(failed().into_iter().chain([capture(CAPTURE, 1)])))
        .when(record(VOID, Outcome::Voided))
        .then_refused(PaymentError::AlreadyCaptured { captured: pence(1) });
}

#[test]
fn no_more_is_refunded_than_was_captured() {
    let refunded = || [refund(REFUND, 300), record(REFUND, Outcome::Refunded)];
    given::<Payment>(captured_and([])).when(refund(REFUND, 300)).then(PaymentEvent::RefundRequested {
        order_id: ORDER,
        attempt: REFUND,
        return_id: None,
        amount: pence(300),
        requested_at: noon(),
    });
    given::<Payment>(captured_and([refund(REFUND, 300)])).when(refund(REFUND, 300)).then_nothing();
    given::<Payment>(captured_and([refund(REFUND, 300)])).when(record(REFUND, Outcome::Refunded)).then(
        PaymentEvent::Refunded {
            order_id: ORDER,
            attempt: REFUND,
            return_id: None,
            amount: pence(300),
            refunded_total: pence(300),
            provider_event: None,
            at: noon(),
        },
    );
    given::<Payment>(captured_and(refunded())).when(record(REFUND, Outcome::Refunded)).then_nothing();
    for so_far in [vec![refund(REFUND, 300)], refunded().to_vec()] {
        given::<Payment>(captured_and(so_far))
            .when(refund(OTHER, 46))
            .then_refused(PaymentError::RefundTooLarge { requested: pence(46), refundable: pence(45) });
    }
    given::<Payment>(authorised_and([]))
        .when(refund(REFUND, 1))
        .then_refused(PaymentError::RefundTooLarge { requested: pence(1), refundable: pence(0) });
    let failed = [refund(REFUND, 300), record(REFUND, Outcome::Failed { code: code() }), refund(OTHER, 300)];
    given::<Payment>(captured_and(failed)).when(record(REFUND, Outcome::Refunded)).then_nothing();
}

#[test]
fn a_refund_that_the_customers_bank_sends_back_is_owed_again() {
    let failed = || record(REFUND, Outcome::Failed { code: code() });
    let bounced = PaymentEvent::RefundBounced {
        order_id: ORDER,
        attempt: REFUND,
        return_id: None,
        amount: pence(300),
        refunded_total: pence(0),
        code: code(),
        provider_event: None,
        at: noon(),
    };
    let refunded = || [refund(REFUND, 300), record(REFUND, Outcome::Refunded)];
    given::<Payment>(captured_and(refunded())).when(failed()).then(bounced);
    let back = || refunded().into_iter().chain([failed()]);
    given::<Payment>(captured_and(back())).when(failed()).then_nothing();
    given::<Payment>(captured_and(back())).when(record(REFUND, Outcome::Refunded)).then_nothing();
    given::<Payment>(captured_and(back())).when(refund(OTHER, 345)).then(PaymentEvent::RefundRequested {
        order_id: ORDER,
        attempt: OTHER,
        return_id: None,
        amount: pence(345),
        requested_at: noon(),
    });
    // Nothing else that was done is undone by a failure.
    given::<Payment>(captured_and([])).when(record(CAPTURE, Outcome::Failed { code: code() })).then_nothing();
}

#[test]
fn a_return_is_refunded_once() {
    let return_id = ReturnId(Uuid::from_u128(0x2E));
    let refund = |attempt, amount| PaymentCommand::RequestRefund {
        attempt,
        return_id: Some(return_id),
        amount: pence(amount),
        requested_at: noon(),
    };
    let failed = || [refund(REFUND, 100), record(REFUND, Outcome::Failed { code: code() })];
    given::<Payment>(captured_and([refund(REFUND, 100)])).when(refund(REFUND, 100)).then_nothing();
    given::<Payment>(captured_and([refund(REFUND, 100)]))
        .when(refund(OTHER, 100))
        .then_refused(PaymentError::ReturnRefunded { return_id, amount: pence(100) });
    given::<Payment>(captured_and(failed())).when(refund(OTHER, 100)).then(PaymentEvent::RefundRequested {
        order_id: ORDER,
        attempt: OTHER,
        return_id: Some(return_id),
        amount: pence(100),
        requested_at: noon(),
    });
    given::<Payment>(captured_and(failed().into_iter().chain([refund(OTHER, 100)])))
        .when(record(REFUND, Outcome::Refunded))
        .then_nothing();
}

#[test]
fn the_same_notification_twice_changes_nothing() {
    let twice = after([authorise(AUTHORISE, pence(345)), notify("evt_1", AUTHORISE, pending())]);
    given::<Payment>(twice).when(notify("evt_1", AUTHORISE, authorised_outcome(345))).then_nothing();
}

#[test]
fn what_the_provider_calls_the_payment_is_kept() {
    let reference = ProviderReference::new("pi_1").ok();
    let pending = Outcome::Pending { action: None, provider_reference: reference.clone() };
    let of_refund = Outcome::Pending { action: None, provider_reference: ProviderReference::new("re_1").ok() };
    let known = |commands: Vec<PaymentCommand>| {
        let payment: Payment = crate::scenario::state(after(commands));
        payment.account.and_then(|account| account.reference)
    };
    let mut story = vec![authorise(AUTHORISE, pence(345))];
    assert_eq!(known(story.clone()), None);
    story.push(record(AUTHORISE, pending));
    assert_eq!(known(story.clone()), reference);
    story.extend([
        record(AUTHORISE, authorised_outcome(345)),
        capture(CAPTURE, 345),
        record(CAPTURE, Outcome::Captured),
    ]);
    story.extend([refund(REFUND, 5), record(REFUND, of_refund)]);
    assert_eq!(known(story), reference, "neither news without a name nor a refund's takes it away");
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        1 => Just(Outcome::Unknown),
        1 => Just(pending()),
        4 => prop_oneof![Just(345), 0_i64..400].prop_map(authorised_outcome),
        1 => Just(Outcome::Declined { code: code() }),
        4 => Just(Outcome::Captured),
        1 => Just(Outcome::Voided),
        4 => Just(Outcome::Refunded),
        2 => Just(Outcome::Failed { code: code() }),
        1 => Just(Outcome::Expired),
    ]
}

fn any_command() -> impl Strategy<Value = PaymentCommand> {
    let attempt = || (1_u128..9).prop_map(|id| AttemptId(Uuid::from_u128(id)));
    prop_oneof![
        2 => (1_u128..3).prop_map(|id| authorise(AttemptId(Uuid::from_u128(id)), pence(345))),
        4 => (attempt(), -1_i64..400).prop_map(|(attempt, amount)| capture(attempt, amount)),
        1 => attempt().prop_map(void),
        4 => (attempt(), -1_i64..400).prop_map(|(attempt, amount)| refund(attempt, amount)),
        12 => (attempt(), any_outcome(), prop::option::of(0_u8..20)).prop_map(|(attempt, outcome, event)| {
            PaymentCommand::Record {
                attempt,
                outcome,
                provider_event: event.and_then(|event| ProviderEventId::new(&format!("evt_{event}")).ok()),
                at: noon(),
            }
        }),
    ]
}

proptest! {
    #[test]
    fn a_retry_changes_nothing_and_the_money_adds_up(
        commands in prop::collection::vec(any_command(), 0..80),
    ) {
        let mut payment = Payment::default();
        let mut events = Vec::new();
        for command in [authorise(AUTHORISE, pence(345))].into_iter().chain(commands) {
            let before = payment.clone();
            match handle(&mut payment, command.clone()) {
                Ok(decided) => {
                    events.extend(decided);
                    prop_assert_eq!(handle(&mut payment, command), Ok(vec![]));
                }
                Err(_) => prop_assert_eq!(&payment, &before),
            }
            let Some(Account { requested, authorised, captured, refunded, .. }) = payment.account else { continue };
            prop_assert!(captured.amount_minor <= authorised.amount_minor);
            prop_assert!(authorised.amount_minor <= requested.amount_minor);
            prop_assert!(0 <= refunded.amount_minor && refunded.amount_minor <= captured.amount_minor);
        }
        let mut captures = BTreeMap::new();
        for event in &events {
            if let PaymentEvent::Captured { attempt, amount, .. } = event {
                prop_assert!(captures.insert(*attempt, amount.amount_minor).is_none(), "captured twice");
            }
        }
        let captured: i64 = captures.values().sum();
        let account = payment.account.expect("the first command began it");
        prop_assert_eq!(captured, account.captured.amount_minor);
        let voided = events.iter().any(|event| matches!(event, PaymentEvent::Voided { .. }));
        prop_assert!(!voided || captured == 0);
    }

    #[test]
    fn news_of_an_authorisation_may_come_in_any_order(
        news in Just(vec![
            Outcome::Unknown,
            pending(),
            Outcome::Declined { code: code() },
            authorised_outcome(345),
            Outcome::Unknown,
            pending(),
            authorised_outcome(345),
        ]).prop_shuffle(),
    ) {
        let mut payment: Payment = crate::scenario::state(after([authorise(AUTHORISE, pence(345))]));
        for outcome in news {
            handle(&mut payment, record(AUTHORISE, outcome)).expect("none of it is refused");
        }
        prop_assert_eq!(payment.attempt(AUTHORISE).map(|attempt| attempt.progress), Some(Progress::Done));
        prop_assert_eq!(payment.account.map(|account| account.authorised), Some(pence(345)));
    }

    #[test]
    fn news_of_a_refund_may_come_in_any_order(
        bounces: bool,
        news in Just(vec![pending(), Outcome::Refunded, Outcome::Unknown, Outcome::Refunded]).prop_shuffle(),
        place in 0_usize..5,
    ) {
        let mut payment: Payment = crate::scenario::state(captured_and([refund(REFUND, 300)]));
        let mut news = news;
        if bounces {
            news.insert(place, Outcome::Failed { code: code() });
        }
        for outcome in news {
            handle(&mut payment, record(REFUND, outcome)).expect("none of it is refused");
        }
        let (progress, refunded) = if bounces { (Progress::Failed, 0) } else { (Progress::Done, 300) };
        prop_assert_eq!(payment.attempt(REFUND).map(|attempt| attempt.progress), Some(progress));
        prop_assert_eq!(payment.account.map(|account| account.refunded), Some(pence(refunded)));
    }
}

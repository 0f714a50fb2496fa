//! Why a payment command was refused.

use super::Problem;
use super::kind::problems;
use kontor_domain::payment::PaymentError;

problems! {
    /// There is none with this id, or it is of somebody else's order.
    UNKNOWN_PAYMENT = 404 "unknown-payment", "There is no such payment", [];
    /// A payment is begun once. For another one, choose another id.
    PAYMENT_REQUESTED_DIFFERENTLY = 409 "payment-requested-differently", "The id belongs to another payment", [order_id, amount];
    /// An attempt asks the provider for one thing. For another one, choose another key.
    ATTEMPTED_DIFFERENTLY = 409 "attempted-differently", "The id belongs to another attempt", [attempt, operation, amount];
    /// What is captured or refunded is at least one minor unit.
    AMOUNT_NOT_POSITIVE = 422 "amount-not-positive", "The amount is not above 0", [amount];
    /// A payment has one currency, its order's.
    OTHER_CURRENCY = 422 "other-currency", "The payment is in another currency", [expected, found];
    /// The provider holds nothing that could be captured or let go.
    PAYMENT_NOT_AUTHORISED = 409 "payment-not-authorised", "Nothing is authorised", [];
    /// The provider has let go of what it held, or is about to.
    PAYMENT_VOIDED = 409 "payment-voided", "The authorisation is voided", [];
    /// The provider has let go of what it held, unasked.
    AUTHORISATION_EXPIRED = 409 "authorisation-expired", "The authorisation has expired", [];
    /// All captures together are at most what the provider holds.
    CAPTURE_TOO_LARGE = 409 "capture-too-large", "Less can be captured", [requested, capturable];
    /// What can be captured once only is captured whole. What is not to be paid in the end is refunded.
    CAPTURE_IN_PART = 409 "capture-in-part", "The payment can be captured once only", [requested, capturable];
    /// What has moved is refunded; only what is held can be let go.
    ALREADY_CAPTURED = 409 "already-captured", "Money has moved: refund it instead", [captured];
    /// All refunds together are at most what was captured.
    PAYMENT_REFUND_TOO_LARGE = 409 "payment-refund-too-large", "Less can be refunded", [requested, refundable];
    /// A return is refunded once.
    RETURN_REFUNDED = 409 "return-refunded", "The return is refunded", [return_id, amount];
    /// The payment never asked its provider under this key.
    UNKNOWN_ATTEMPT = 404 "unknown-attempt", "The payment knows no such attempt", [attempt];
    /// A capture cannot end as a refund does.
    OUTCOME_OF_ANOTHER = 409 "outcome-of-another", "An attempt of this kind cannot end like this", [operation];
    /// The provider holds more than it was asked to: for a person to look into.
    AUTHORISED_TOO_MUCH = 409 "authorised-too-much", "More was authorised than was requested", [requested, authorised];
}

pub fn problem(error: PaymentError, detail: String) -> Problem {
    match error {
        PaymentError::Unknown => UNKNOWN_PAYMENT.problem(detail),
        PaymentError::RequestedDifferently { order_id, amount } => {
            PAYMENT_REQUESTED_DIFFERENTLY.problem(detail).with("order_id", order_id).with("amount", amount)
        }
        PaymentError::AttemptedDifferently { attempt, operation, amount } => ATTEMPTED_DIFFERENTLY
            .problem(detail)
            .with("attempt", attempt)
            .with("operation", operation)
            .with("amount", amount),
        PaymentError::AmountNotPositive { amount } => AMOUNT_NOT_POSITIVE.problem(detail).with("amount", amount),
        PaymentError::Currency { expected, found } => {
            OTHER_CURRENCY.problem(detail).with("expected", expected).with("found", found)
        }
        PaymentError::NotAuthorised => PAYMENT_NOT_AUTHORISED.problem(detail),
        PaymentError::Voided => PAYMENT_VOIDED.problem(detail),
        PaymentError::Expired => AUTHORISATION_EXPIRED.problem(detail),
        PaymentError::CaptureTooLarge { requested, capturable } => {
            CAPTURE_TOO_LARGE.problem(detail).with("requested", requested).with("capturable", capturable)
        }
        PaymentError::CaptureInPart { requested, capturable } => {
            CAPTURE_IN_PART.problem(detail).with("requested", requested).with("capturable", capturable)
        }
        PaymentError::AlreadyCaptured { captured } => ALREADY_CAPTURED.problem(detail).with("captured", captured),
        PaymentError::RefundTooLarge { requested, refundable } => {
            PAYMENT_REFUND_TOO_LARGE.problem(detail).with("requested", requested).with("refundable", refundable)
        }
        PaymentError::ReturnRefunded { return_id, amount } => {
            RETURN_REFUNDED.problem(detail).with("return_id", return_id).with("amount", amount)
        }
        PaymentError::UnknownAttempt { attempt } => UNKNOWN_ATTEMPT.problem(detail).with("attempt", attempt),
        PaymentError::OutcomeOfAnother { operation } => OUTCOME_OF_ANOTHER.problem(detail).with("operation", operation),
        PaymentError::AuthorisedTooMuch { requested, authorised } => {
            AUTHORISED_TOO_MUCH.problem(detail).with("requested", requested).with("authorised", authorised)
        }
    }
}

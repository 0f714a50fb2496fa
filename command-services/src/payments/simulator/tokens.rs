//! The test tokens: what the simulator makes of a payment with each of them. README.md tells it to shop clients.

use super::ledger::State;
use kontor_domain::payment::Operation;

/// What becomes of one attempt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Script {
    pub state: State,
    /// Why it failed.
    pub code: Option<&'static str>,
    /// The simulator does it and says nothing: the answer is lost on the way.
    pub answer_lost: bool,
    /// What the shop is told by webhook.
    pub news: &'static [News],
}

/// A webhook to come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct News {
    pub state: State,
    pub code: Option<&'static str>,
    /// In how many times `simulator.webhook_delay_ms`.
    pub after: u32,
    /// How often the same event is delivered.
    pub deliveries: u32,
}

/// Authorised, and can be captured once only. The ledger's migrations know it by name.
pub const CAPTURES_ONCE: &str = "tok_captures_once";

const DONE: Script = Script { state: State::Done, code: None, answer_lost: false, news: &[] };
const SILENT: Script = Script { answer_lost: true, ..DONE };

const fn failed(code: &'static str) -> Script {
    Script { state: State::Failed, code: Some(code), ..DONE }
}

const fn pending(news: &'static [News]) -> Script {
    Script { state: State::Pending, news, ..DONE }
}

const fn news(state: State, after: u32) -> News {
    News { state, code: None, after, deliveries: 1 }
}

const CONFIRMED: News = news(State::Done, 1);
const BOUNCED: News = News { code: Some("account_closed"), ..news(State::Failed, 4) };
const DECLINED: News = News { code: Some("card_declined"), ..news(State::Failed, 1) };

/// The tokens, each with the one operation that goes another way than [`DONE`].
const TOKENS: &[(&str, Operation, Script)] = &[
    ("tok_success", Operation::Authorise, DONE),
    (CAPTURES_ONCE, Operation::Authorise, DONE),
    ("tok_decline", Operation::Authorise, failed("card_declined")),
    ("tok_insufficient_funds", Operation::Authorise, failed("insufficient_funds")),
    ("tok_timeout_after_charge", Operation::Authorise, SILENT),
    ("tok_timeout_after_capture", Operation::Capture, SILENT),
    ("tok_timeout_after_refund", Operation::Refund, SILENT),
    ("tok_async", Operation::Authorise, pending(&[CONFIRMED])),
    ("tok_async_decline", Operation::Authorise, pending(&[DECLINED])),
    ("tok_async_refund", Operation::Refund, pending(&[CONFIRMED])),
    // One event three times, and another event that says the same.
    (
        "tok_duplicate_webhooks",
        Operation::Authorise,
        pending(&[News { deliveries: 3, ..CONFIRMED }, news(State::Done, 2)]),
    ),
    // The older news comes after the newer.
    ("tok_out_of_order_webhooks", Operation::Authorise, pending(&[CONFIRMED, news(State::Pending, 2)])),
    ("tok_expires", Operation::Authorise, Script { news: &[news(State::Expired, 4)], ..DONE }),
    ("tok_refund_bounces", Operation::Refund, Script { news: &[BOUNCED], ..DONE }),
    ("tok_capture_fails", Operation::Capture, failed("capture_failed")),
    ("tok_void_fails", Operation::Void, failed("void_failed")),
    ("tok_refund_fails", Operation::Refund, failed("refund_failed")),
];

/// What becomes of an attempt to do `operation` with a payment by `method`. What is no test token is declined.
pub fn script(method: &str, operation: Operation) -> Script {
    match TOKENS.iter().find(|(token, ..)| *token == method) {
        Some((_, scripted, script)) if *scripted == operation => *script,
        Some(_) => DONE,
        None => failed("no_such_token"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_concerns_one_operation_and_leaves_the_others_alone() {
        assert_eq!(script("tok_capture_fails", Operation::Capture), failed("capture_failed"));
        assert_eq!(script("tok_capture_fails", Operation::Authorise), DONE);
        assert_eq!(script("tok_capture_fails", Operation::Refund), DONE);
    }

    #[test]
    fn what_is_no_test_token_is_declined() {
        assert_eq!(script("pm_card_visa", Operation::Authorise), failed("no_such_token"));
    }

    #[test]
    fn what_is_pending_is_told_in_the_end() {
        for (token, _, script) in TOKENS {
            let ends = script.news.iter().any(|news| news.state != State::Pending);
            assert!(ends || script.state != State::Pending, "{token}");
        }
    }
}

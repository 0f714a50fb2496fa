//! Events on NATS JetStream: the stream, its subjects, and the headers of a message.
//!
//! Few subjects, since a JetStream server's memory grows with their number: ids and positions travel in headers, whose
//! names carry the CloudEvents 1.0 attributes (`ce-`) and Kontor's own. The message body is the event's payload.

/// The one JetStream stream that repeats the log.
pub const STREAM: &str = "KONTOR";
/// All subjects of [`STREAM`].
pub const ALL_SUBJECTS: &str = "kontor.v1.>";

/// Place in the log, decimal.
pub const POSITION: &str = "Kontor-Position";
/// Place in the aggregate's stream, decimal.
pub const SEQUENCE: &str = "Kontor-Sequence";
/// Id of the aggregate, such as a SKU.
pub const AGGREGATE_ID: &str = "Kontor-Aggregate-Id";
/// Generation of the log, decimal: raised when a failover may have lost commits.
pub const LOG_EPOCH: &str = "Kontor-Log-Epoch";
/// Semantic version of the event type, such as `1.0`.
pub const EVENT_VERSION: &str = "Kontor-Event-Version";
/// W3C trace context of the request that caused the event.
pub const TRACEPARENT: &str = "traceparent";

pub const CE_SPECVERSION: &str = "ce-specversion";
pub const CE_ID: &str = "ce-id";
pub const CE_SOURCE: &str = "ce-source";
pub const CE_TYPE: &str = "ce-type";
pub const CE_TIME: &str = "ce-time";

/// CloudEvents `source` of every event.
pub const SOURCE: &str = "/kontor";

/// `kontor.v1.<aggregate>.<event>`, such as `kontor.v1.stock.shipped`. Event types are in capitals only at word starts:
/// `PriceChanged` becomes `price-changed`.
pub fn subject(aggregate_type: &str, event_type: &str) -> String {
    let mut subject = String::with_capacity("kontor.v1..".len() + aggregate_type.len() + event_type.len() + 2);
    subject.push_str("kontor.v1.");
    subject.push_str(aggregate_type);
    subject.push('.');
    for (at, letter) in event_type.char_indices() {
        if letter.is_ascii_uppercase() && at > 0 {
            subject.push('-');
        }
        subject.push(letter.to_ascii_lowercase());
    }
    subject
}

/// The aggregate type and the event type in a subject, such as `stock` and `Shipped`: [`subject`] read backwards.
/// `None` for a subject that is not ours.
pub fn parse(subject: &str) -> Option<(&str, String)> {
    let (aggregate_type, event) = subject.strip_prefix("kontor.v1.")?.split_once('.')?;
    let mut event_type = String::with_capacity(event.len());
    for word in event.split('-') {
        let mut letters = word.chars();
        event_type.push(letters.next()?.to_ascii_uppercase());
        event_type.push_str(letters.as_str());
    }
    Some((aggregate_type, event_type))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_names_aggregate_and_event() {
        assert_eq!(subject("stock", "Shipped"), "kontor.v1.stock.shipped");
        assert_eq!(subject("product", "PriceChanged"), "kontor.v1.product.price-changed");
    }

    #[test]
    fn a_subject_is_read_back() {
        assert_eq!(parse("kontor.v1.stock.shipped"), Some(("stock", "Shipped".to_owned())));
        assert_eq!(parse("kontor.v1.product.price-changed"), Some(("product", "PriceChanged".to_owned())));
        for other in ["kontor.v1.stock", "kontor.v1.stock.", "kontor.v1.stock.a--b", "orders.v1.stock.shipped", ""] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}

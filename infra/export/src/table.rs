//! The table of one event: first what every event has, then what its payload has, in columns that its schema gives.

use crate::export::ExportError;
use crate::shape::{Columns, Shape};
use chrono::{DateTime, Utc};
use kontor_event_schemas::{RecordedEvent, schemas};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::borrow::Cow;

/// What a column holds. Any may be null but those that every event has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Signed, 64 bits.
    Integer,
    Flag,
    /// UTC, in microseconds.
    Time,
    Text,
    /// JSON text.
    Json,
}

#[derive(Debug, Clone, Serialize)]
pub struct Column {
    pub name: String,
    pub kind: Kind,
    pub is_required: bool,
    pub description: String,
}

/// One value of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell<'a> {
    Null,
    Integer(i64),
    Flag(bool),
    Time(DateTime<Utc>),
    /// Of a column of text or JSON.
    Text(Cow<'a, str>),
}

/// The columns of one version of one event.
#[derive(Debug)]
pub struct Table {
    /// As its schema is called: `stock.shipped.1.0`.
    pub name: String,
    pub columns: Vec<Column>,
    /// Of the payload without the name of its event; `None`: this release knows no such event.
    shape: Option<Shape>,
    /// The column of the payload that says when it happened.
    happened: Option<usize>,
    schema: Value,
}

/// What every event has. Must be in the order that [`Table::row`] writes.
const ENVELOPE: [(&str, Kind, bool, &str); 13] = [
    ("position", Kind::Integer, true, "Place in the log: 1, 2, 3 and so on, without a gap."),
    ("aggregate_type", Kind::Text, true, "Such as stock."),
    ("aggregate_id", Kind::Text, true, "A SKU, an order's id and so on."),
    ("sequence", Kind::Integer, true, "Place in the aggregate's own stream: 1, 2, 3 and so on."),
    ("event_type", Kind::Text, true, "Such as Shipped."),
    ("event_version", Kind::Text, true, "Of the event's form."),
    ("recorded_at", Kind::Time, true, "When it was appended to the log."),
    ("occurred_at", Kind::Time, false, "Business time, of an event that tells one."),
    ("event_id", Kind::Text, false, "A UUIDv7, unique to the event."),
    ("correlation_id", Kind::Text, false, "Common to all that followed from one request."),
    ("causation_id", Kind::Text, false, "The command or event that caused it."),
    ("actor", Kind::Text, false, "Who acted, such as customer:13085 or service:checkout."),
    ("traceparent", Kind::Text, false, "W3C trace context of the request."),
];
const OCCURRED_AT: usize = 7;

/// `metadata` as it may be stored: of an event that was not appended by a tier, some may be missing.
#[derive(Deserialize)]
struct Metadata {
    event_id: Option<String>,
    correlation_id: Option<String>,
    causation_id: Option<String>,
    actor: Option<String>,
    traceparent: Option<String>,
}

impl Table {
    /// Of the event with this name of its schema. One that this release does not know has all of its payload in `rest`.
    pub fn of(name: &str) -> Self {
        let schema: Value = schemas::find(name)
            .map_or(Value::Null, |schema| serde_json::from_str(schema).expect("the schemas of this release are JSON"));
        let envelope = ENVELOPE.map(|(name, kind, is_required, description)| Column {
            name: name.to_owned(),
            kind,
            is_required,
            description: description.to_owned(),
        });
        let mut columns = Columns::after(envelope.into(), &schema);
        let payload = schema["properties"].as_object().and_then(|members| members.values().next());
        let shape = payload.map(|payload| columns.of("", payload));
        let happened = match (&shape, name.starts_with("timer.set.")) {
            (Some(Shape::Object(members)), false) => happened(members),
            _ => None, // What a timer is set to lies ahead.
        };
        columns.add("rest", Kind::Json, "What of the payload has no column, because this release does not know it.");
        Self { name: name.to_owned(), columns: columns.columns, shape, happened, schema }
    }

    /// The cells of an event of this table, one a column.
    pub fn row<'a>(&self, event: &'a RecordedEvent) -> Result<Vec<Cell<'a>>, ExportError> {
        let unreadable = |error| ExportError::Unreadable { position: event.position, error };
        let metadata: Metadata = serde_json::from_str(&event.metadata).map_err(unreadable)?;
        let optional = |text: Option<String>| text.map_or(Cell::Null, |text| Cell::Text(Cow::Owned(text)));
        let text = |text: &'a str| Cell::Text(Cow::Borrowed(text));
        let mut cells = Vec::with_capacity(self.columns.len());
        cells.extend([
            Cell::Integer(event.position),
            text(&event.aggregate_type),
            text(&event.aggregate_id),
            Cell::Integer(event.sequence),
            text(&event.event_type),
            text(&event.event_version),
            Cell::Time(event.recorded_at),
            Cell::Null,
            optional(metadata.event_id),
            optional(metadata.correlation_id),
            optional(metadata.causation_id),
            optional(metadata.actor),
            optional(metadata.traceparent),
        ]);
        cells.resize(self.columns.len(), Cell::Null);
        let payload = serde_json::from_str(&event.payload).map_err(unreadable)?;
        let rest = match (&self.shape, payload) {
            (Some(shape), Value::Object(mut named)) if named.len() == 1 => match named.remove(&*event.event_type) {
                Some(payload) => shape.place(payload, &mut cells),
                None => Some(Value::Object(named)),
            },
            (_, payload) => Some(payload),
        };
        if let (Some(rest), Some(last)) = (rest, cells.last_mut()) {
            *last = Cell::Text(Cow::Owned(rest.to_string()));
        }
        if let Some(happened) = self.happened {
            cells[OCCURRED_AT] = cells[happened].clone();
        }
        Ok(cells)
    }

    /// For readers of the files: `{"table", "columns": [{"name", "kind", "is_required", "description"}], "payload"}`, the last
    /// being the JSON Schema of the event.
    pub fn described(&self) -> String {
        let told = json!({"table": self.name, "columns": self.columns, "payload": self.schema});
        format!("{told:#}\n")
    }
}

/// Of the times that an event tells, the one it happened at: `placed_at` and the like, else `at`; `changed_at` where there is
/// no other; never when something ends.
fn happened(members: &[(String, Shape)]) -> Option<usize> {
    let rank = |name: &str| match name {
        "expires_at" => None,
        "changed_at" => Some(2),
        "at" => Some(1),
        name => name.ends_with("_at").then_some(0),
    };
    let times = members.iter().filter_map(|(name, shape)| match shape {
        Shape::Column(at, Kind::Time) => Some((rank(name)?, *at)),
        _ => None,
    });
    times.min().map(|(_, at)| at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn tables() -> impl Iterator<Item = Table> {
        schemas::SCHEMAS.iter().map(|(name, _)| Table::of(name))
    }

    fn column<'a>(table: &'a Table, name: &str) -> Option<&'a Column> {
        table.columns.iter().find(|column| column.name == name)
    }

    fn event(event_type: &str, payload: &str) -> RecordedEvent {
        RecordedEvent {
            position: 7,
            aggregate_type: "stock".into(),
            aggregate_id: "MUG".into(),
            sequence: 1,
            event_type: event_type.into(),
            event_version: "1.0".into(),
            payload: payload.to_owned(),
            metadata: r#"{"event_id": "e", "actor": "test"}"#.to_owned(),
            recorded_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn every_event_has_a_table_whose_columns_have_names_of_their_own() {
        for table in tables() {
            let names: HashSet<_> = table.columns.iter().map(|column| column.name.to_lowercase()).collect();
            assert_eq!(names.len(), table.columns.len(), "{}", table.name);
            assert!(table.columns.len() > ENVELOPE.len() + 1 && table.shape.is_some(), "{}", table.name);
        }
    }

    /// The examples are what is in the log, so nothing of them may be left without a column.
    #[test]
    fn every_example_fits_its_columns() {
        for table in tables() {
            let path =
                format!("{}/../../event-schemas/schemas/examples/{}.json", env!("CARGO_MANIFEST_DIR"), table.name);
            let examples = std::fs::read_to_string(path).expect("each schema has examples");
            for payload in serde_json::from_str::<Vec<Value>>(&examples).expect("a list") {
                let name = payload.as_object().and_then(|payload| payload.keys().next()).expect("an event").clone();
                let event = event(&name, &payload.to_string());
                let row = table.row(&event).expect("it can be read");
                assert_eq!(row.last(), Some(&Cell::Null), "{}: {payload}", table.name);
                let filled = row[ENVELOPE.len()..].iter().any(|cell| *cell != Cell::Null);
                assert!(filled || payload[&name] == json!({}), "{}: {payload}", table.name);
            }
        }
    }

    #[test]
    fn columns_have_the_types_of_the_schema() {
        let placed = Table::of("order.placed.1.0");
        let kind = |name| column(&placed, name).map(|column| column.kind);
        for (name, expected) in [
            ("order_id", Kind::Text),
            ("reference", Kind::Text),
            ("total_amount_minor", Kind::Integer),
            ("lines", Kind::Json),
            ("placed_at", Kind::Time),
            ("fulfilment", Kind::Text),
            ("checkout_email_sealed", Kind::Text),
            ("checkout_shipping_address_country", Kind::Text),
        ] {
            assert_eq!(kind(name), Some(expected), "{name}");
        }
        assert_eq!(kind("checkout"), None, "it is taken apart");
        let registered = Table::of("product.registered.1.0");
        assert_eq!(column(&registered, "draft").map(|column| column.kind), Some(Kind::Flag));
    }

    #[test]
    fn business_time_is_what_the_event_says() {
        for (table, expected) in [
            ("order.placed.1.0", Some("placed_at")),
            ("cart.abandoned.1.0", Some("abandoned_at")),
            ("cart.email-set.1.0", Some("changed_at")),
            ("payment.authorised.1.0", Some("at")),
            ("stock.reserved.1.0", None),
            ("timer.set.1.0", None),
        ] {
            let table = Table::of(table);
            let happened = table.happened.map(|at| table.columns[at].name.as_str());
            assert_eq!(happened, expected, "{}", table.name);
        }
    }

    #[test]
    fn what_the_schema_does_not_know_is_kept() {
        let shipped = Table::of("stock.shipped.1.0");
        for (payload, rest) in [
            (r#"{"Shipped":{"quantity":2,"colour":"red"}}"#, r#"{"colour":"red"}"#),
            (r#"{"Shipped":{"quantity":"two"}}"#, r#"{"quantity":"two"}"#),
            (r#"{"Shipped":{"quantity":9223372036854775808}}"#, r#"{"quantity":9223372036854775808}"#),
            (r#"{"Shipped":17}"#, "17"),
            (r#"{"Sunk":{"quantity":2}}"#, r#"{"Sunk":{"quantity":2}}"#),
            (r#""Shipped""#, r#""Shipped""#),
        ] {
            let event = event("Shipped", payload);
            let row = shipped.row(&event).expect("it is JSON");
            assert_eq!(row.last(), Some(&Cell::Text(rest.into())), "{payload}");
        }
        let unknown = Table::of("stock.teleported.1.0");
        let event = event("Teleported", r#"{"Teleported":{"to":"Mars"}}"#);
        let row = unknown.row(&event).expect("it is JSON");
        assert_eq!((row.len(), row.last()), (14, Some(&Cell::Text(event.payload.as_str().into()))));
    }
}

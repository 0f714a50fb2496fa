//! The JSON Schemas of all events: those that are checked in are those of the code, they have changed only as readers may
//! expect, and they say what the code does.

mod compare;
mod generate;
mod personal;

use compare::incompatibilities;
use cqrs_es::DomainEvent;
use generate::{event_schemas, schema_of};
use jsonschema::Validator;
use kontor_domain::order::OrderNumber;
use kontor_domain::personal::CountryCode;
use kontor_domain::product::{Decimal, HttpsUrl};
use kontor_domain::text::{Name, Text};
use kontor_domain::{Currency, OrderId, Quantity, Sku, Slug};
use kontor_event_schemas::registry::AGGREGATES;
use kontor_event_schemas::{Fact, RecordedEvent, subject::subject, upcast};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

const HOW_TO_UPDATE: &str = "KONTOR_UPDATE_SCHEMAS=1 cargo nextest run -p kontor-event-schemas --test schemas";
/// An id that is one of every aggregate.
const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

#[test]
fn the_schemas_checked_in_are_those_of_the_code() {
    let generated = generated();
    if std::env::var_os("KONTOR_UPDATE_SCHEMAS").is_some() {
        for (name, schema) in &generated {
            std::fs::write(folder("").join(name), text(schema)).expect("the folder can be written to");
        }
    }
    let files = files("");
    for (name, schema) in &generated {
        assert_eq!(
            files.get(name),
            Some(&text(schema)),
            "schemas/{name} is not of this code; write it with {HOW_TO_UPDATE}"
        );
    }
    // What is left of earlier versions is a contract with whoever reads old events.
    let released = self::files("released");
    for (name, file) in files.iter().filter(|(name, _)| !generated.contains_key(*name)) {
        let is_of_today = generated.keys().any(|today| without_version(today) == without_version(name));
        assert!(
            is_of_today && released.contains_key(name),
            "no event is called schemas/{name} and none was: remove it"
        );
        assert_eq!(Some(file), released.get(name), "schemas/{name} is of an earlier version and must stay as released");
    }
}

#[test]
fn the_schemas_have_changed_compatibly_since_the_release() {
    let now = generated();
    let checked_in = files("");
    let mut found = Vec::new();
    for (name, released) in files("released") {
        match now.get(&name) {
            Some(new) => {
                found.extend(incompatibilities(&parsed(&released), new).iter().map(|why| format!("{name}{why}")))
            }
            None if checked_in.contains_key(&name) => {} // An earlier version: see above.
            None => found.push(format!("{name}: the event was removed or renamed")),
        }
    }
    let found = found.join("\n");
    assert!(
        found.is_empty(),
        "readers of events cannot know of this; make it a new version, with an upcaster:\n{found}"
    );
}

#[test]
fn the_schemas_cover_every_aggregate() {
    let covered: BTreeSet<&str> = event_schemas().iter().map(|event| event.aggregate_type).collect();
    assert_eq!(covered, BTreeSet::from(AGGREGATES));
}

/// Golden: the first example of an event is what this release stores, the others are what earlier ones did.
#[test]
fn the_schemas_take_the_examples_and_the_code_reads_them() {
    let schemas = files("");
    for (name, file) in files("examples") {
        let schema = validator(&parsed(&schemas[&name]));
        for (n, payload) in examples(&file).iter().enumerate() {
            assert_eq!(reasons(&schema, payload), "", "example {n} of {name}");
            let fact = read(&name, payload).unwrap_or_else(|error| panic!("example {n} of {name}: {error}"));
            let (_, _, stored) = written(&fact);
            if n == 0 {
                assert_eq!(&stored, payload, "example 0 of {name} is not stored like this");
            }
            assert_eq!(read(&name, &stored).expect("what is stored is read"), fact, "example {n} of {name}");
        }
    }
}

#[test]
fn the_schemas_take_nothing_that_the_code_cannot_read() {
    for (name, schema) in generated() {
        let schema = validator(&schema);
        for payload in examples(&files("examples")[&name]) {
            for mutation in mutations(&payload) {
                if schema.is_valid(&mutation) {
                    read(&name, &mutation).unwrap_or_else(|error| panic!("{name}: {mutation} is valid, but {error}"));
                }
            }
        }
    }
}

#[test]
fn the_schemas_state_the_bounds_of_the_parsers() {
    agree::<Quantity>([
        json!(0),
        json!(1_000_000_000_000_u64),
        json!(1_000_000_000_001_u64),
        json!(-1),
        json!(1.5),
        json!("1"),
    ]);
    agree::<Sku>(["85123A", "a.b_c-D", "", "a/b", " a", "ä"].map(Value::from));
    agree::<Sku>([64, 65].map(|length| "x".repeat(length).into()));
    agree::<Slug>(["enamel-mug-2", "a", "", "-a", "a-", "A", "a b", "a--b", "ä"].map(Value::from));
    agree::<Slug>([64, 65].map(|length| "x".repeat(length).into()));
    agree::<Decimal>(["0", "-0.50", "12.50", "", "-", ".5", "1.", "01", "1e3", "+1", "-00"].map(Value::from));
    agree::<Decimal>([18, 19].map(|length| "9".repeat(length).into()));
    agree::<Decimal>([18, 19].map(|length| format!("0.{}", "9".repeat(length)).into()));
    agree::<HttpsUrl>(
        [
            "https://a",
            "https://a.b-c:8443/d%20e.jpg?f=(1)#[g]",
            "https://a?b",
            "http://a",
            "https://",
            "https:///a",
            "https://a:b",
            "https://a:",
            "https://a:123456",
            "https://u@a",
            "https://a/b c",
            "https://a/\"",
            "https://a/ä",
        ]
        .map(Value::from),
    );
    agree::<HttpsUrl>([2_038, 2_039].map(|length| format!("https://a/{}", "x".repeat(length)).into()));
    agree::<OrderId>([ID, &ID.replace('-', ""), "", "01890a5d"].map(Value::from));
    agree::<OrderNumber>(["AZF9-R9XZ-8KZK", "AZF9-R9XZ", "AZFU-R9XZ-8KZK"].map(Value::from));
    agree::<Currency>(["GBP", "gbp", "GB", "GBPX", ""].map(Value::from));
    agree::<CountryCode>(["GB", "gb", "GBR", "G1", ""].map(Value::from));
    agree::<Text<3>>(
        ["", "a", "äöü", "abcd", "a b", " a", "a ", "\u{3000}a", "a\u{a0}", "a\nb", "a\u{7f}", "a\u{85}"]
            .map(Value::from),
    );
    agree::<Name>([200, 201].map(|length| "é".repeat(length).into()));
}

/// The schema of every event, by the name of its file.
fn generated() -> BTreeMap<String, Value> {
    let examples = files("examples");
    let name = |event: &generate::EventSchema| {
        let prefix = subject(event.aggregate_type, &event.event_type).replace("kontor.v1.", "") + ".";
        // Which version an event has only an event can tell.
        let newest = examples.iter().rev().find(|(name, _)| name.starts_with(&prefix));
        let (name, file) =
            newest.unwrap_or_else(|| panic!("write schemas/examples/{prefix}1.0.json: payloads, as stored"));
        let fact = read(name, &self::examples(file)[0]).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (event_type, event_version, _) = written(&fact);
        assert_eq!(event_type, event.event_type, "{name} has an example of another event");
        format!("{prefix}{event_version}.json")
    };
    event_schemas().into_iter().map(|event| (name(&event), event.schema)).collect()
}

/// Decodes a payload as a projector does; `name` tells of which aggregate, event and version it is.
fn read(name: &str, payload: &Value) -> Result<Fact, String> {
    let parts: Vec<&str> = name.trim_end_matches(".json").splitn(3, '.').collect();
    let [aggregate_type, _, version] = parts[..] else { panic!("{name} is not <aggregate>.<event>.<version>.json") };
    let event_type = payload.as_object().and_then(|payload| payload.keys().next().cloned()).unwrap_or_default();
    let recorded = RecordedEvent {
        position: 1,
        aggregate_type: aggregate_type.into(),
        aggregate_id: ID.into(),
        sequence: 1,
        event_type: event_type.into(),
        event_version: version.into(),
        payload: payload.to_string(),
        metadata: "{}".into(),
        recorded_at: Default::default(),
    };
    let recorded = upcast::released().upcast(recorded).map_err(|error| error.to_string())?;
    Fact::decode(aggregate_type, ID, recorded.payload.as_bytes()).map_err(|error| error.to_string())
}

/// The type, the version and the payload under which an event is stored.
fn written(fact: &Fact) -> (String, String, Value) {
    fn of<E: DomainEvent>(event: &E) -> (String, String, Value) {
        (event.event_type(), event.event_version(), serde_json::to_value(event).expect("an event has a JSON form"))
    }
    match fact {
        Fact::Product(_, event) => of(event),
        Fact::Sku(_, event) => of(event),
        Fact::Slug(_, event) => of(event),
        Fact::Category(_, event) => of(event),
        Fact::Stock(_, event) => of(event),
        Fact::Cart(_, event) => of(event),
        Fact::Order(_, event) => of(event),
        Fact::Payment(_, event) => of(event),
        Fact::Timer(_, event) => of(event),
        Fact::Cancellation(_, event) => of(event),
    }
}

/// The value with one part at a time left out or replaced by something else.
fn mutations(value: &Value) -> Vec<Value> {
    let mut mutations =
        [json!(null), json!(""), json!(" x"), json!(-1), json!(1.5), json!(true), json!({}), json!([])].to_vec();
    let parts: Vec<String> = match value {
        Value::Object(members) => members.keys().cloned().collect(),
        Value::Array(items) => (0..items.len()).map(|index| index.to_string()).collect(),
        _ => vec![],
    };
    for part in parts {
        let mut whole = value.clone();
        let pointer = format!("/{part}");
        for mutation in self::mutations(value.pointer(&pointer).expect("it is a part")) {
            *whole.pointer_mut(&pointer).expect("it is a part") = mutation;
            mutations.push(whole.clone());
        }
        if let Value::Object(members) = &mut whole {
            members.remove(&part);
            mutations.push(whole);
        }
    }
    mutations
}

/// The schema of a type takes what its parser takes, and nothing else.
#[track_caller]
fn agree<T: JsonSchema + DeserializeOwned>(values: impl IntoIterator<Item = Value>) {
    let schema = validator(&schema_of::<T>());
    for value in values {
        let parsed = serde_json::from_value::<T>(value.clone()).is_ok();
        assert_eq!(schema.is_valid(&value), parsed, "the parser takes {value}: {parsed}");
    }
}

fn validator(schema: &Value) -> Validator {
    let options = jsonschema::draft202012::options().should_validate_formats(true);
    options.build(schema).expect("a JSON Schema of draft 2020-12")
}

/// Why the schema does not take the payload; empty when it does.
fn reasons(schema: &Validator, payload: &Value) -> String {
    let reasons = schema.iter_errors(payload).map(|error| format!("{}: {error}", error.instance_path()));
    reasons.collect::<Vec<_>>().join("; ")
}

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("schemas").join(name)
}

/// The JSON files in a folder of `schemas/`, by name.
fn files(name: &str) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(folder(name)).expect("the folder is checked in");
    let paths = entries.map(|entry| entry.expect("the folder can be read").path());
    paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
            (name, std::fs::read_to_string(path).expect("the file can be read"))
        })
        .collect()
}

fn parsed(file: &str) -> Value {
    serde_json::from_str(file).expect("JSON")
}

fn examples(file: &str) -> Vec<Value> {
    serde_json::from_str(file).expect("a list of payloads")
}

fn text(schema: &Value) -> String {
    format!("{schema:#}\n")
}

/// `stock.shipped.1.0.json` is of the event `stock.shipped`.
fn without_version(name: &str) -> Vec<&str> {
    name.splitn(3, '.').take(2).collect()
}

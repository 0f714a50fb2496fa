//! From the Rust types to one JSON Schema an event.

use cqrs_es::Aggregate;
use kontor_domain::cancellation::Cancellation;
use kontor_domain::cart::Cart;
use kontor_domain::category::CategoryTree;
use kontor_domain::order::Order;
use kontor_domain::payment::Payment;
use kontor_domain::product::Product;
use kontor_domain::sku::SkuClaim;
use kontor_domain::slug::SlugClaim;
use kontor_domain::stock::Stock;
use kontor_domain::timer::Timer;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// The schema of one event type, at its current version.
pub struct EventSchema {
    pub aggregate_type: &'static str,
    pub event_type: String,
    pub schema: Value,
}

/// Every event there is, in the order of their declaration.
pub fn event_schemas() -> Vec<EventSchema> {
    let mut schemas = of::<Product>();
    schemas.extend(of::<SkuClaim>());
    schemas.extend(of::<SlugClaim>());
    schemas.extend(of::<CategoryTree>());
    schemas.extend(of::<Stock>());
    schemas.extend(of::<Cart>());
    schemas.extend(of::<Order>());
    schemas.extend(of::<Payment>());
    schemas.extend(of::<Timer>());
    schemas.extend(of::<Cancellation>());
    schemas
}

/// The schema of a type, as it is published.
pub fn schema_of<T: JsonSchema>() -> Value {
    // As written, not as read: what we always write, a reader may rely on.
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut schema = generator.into_root_schema_for::<T>().to_value();
    publish(&mut schema, false);
    schema
}

fn of<A: Aggregate>() -> Vec<EventSchema>
where
    A::Event: JsonSchema,
{
    let all = schema_of::<A::Event>();
    let events = all["oneOf"].as_array().expect("events are an enum");
    events.iter().map(|event| EventSchema::new(A::TYPE, event, &all)).collect()
}

impl EventSchema {
    fn new(aggregate_type: &'static str, event: &Value, all: &Value) -> Self {
        let event_type = event["required"][0].as_str().expect("every event has fields");
        let mut schema = event.as_object().expect("a schema").clone();
        let [of_event, of_all] = [event, all].map(|schema| schema["description"].as_str().unwrap_or_default());
        schema.insert("description".into(), format!("{of_event}\n\n{of_all}").into());
        schema.insert("title".into(), event_type.into());
        schema.insert("$schema".into(), all["$schema"].clone());
        let definitions = used_definitions(event, all);
        if !definitions.is_empty() {
            schema.insert("$defs".into(), definitions.into());
        }
        Self { aggregate_type, event_type: event_type.to_owned(), schema: sorted(schema.into()) }
    }
}

/// Makes of what schemars says of a Rust type what we promise to readers.
fn publish(schema: &mut Value, is_alternative: bool) {
    let Some(schema) = schema.as_object_mut() else { return };
    if let Some(Value::String(description)) = schema.get_mut("description") {
        *description = prose(description);
    }
    if let Some(properties) = schema.get("properties").and_then(Value::as_object).cloned() {
        // Events of earlier releases do not have what is read with a default.
        if let Some(Value::Array(required)) = schema.get_mut("required") {
            required.retain(|name| name.as_str().is_some_and(|name| properties[name].get("default").is_none()));
        }
        // Fields may be added. Only the alternatives of an enum are told apart by having no other.
        if !is_alternative {
            schema.remove("additionalProperties");
        }
    }
    for (keyword, value) in schema.iter_mut() {
        match (keyword.as_str(), value) {
            ("$defs" | "properties" | "patternProperties", Value::Object(schemas)) => {
                schemas.values_mut().for_each(|schema| publish(schema, false));
            }
            ("oneOf", Value::Array(schemas)) => schemas.iter_mut().for_each(|schema| publish(schema, true)),
            ("anyOf", Value::Array(schemas)) => schemas.iter_mut().for_each(|schema| publish(schema, false)),
            ("items" | "additionalProperties", schema) => publish(schema, false),
            _ => {}
        }
    }
}

/// A docstring without its line breaks and links to code.
fn prose(docstring: &str) -> String {
    let paragraphs = docstring.split("\n\n").map(|paragraph| paragraph.replace('\n', " "));
    paragraphs.collect::<Vec<_>>().join("\n\n").replace("[`", "`").replace("`]", "`")
}

fn used_definitions(event: &Value, all: &Value) -> Map<String, Value> {
    let mut used = Map::new();
    let mut wanted = references(event);
    while let Some(name) = wanted.pop_first() {
        let definition = &all["$defs"][&name];
        if used.insert(name, definition.clone()).is_none() {
            wanted.extend(references(definition));
        }
    }
    used
}

fn references(schema: &Value) -> BTreeSet<String> {
    match schema {
        Value::Object(members) => {
            let own = members.get("$ref").and_then(Value::as_str).and_then(|name| name.strip_prefix("#/$defs/"));
            own.map(str::to_owned).into_iter().chain(members.values().flat_map(references)).collect()
        }
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => BTreeSet::new(),
    }
}

/// Keys in alphabetical order, whatever the features of serde_json are in this build.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            members.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(members.into_iter().collect())
        }
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        other => other,
    }
}

#[test]
fn a_docstring_becomes_prose() {
    assert_eq!(
        prose("Of an order with\n[`Fulfilment::Checkout`].\n\nUTC."),
        "Of an order with `Fulfilment::Checkout`.\n\nUTC."
    );
}

#[test]
fn a_field_of_a_later_release_is_no_error() {
    let line = schema_of::<kontor_domain::order::Line>();
    assert_eq!(line.get("additionalProperties"), None);
    assert_eq!(line["$defs"]["Money"].get("additionalProperties"), None);
    assert_eq!(line["required"], json!(["sku", "quantity", "unit_price"]));
}

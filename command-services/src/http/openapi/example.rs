//! Examples of requests, made from their schemas: a form has one without anybody writing it.

use super::COMPONENTS;
use serde_json::{Map, Value, json};

/// What a field, or else a type, is in examples. Where neither is here the schema decides.
const VALUES: &[(&str, &str)] = &[
    ("Currency", "GBP"),
    ("CountryCode", "IE"),
    ("CustomerId", "C-17"),
    ("EmailAddress", "ann@example.org"),
    ("HttpsUrl", "https://cdn.example/mug.jpg"),
    ("LocationId", "main"),
    ("Sku", "MUG"),
    ("SubjectId", "C-17"),
    ("country", "IE"),
    ("description", "Holds tea, and coffee too"),
    ("from", "main"),
    ("method", "standard"),
    ("name", "Enamel mug"),
    ("payment_method", "tok_success"),
    ("reason", "counted twice"),
    ("reference", "489434"),
    ("to", "shop"),
];

/// An example of `schema`, which is that of a field or a type called `name`.
pub fn of(schema: &Value, components: &Map<String, Value>, name: &str) -> Value {
    if let Some((_, value)) = VALUES.iter().find(|(known, _)| *known == name) {
        return json!(value);
    }
    if let Some(component) = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix(COMPONENTS)) {
        return of(&components[component], components, component);
    }
    let first = |keyword: &str| {
        schema[keyword].as_array().and_then(|values| values.iter().find(|value| value["type"] != "null"))
    };
    if let Some(value) = first("examples").or_else(|| schema.get("const")).or_else(|| first("enum")) {
        return value.clone();
    }
    if let Some(alternative) = first("oneOf").or_else(|| first("anyOf")) {
        return of(alternative, components, name);
    }
    // An optional type comes as a list with null.
    let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str());
    match (kind, schema["format"].as_str()) {
        (Some("object"), _) => {
            let fields = schema["properties"].as_object().into_iter().flatten();
            fields.map(|(field, schema)| (field.clone(), of(schema, components, field))).collect()
        }
        (Some("array"), _) => json!([of(&schema["items"], components, name)]),
        (Some("integer" | "number"), _) => json!(schema["minimum"].as_u64().unwrap_or(0).max(2)),
        (Some("boolean"), _) => json!(true),
        (_, Some("uuid")) => json!("01890a5d-ac96-774b-bcce-b302099a8057"),
        (_, Some("date-time")) => json!("2026-03-01T12:00:00Z"),
        _ => json!("example"),
    }
}

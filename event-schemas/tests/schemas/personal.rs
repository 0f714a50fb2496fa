//! Personal data is in events only as it is sealed.

use crate::generated;
use serde_json::{Value, json};

/// Words of a property's name that speak of a person. Whoever is known by another word adds it.
const WORDS: [&str; 37] = [
    "address",
    "addressee",
    "age",
    "birth",
    "birthday",
    "born",
    "buyer",
    "city",
    "company",
    "contact",
    "email",
    "fax",
    "firstname",
    "forename",
    "fullname",
    "gender",
    "given",
    "ip",
    "iban",
    "lastname",
    "mail",
    "mobile",
    "name",
    "passport",
    "person",
    "phone",
    "postal",
    "postcode",
    "recipient",
    "salutation",
    "street",
    "surname",
    "tel",
    "telephone",
    "town",
    "vat",
    "zip",
];

/// Properties that are called like that and are nobody's.
const OF_NOBODY: [(&str, &str); 5] = [
    ("category-tree.created.1.0.json", "name"),
    ("category-tree.renamed.1.0.json", "name"),
    ("product.described.1.0.json", "name"),
    ("product.published.1.0.json", "name"),
    ("product.registered.1.0.json", "name"),
];

#[test]
fn personal_data_is_sealed_in_every_event() {
    for (name, schema) in generated() {
        for property in plain_personal_properties(&schema) {
            assert!(
                OF_NOBODY.contains(&(&name, &property)),
                "{name}: `{property}` is plain text about a person: make it a `Personal`, or say in OF_NOBODY why not"
            );
        }
    }
}

/// The test above can fail, wherever the property is.
#[test]
fn a_plain_property_about_a_person_is_found() {
    let personal = json!({"properties": {"subject": {"type": "string"}, "sealed": {"type": "string"}}});
    let schema = json!({
        "properties": {"Placed": {"properties": {
            "email": {"$ref": "#/$defs/Personal"},
            "reply_email": {"type": ["string", "null"]},
            "addresses": {"items": {"$ref": "#/$defs/Address"}, "type": "array"},
            "line": {"type": "string"},
            "shippingAddress": {"$ref": "#/$defs/Plain"},
            "billing_address": {"anyOf": [{"$ref": "#/$defs/Address"}, {"type": "null"}]},
            "gift": {"oneOf": [{"properties": {"Recipient": {"type": "string"}}}, {"$ref": "#/$defs/Personal"}]},
            "notes": {"additionalProperties": {"properties": {"mobile_2": {"type": "integer"}}}},
        }}},
        "$defs": {
            "Personal": personal,
            "Address": {"properties": {"country": {"type": "string"}, "addressee": {"$ref": "#/$defs/Personal"}}},
            "Plain": {"properties": {"line_1": {"type": "string"}}},
        },
    });
    let mut found = plain_personal_properties(&schema);
    found.sort_unstable();
    assert_eq!(found, ["Recipient", "mobile_2", "reply_email", "shippingAddress"]);
}

/// Properties, at any depth, that are called like something about a person and hold a value that is not sealed.
fn plain_personal_properties(schema: &Value) -> Vec<String> {
    let mut found = Vec::new();
    visit(schema, schema, &mut found);
    found
}

fn visit(root: &Value, schema: &Value, found: &mut Vec<String>) {
    let Value::Object(members) = schema else {
        let items = schema.as_array().into_iter().flatten();
        return items.for_each(|item| visit(root, item, found));
    };
    for (name, property) in members.get("properties").and_then(Value::as_object).into_iter().flatten() {
        if speaks_of_a_person(name) && !is_sealed(root, property) {
            found.push(name.clone());
        }
    }
    members.values().for_each(|member| visit(root, member, found)); // With `$defs`, which are visited where they stand.
}

/// By its words, in whichever case they are put together: `reply_email`, `replyEmail`, `Emails`.
fn speaks_of_a_person(property: &str) -> bool {
    let mut words = vec![String::new()];
    for c in property.chars() {
        if c.is_uppercase() || !c.is_alphabetic() {
            words.push(String::new());
        }
        if c.is_alphabetic() {
            words.last_mut().expect("there is one").extend(c.to_lowercase());
        }
    }
    let is_one = |word: &str| WORDS.contains(&word);
    words.iter().any(|word| is_one(word) || is_one(word.trim_end_matches('s')) || is_one(word.trim_end_matches("es")))
}

/// Whether all that is written there is a `Personal`, or beside one, as the country is in an address.
fn is_sealed(root: &Value, schema: &Value) -> bool {
    let alternatives = ["anyOf", "oneOf", "allOf"].into_iter().filter_map(|all| schema[all].as_array()).flatten();
    let mut alternatives = alternatives.filter(|alternative| alternative["type"] != "null").peekable();
    if alternatives.peek().is_some() {
        return alternatives.all(|alternative| is_sealed(root, alternative));
    }
    if let Some(reference) = schema["$ref"].as_str() {
        let pointer = reference.strip_prefix('#').expect("schemas refer to themselves only");
        return reference == "#/$defs/Personal" || is_sealed(root, root.pointer(pointer).expect("it is there"));
    }
    if schema["items"].is_object() {
        return is_sealed(root, &schema["items"]);
    }
    let properties = schema["properties"].as_object();
    properties.is_some_and(|properties| properties.values().any(|property| is_sealed(root, property)))
}

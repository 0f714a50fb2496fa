//! Which changes of a schema a reader of events need not know of.
//!
//! Two things must hold: a reader of the released schema can read new events, and a reader of the new schema the events
//! that are stored. So an optional field may be added, and a value to an enum, since readers are told to expect that;
//! whatever else changes is refused, also what this file has never heard of.

use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Keywords that are for people.
const ANNOTATIONS: [&str; 6] = ["$schema", "$defs", "$comment", "title", "description", "examples"];

/// Every incompatible change from `released` to `new`, each with where it is; empty when there is none.
pub fn incompatibilities(released: &Value, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    Comparison { released, new }.compare("", released, new, &mut found);
    found
}

/// The two documents, in which references are looked up.
struct Comparison<'a> {
    released: &'a Value,
    new: &'a Value,
}

impl Comparison<'_> {
    fn compare(&self, at: &str, released: &Value, new: &Value, found: &mut Vec<String>) {
        let (old, new) = (resolved(self.released, released), resolved(self.new, new));
        let keywords: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for keyword in keywords {
            let values = (old.get(keyword).unwrap_or(&Value::Null), new.get(keyword).unwrap_or(&Value::Null));
            match (keyword.as_str(), values) {
                (annotation, _) if ANNOTATIONS.contains(&annotation) => {}
                ("properties", (Value::Object(before), Value::Object(after))) => {
                    self.compare_members(at, before, after, found);
                    for name in after.keys().filter(|name| !before.contains_key(*name)) {
                        if names(&new["required"]).contains(name.as_str()) {
                            found.push(format!("{at}/{name}: new and required, stored events do not have it"));
                        }
                    }
                }
                ("required", (before, after)) => {
                    let (before, after) = (names(before), names(after));
                    let is_in = |schema: &Map<String, Value>, name| {
                        schema.get("properties").is_some_and(|p| p.get(name).is_some())
                    };
                    for name in before.difference(&after).filter(|name| is_in(&new, **name)) {
                        found.push(format!("{at}/{name}: was required, is optional"));
                    }
                    for name in after.difference(&before).filter(|name| is_in(&old, **name)) {
                        found.push(format!("{at}/{name}: was optional, is required"));
                    }
                }
                ("patternProperties", (Value::Object(before), Value::Object(after))) => {
                    self.compare_members(at, before, after, found);
                    if before.len() < after.len() {
                        found.push(format!("{at}: {keyword} was {}, is {}", values.0, values.1));
                    }
                }
                ("items" | "additionalProperties", (Value::Object(_), Value::Object(_))) => {
                    self.compare(&format!("{at}/*"), values.0, values.1, found);
                }
                ("oneOf", (Value::Array(before), Value::Array(after))) => {
                    self.compare_alternatives(at, before, after, found);
                }
                ("anyOf", (Value::Array(before), Value::Array(after))) => {
                    self.compare_alternatives(at, before, after, found);
                    if before.len() < after.len() {
                        found.push(format!("{at}: may be something else now"));
                    }
                }
                ("type", (before, after)) if names(before) == names(after) => {}
                (keyword, (before, after)) => {
                    if before != after {
                        found.push(format!("{at}: {keyword} was {before}, is {after}"));
                    }
                }
            }
        }
    }

    fn compare_members(
        &self,
        at: &str,
        before: &Map<String, Value>,
        after: &Map<String, Value>,
        found: &mut Vec<String>,
    ) {
        for (name, before) in before {
            match after.get(name) {
                Some(after) => self.compare(&format!("{at}/{name}"), before, after, found),
                None => found.push(format!("{at}/{name}: removed or renamed")),
            }
        }
    }

    /// Each of the alternatives must still be there. Where there is none that fits, says what the most similar lacks.
    fn compare_alternatives(&self, at: &str, before: &[Value], after: &[Value], found: &mut Vec<String>) {
        for alternative in before {
            let compared = after.iter().map(|after| {
                let mut found = Vec::new();
                self.compare(at, alternative, after, &mut found);
                found
            });
            match (alternative.get("const"), compared.min_by_key(Vec::len)) {
                (_, Some(differences)) if differences.is_empty() => {}
                (None, Some(differences)) => found.extend(differences),
                (Some(value), _) => found.push(format!("{at}: the value {value} was removed")),
                (None, None) => found.push(format!("{at}: {alternative} was removed")),
            }
        }
    }
}

/// A schema with what it refers to, and an enum in the one of its two forms that has room for descriptions.
fn resolved(document: &Value, schema: &Value) -> Map<String, Value> {
    let mut schema = match schema {
        Value::Object(schema) => schema.clone(),
        other => Map::from_iter([("boolean schema".to_owned(), other.clone())]),
    };
    if let Some(Value::String(reference)) = schema.remove("$ref") {
        let target = reference.strip_prefix('#').and_then(|pointer| document.pointer(pointer));
        let target = target.unwrap_or_else(|| panic!("nothing is at {reference}"));
        let mut whole = resolved(document, target);
        whole.extend(schema);
        return whole;
    }
    if let Some(alternatives) = schema.remove("oneOf") {
        let alternatives = alternatives.as_array().expect("oneOf is a list");
        schema.insert("oneOf".into(), alternatives.iter().flat_map(values).collect());
    } else if schema.contains_key("enum") {
        schema = Map::from_iter([("oneOf".to_owned(), values(&schema.into()).into())]);
    }
    schema
}

/// An `enum` as a list of `const`.
fn values(schema: &Value) -> Vec<Value> {
    let Some(Value::Array(values)) = schema.get("enum") else { return vec![schema.clone()] };
    values.iter().map(|value| json!({ "type": "string", "const": value })).collect()
}

fn names(list: &Value) -> BTreeSet<&str> {
    match list {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        name => name.as_str().into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(properties: Value, required: Value) -> Value {
        json!({ "type": "object", "properties": properties, "required": required })
    }

    fn released() -> Value {
        object(json!({ "name": { "type": "string", "maxLength": 64 }, "note": { "type": "string" } }), json!(["name"]))
    }

    #[track_caller]
    fn is_refused<const N: usize>(released: Value, new: Value, reasons: [&str; N]) {
        assert_eq!(incompatibilities(&released, &new), reasons);
    }

    #[track_caller]
    fn is_taken(released: Value, new: Value) {
        is_refused(released, new, []);
    }

    #[test]
    fn an_optional_property_may_be_added() {
        is_taken(released(), released());
        let mut new = released();
        new["properties"]["tag"] = json!({ "type": "string" });
        is_taken(released(), new);
    }

    #[test]
    fn words_for_people_may_change() {
        let mut new = released();
        new["description"] = "In other words.".into();
        new["properties"]["name"]["description"] = "What it is called.".into();
        is_taken(released(), new);
    }

    #[test]
    fn a_new_property_cannot_be_required() {
        let mut new = released();
        new["properties"]["tag"] = json!({ "type": "string" });
        new["required"] = json!(["name", "tag"]);
        is_refused(released(), new, ["/tag: new and required, stored events do not have it"]);
    }

    #[test]
    fn a_property_cannot_be_removed_nor_renamed() {
        let new =
            object(json!({ "title": { "type": "string", "maxLength": 64 }, "note": { "type": "string" } }), json!([]));
        is_refused(released(), new, ["/name: removed or renamed"]);
    }

    #[test]
    fn an_optional_property_cannot_become_required_nor_the_reverse() {
        let with = |required| object(released()["properties"].clone(), required);
        is_refused(released(), with(json!(["name", "note"])), ["/note: was optional, is required"]);
        is_refused(released(), with(json!([])), ["/name: was required, is optional"]);
        let mut without = released();
        without.as_object_mut().expect("an object").remove("required");
        is_refused(released(), without.clone(), ["/name: was required, is optional"]);
        is_refused(without, released(), ["/name: was optional, is required"]);
    }

    #[test]
    fn a_type_cannot_change() {
        let text = || json!({ "type": "string" });
        let text_or_null = || json!({ "type": ["string", "null"] });
        is_refused(text(), json!({ "type": "integer" }), [r#": type was "string", is "integer""#]);
        is_refused(text_or_null(), text(), [r#": type was ["string","null"], is "string""#]);
        is_refused(text(), text_or_null(), [r#": type was "string", is ["string","null"]"#]);
        is_taken(text_or_null(), json!({ "type": ["null", "string"] }));
    }

    #[test]
    fn a_bound_can_neither_be_narrowed_nor_widened() {
        for (keyword, narrow, wide) in [
            ("maximum", json!(10), json!(20)),
            ("minimum", json!(1), json!(0)),
            ("maxLength", json!(10), json!(20)),
            ("minLength", json!(1), json!(0)),
            ("maxItems", json!(1), json!(2)),
            ("pattern", json!("^a$"), json!("^a+$")),
            ("format", json!("uuid"), Value::Null),
            ("additionalProperties", json!(false), json!(true)),
        ] {
            let [narrow, wide] = [&narrow, &wide].map(|bound| json!({ keyword: bound }));
            assert_eq!(incompatibilities(&wide, &narrow).len(), 1, "{keyword} narrowed");
            assert_eq!(incompatibilities(&narrow, &wide).len(), 1, "{keyword} widened");
        }
        let mut new = released();
        new["properties"]["name"]["maxLength"] = 63.into();
        is_refused(released(), new, ["/name: maxLength was 64, is 63"]);
    }

    #[test]
    fn a_value_of_an_enum_can_be_added_but_not_removed() {
        let one = || json!({ "type": "string", "enum": ["reserve"] });
        let two = || json!({ "type": "string", "enum": ["reserve", "ship"] });
        is_taken(one(), two());
        is_refused(two(), one(), [r#": the value "ship" was removed"#]);
        is_refused(
            json!({ "type": "string" }),
            one(),
            [r#": oneOf was null, is [{"const":"reserve","type":"string"}]"#, r#": type was "string", is null"#],
        );
    }

    #[test]
    fn a_value_of_an_enum_may_get_a_description() {
        let described = json!({ "oneOf": [{ "type": "string", "const": "ship", "description": "Now." }, { "type": "string", "enum": ["reserve"] }] });
        is_taken(json!({ "type": "string", "enum": ["reserve", "ship"] }), described);
    }

    #[test]
    fn an_alternative_with_fields_can_be_added_but_not_changed_or_removed() {
        let tagged = |name: &str, schema: Value| object(json!({ name: schema }), json!([name]));
        let (up, down) = (tagged("up", json!({ "maximum": 9 })), tagged("down", json!({ "maximum": 9 })));
        is_taken(json!({ "oneOf": [up] }), json!({ "oneOf": [down, up] }));
        is_refused(
            json!({ "oneOf": [up, down] }),
            json!({ "oneOf": [up] }),
            ["/down: removed or renamed", "/up: new and required, stored events do not have it"],
        );
        is_refused(
            json!({ "oneOf": [up] }),
            json!({ "oneOf": [tagged("up", json!({ "maximum": 8 }))] }),
            ["/up: maximum was 9, is 8"],
        );
    }

    #[test]
    fn what_may_be_null_stays_so_and_nothing_else_becomes_so() {
        let text = json!({ "type": "string" });
        let nullable = json!({ "anyOf": [text, { "type": "null" }] });
        is_taken(nullable.clone(), nullable.clone());
        is_refused(json!({ "anyOf": [text] }), nullable.clone(), [": may be something else now"]);
        is_refused(nullable, json!({ "anyOf": [text] }), [r#": type was "null", is "string""#]);
    }

    #[test]
    fn the_change_is_found_in_lists_maps_and_definitions() {
        let of = |maximum: i64| {
            json!({
                "properties": {
                    "list": { "items": { "$ref": "#/$defs/Units" } },
                    "map": { "patternProperties": { "^[a-z]+$": { "$ref": "#/$defs/Units" } }, "additionalProperties": false },
                    "open": { "additionalProperties": { "$ref": "#/$defs/Units" } },
                },
                "$defs": { "Units": { "maximum": maximum } },
            })
        };
        is_taken(of(9), of(9));
        is_refused(
            of(9),
            of(8),
            ["/list/*: maximum was 9, is 8", "/map/^[a-z]+$: maximum was 9, is 8", "/open/*: maximum was 9, is 8"],
        );
    }

    #[test]
    fn a_definition_may_be_renamed_or_written_out() {
        let referring = json!({ "$ref": "#/$defs/Units", "$defs": { "Units": { "maximum": 9 } } });
        is_taken(referring.clone(), json!({ "$ref": "#/$defs/Pieces", "$defs": { "Pieces": { "maximum": 9 } } }));
        is_taken(referring, json!({ "maximum": 9 }));
    }

    #[test]
    fn an_unheard_of_keyword_cannot_change() {
        is_refused(json!({ "multipleOf": 2 }), json!({}), [": multipleOf was 2, is null"]);
        is_refused(json!({ "default": 1 }), json!({ "default": 2 }), [": default was 1, is 2"]);
    }
}

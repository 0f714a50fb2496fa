//! The fields of a request, from its body and its path, read as a command. What does not fit is named.

use serde::Deserialize;
use serde::de::value::MapDeserializer;
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Name and value of each field of one JSON object, not yet read.
#[derive(Debug)]
pub struct Fields<'a>(Vec<(Cow<'a, str>, Value<'a>)>);

#[derive(Debug, Clone, Copy)]
enum Value<'a> {
    Json(&'a RawValue),
    Text(&'a str),
}

/// A field that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidField {
    /// Where it is, such as `lines[2].quantity`; empty: the whole body.
    pub field: String,
    pub rule: String,
}

impl<'a> Fields<'a> {
    /// Takes a JSON object apart.
    pub fn parse(body: &'a [u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(body)
    }

    /// Adds a field that the path gives.
    pub fn with(mut self, name: &'static str, value: &'a str) -> Result<Self, InvalidField> {
        if self.0.iter().any(|(given, _)| given == name) {
            return Err(InvalidField {
                field: name.into(),
                rule: "is given by the path and must not be in the body".into(),
            });
        }
        self.0.push((Cow::Borrowed(name), Value::Text(value)));
        Ok(self)
    }

    /// Takes a text field out. `None`: it is not there, or no text.
    pub fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(given, _)| given == name)?;
        match self.0.remove(at).1 {
            Value::Json(json) => serde_json::from_str(json.get()).ok(),
            Value::Text(text) => Some(text.to_owned()),
        }
    }

    /// Reads all fields as a `T`.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, InvalidField> {
        let fields = self.0.iter().map(|(name, value)| (name.as_ref(), *value));
        serde_path_to_error::deserialize(MapDeserializer::new(fields)).map_err(|error| {
            let field = error.path().to_string();
            let rule = error.into_inner().to_string();
            // serde_json adds a place within the field's own text, which means nothing to the client.
            let rule = rule.split(" at line ").next().unwrap_or_default().to_owned();
            let field = match (if field == "." { "" } else { &field }, absent_or_twice(&rule)) {
                (parent, None) => parent.to_owned(),
                ("", Some(name)) => name.to_owned(),
                (parent, Some(name)) => format!("{parent}.{name}"),
            };
            InvalidField { field, rule }
        })
    }

    /// What the request asks for, for its fingerprint: the same request has the same bytes.
    pub fn fingerprint(&self, command: &str) -> Vec<u8> {
        let mut bytes = command.as_bytes().to_vec();
        for (name, value) in &self.0 {
            bytes.push(0);
            bytes.extend_from_slice(name.as_bytes());
            bytes.push(0);
            bytes.extend_from_slice(match value {
                Value::Json(json) => json.get().as_bytes(),
                Value::Text(text) => text.as_bytes(),
            });
        }
        bytes
    }
}

/// The field that serde finds missing, or there twice. It says so of the object, and names the field in the rule only.
fn absent_or_twice(rule: &str) -> Option<&str> {
    let name = rule.strip_prefix("missing field `").or_else(|| rule.strip_prefix("duplicate field `"))?;
    name.strip_suffix('`')
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Fields<'de>, M::Error> {
                let mut fields = Vec::with_capacity(8);
                while let Some((name, value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    fields.push((name.0, Value::Json(value)));
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

/// Borrowed where the JSON has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> IntoDeserializer<'a, serde_json::Error> for Value<'a> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Value<'de> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self {
            Value::Json(json) => Deserializer::deserialize_any(json, visitor),
            Value::Text(text) => visitor.visit_str(text),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self {
            Value::Json(json) => Deserializer::deserialize_option(json, visitor),
            Value::Text(_) => visitor.visit_some(self),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        match self {
            Value::Json(json) => Deserializer::deserialize_enum(json, name, variants, visitor),
            Value::Text(text) => Deserializer::deserialize_enum(text.into_deserializer(), name, variants, visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kontor_domain::{Quantity, Sku};

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Form {
        sku: Sku,
        note: Option<String>,
        parts: Vec<Part>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Part {
        quantity: Quantity,
    }

    fn read(body: &str, path: Option<&'static str>) -> Result<Form, InvalidField> {
        let fields = Fields::parse(body.as_bytes()).expect("a JSON object");
        match path {
            Some(sku) => fields.with("sku", sku)?.read(),
            None => fields.read(),
        }
    }

    fn invalid(field: &str, rule: &str) -> Result<Form, InvalidField> {
        Err(InvalidField { field: field.into(), rule: rule.into() })
    }

    #[test]
    fn body_and_path_make_one_command() {
        let from_body = read(r#"{"sku":"A","note":"b\"c","parts":[{"quantity":2}]}"#, None).expect("well-formed");
        let from_path = read(r#"{"note":"b\"c","parts":[{"quantity":2}]}"#, Some("A")).expect("well-formed");
        assert_eq!(from_body, from_path);
        assert_eq!(from_body.note.as_deref(), Some("b\"c"));
    }

    #[test]
    fn what_breaks_a_rule_is_named() {
        let sku_rule = "must consist of letters, digits, '.', '_' and '-', has '/'";
        assert_eq!(read(r#"{"parts":[]}"#, Some("a/b")), invalid("sku", sku_rule));
        assert_eq!(read(r#"{"parts":[]}"#, None), invalid("sku", "missing field `sku`"));
        let incomplete = r#"{"sku":"A","parts":[{"quantity":1},{}]}"#;
        assert_eq!(read(incomplete, None), invalid("parts[1].quantity", "missing field `quantity`"));
        let repeated = r#"{"sku":"A","sku":"B","parts":[]}"#;
        assert_eq!(read(repeated, None), invalid("sku", "duplicate field `sku`"));
        let twice = "is given by the path and must not be in the body";
        assert_eq!(read(r#"{"sku":"A","parts":[]}"#, Some("A")), invalid("sku", twice));
        let negative = read(r#"{"sku":"A","parts":[{"quantity":1},{"quantity":-1}]}"#, None).expect_err("negative");
        assert_eq!(negative.field, "parts[1].quantity");
        let unknown = read(r#"{"sku":"A","parts":[],"colour":"red"}"#, None).expect_err("unknown");
        assert_eq!(unknown.field, "colour");
        assert!(unknown.rule.starts_with("unknown field `colour`, expected one of"), "{}", unknown.rule);
    }

    #[test]
    fn only_an_object_has_fields() {
        for body in ["", "[]", "1", "{", "{\"a\":\"\u{1}\"}"] {
            assert!(Fields::parse(body.as_bytes()).is_err(), "{body}");
        }
        assert!(Fields::parse(b"{\"a\":\"\xff\"}").is_err(), "invalid UTF-8");
    }
}

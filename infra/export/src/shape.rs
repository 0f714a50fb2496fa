//! A payload as columns: objects are taken apart, what has one value is a column of its type, lists and the like are JSON.

use crate::table::{Cell, Column, Kind};
use chrono::DateTime;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::HashSet;

/// What a schema says of one value.
#[derive(Debug)]
pub enum Shape {
    /// In a column, by its place.
    Column(usize, Kind),
    /// Taken apart: what each member is.
    Object(Vec<(String, Shape)>),
}

/// Makes columns of a schema.
pub struct Columns<'a> {
    /// Where references are looked up.
    document: &'a Value,
    pub columns: Vec<Column>,
    names: HashSet<String>,
}

impl<'a> Columns<'a> {
    /// Behind `first`, whose names are taken.
    pub fn after(first: Vec<Column>, document: &'a Value) -> Self {
        let names = first.iter().map(|column| column.name.clone()).collect();
        Self { document, columns: first, names }
    }

    /// The columns of what `schema` describes, which is at `path`: the members on the way there, joined by `_`.
    pub fn of(&mut self, path: &str, schema: &'a Value) -> Shape {
        let whole = self.resolved(schema);
        let (schema, description) = (whole.last().copied().unwrap_or(schema), described(&whole));
        match schema["properties"].as_object() {
            Some(members) if schema.get("patternProperties").is_none() => Shape::Object(
                members
                    .iter()
                    .map(|(name, member)| {
                        let path = if path.is_empty() { name.clone() } else { format!("{path}_{name}") };
                        (name.clone(), self.of(&path, member))
                    })
                    .collect(),
            ),
            _ => {
                let kind = kind(schema);
                let name = self.free(if path.is_empty() { "payload" } else { path });
                self.columns.push(Column { name, kind, is_required: false, description });
                Shape::Column(self.columns.len() - 1, kind)
            }
        }
    }

    /// Adds a column, whose name may have to differ.
    pub fn add(&mut self, name: &str, kind: Kind, description: &str) {
        let name = self.free(name);
        self.columns.push(Column { name, kind, is_required: false, description: description.to_owned() });
    }

    fn free(&mut self, name: &str) -> String {
        let mut name = name.to_owned();
        while !self.names.insert(name.clone()) {
            name.insert_str(0, "payload_");
        }
        name
    }

    /// The schema itself, then what it refers to, then what that refers to; past "or null", which every column may be.
    fn resolved(&self, schema: &'a Value) -> Vec<&'a Value> {
        let mut way = vec![schema];
        while let Some(&schema) = way.last() {
            let alternatives = schema["anyOf"].as_array().map(|all| all.iter().filter(|one| one["type"] != "null"));
            let next = match (schema["$ref"].as_str(), alternatives) {
                (Some(reference), _) => self.document.pointer(reference.trim_start_matches('#')),
                (None, Some(mut alternatives)) => alternatives.next().filter(|_| alternatives.next().is_none()),
                (None, None) => None,
            };
            let Some(next) = next else { break };
            way.push(next);
        }
        way
    }
}

/// What is nearest to the field is said first.
fn described(way: &[&Value]) -> String {
    way.iter().find_map(|schema| schema["description"].as_str()).unwrap_or_default().to_owned()
}

fn kind(schema: &Value) -> Kind {
    let types = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).filter(|one| *one != "null").collect(),
        one => Vec::from_iter(one.as_str()),
    };
    let values = schema["oneOf"].as_array();
    let is_text = |value: &Value| value["type"] == "string" || value["const"].is_string();
    match types[..] {
        ["string"] if schema["format"] == "date-time" => Kind::Time,
        ["string"] => Kind::Text,
        ["integer"] => Kind::Integer,
        ["boolean"] => Kind::Flag,
        [] if values.is_some_and(|values| values.iter().all(is_text)) => Kind::Text,
        _ => Kind::Json,
    }
}

impl Shape {
    /// Puts `value` into its columns; returns what has none, or is not what its column is for.
    pub fn place(&self, value: Value, cells: &mut [Cell<'_>]) -> Option<Value> {
        match (self, value) {
            (_, Value::Null) => None,
            (Shape::Object(members), Value::Object(mut object)) => {
                let mut left = Map::new();
                for (name, shape) in members {
                    if let Some(value) = object.remove(name).and_then(|value| shape.place(value, cells)) {
                        left.insert(name.clone(), value);
                    }
                }
                left.append(&mut object);
                (!left.is_empty()).then_some(Value::Object(left))
            }
            (Shape::Column(at, kind), value) => match cell(*kind, value) {
                Ok(cell) => {
                    cells[*at] = cell;
                    None
                }
                Err(value) => Some(value),
            },
            (Shape::Object(_), value) => Some(value),
        }
    }
}

fn cell(kind: Kind, value: Value) -> Result<Cell<'static>, Value> {
    let text = |text: String| Cell::Text(Cow::Owned(text));
    match (kind, value) {
        (Kind::Json, value) => Ok(text(value.to_string())),
        (Kind::Text, Value::String(value)) => Ok(text(value)),
        (Kind::Flag, Value::Bool(value)) => Ok(Cell::Flag(value)),
        (Kind::Integer, value) => value.as_i64().map(Cell::Integer).ok_or(value),
        (Kind::Time, Value::String(value)) => match DateTime::parse_from_rfc3339(&value) {
            // A column has microseconds, as the log has.
            Ok(time) if time.timestamp_subsec_nanos().is_multiple_of(1_000) => Ok(Cell::Time(time.to_utc())),
            _ => Err(Value::String(value)),
        },
        (_, value) => Err(value),
    }
}

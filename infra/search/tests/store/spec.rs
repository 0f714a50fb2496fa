//! Typesense's own description of its HTTP API (OpenAPI 3.0), and what of a request or an answer it does not allow.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

pub struct Spec(Value);

/// What a request is by the description.
pub struct Operation<'a> {
    pub id: &'a str,
    described: &'a Value,
}

impl Spec {
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("KONTOR_TEST_TYPESENSE_SPEC names a file");
        let mut spec = serde_norway::from_str(&text).expect("it is YAML");
        loosen(&mut spec);
        Spec(spec)
    }

    /// `path`: with what stands for parameters in it.
    pub fn operation(&self, method: &str, path: &str) -> Result<Operation<'_>, String> {
        let parts: Vec<_> = path.trim_matches('/').split('/').collect();
        let fits = |template: &str| {
            let of: Vec<_> = template.trim_matches('/').split('/').collect();
            of.len() == parts.len() && of.iter().zip(&parts).all(|(of, part)| of.starts_with('{') || of == part)
        };
        let paths = self.0["paths"].as_object().expect("it describes paths");
        // One without parameters comes first: `/documents/search` is not a document called so.
        let mut templates: Vec<_> = paths.keys().filter(|template| fits(template)).collect();
        templates.sort_by_key(|template| template.matches('{').count());
        let described = templates.first().map(|template| &paths[*template][method.to_lowercase()]);
        let described = described.filter(|described| described.is_object());
        let described = described.ok_or_else(|| format!("{method} {path} is not described"))?;
        Ok(Operation { id: described["operationId"].as_str().expect("each is called something"), described })
    }

    /// What of a request is not described.
    pub fn check_request(&self, operation: &Operation<'_>, query: &[(String, String)], body: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut known = BTreeSet::new();
        for parameter in operation.described["parameters"].as_array().into_iter().flatten() {
            let parameter = self.resolved(parameter);
            if parameter["in"] == "query" {
                let properties = self.properties(&parameter["schema"]);
                known.extend(properties.iter().map(|(name, _)| name.clone()));
                if properties.is_empty() {
                    known.extend(parameter["name"].as_str().map(str::to_owned));
                }
            }
        }
        let unknown = query.iter().filter(|(name, _)| !known.contains(name));
        wrong.extend(unknown.map(|(name, _)| format!("{}: no parameter {name}", operation.id)));
        let content = &operation.described["requestBody"]["content"];
        match content.get("application/json") {
            Some(described) => match serde_json::from_str::<Value>(body) {
                Ok(body) => {
                    wrong.extend(self.check(operation.id, &described["schema"], &body));
                    self.check_names(operation.id, &described["schema"], &body, &mut wrong);
                }
                Err(error) => wrong.push(format!("{}: the body is no JSON: {error}", operation.id)),
            },
            None if content.is_null() && !body.is_empty() => wrong.push(format!("{}: has no body", operation.id)),
            None => {}
        }
        wrong
    }

    /// What of an answer is not described.
    pub fn check_answer(&self, operation: &Operation<'_>, status: u16, body: &str) -> Vec<String> {
        let answers = &operation.described["responses"];
        let Some(described) = answers.get(status.to_string()) else {
            return vec![format!("{}: does not answer {status}", operation.id)];
        };
        let Some(schema) = described["content"].get("application/json").map(|content| &content["schema"]) else {
            return Vec::new();
        };
        match serde_json::from_str::<Value>(body) {
            Ok(body) => self.check(operation.id, schema, &body),
            Err(error) => vec![format!("{}: the answer is no JSON: {error}", operation.id)],
        }
    }

    fn check(&self, of: &str, schema: &Value, value: &Value) -> Vec<String> {
        let whole = json!({ "allOf": [schema], "components": self.0["components"] });
        let validator = jsonschema::options().with_draft(jsonschema::Draft::Draft4).build(&whole);
        let validator = validator.expect("a schema of OpenAPI 3.0 is one of JSON Schema, nearly");
        validator.iter_errors(value).map(|error| format!("{of}: {error} at {}", error.instance_path())).collect()
    }

    /// Names that the description does not have: JSON Schema lets them pass.
    fn check_names(&self, of: &str, schema: &Value, value: &Value, wrong: &mut Vec<String>) {
        let schema = self.resolved(schema);
        match value {
            Value::Object(fields) => {
                let properties = self.properties(schema);
                for (name, value) in fields.iter().filter(|_| !properties.is_empty()) {
                    match properties.iter().find(|(known, _)| known == name) {
                        Some((_, schema)) => self.check_names(of, schema, value, wrong),
                        None => wrong.push(format!("{of}: the body has no {name}")),
                    }
                }
            }
            Value::Array(items) => {
                items.iter().for_each(|item| self.check_names(of, &schema["items"], item, wrong));
            }
            _ => {}
        }
    }

    fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(to) => self.resolved(self.0.pointer(to.trim_start_matches('#')).expect("a reference leads somewhere")),
            None => value,
        }
    }

    /// Of an object, also those that it has from others.
    fn properties<'a>(&'a self, schema: &'a Value) -> Vec<(String, &'a Value)> {
        let schema = self.resolved(schema);
        let own = schema["properties"].as_object().into_iter().flatten().map(|(name, of)| (name.clone(), of));
        let others = schema["allOf"].as_array().into_iter().flatten().flat_map(|other| self.properties(other));
        own.chain(others).collect()
    }
}

/// The description says `object` of what is any value by its own words ("any key-value pair", `interface{}`): of the fields of a
/// document and of matched words, which are texts and numbers.
fn loosen(schema: &mut Value) {
    let is_any = |value: &Value| value["type"] == "object" && value.get("properties").is_none();
    match schema {
        Value::Object(fields) => {
            for (name, value) in fields {
                match matches!(name.as_str(), "additionalProperties" | "items") && is_any(value) {
                    true => *value = json!({}),
                    false => loosen(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(loosen),
        _ => {}
    }
}

//! The contract as OpenAPI 3.1: made from the tables that serve it, so that it says neither more nor less.

use super::endpoints::{ENDPOINTS, Endpoint, Media, Parameter};
use super::problem::{Kind, Problem, general};
use super::routes::{Answer, JSON, POSITION};
use super::shopping::CHECK_OUT;
use crate::command::{self, Spec};
use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, ContentType};
use chrono::DateTime;
use kontor_identity::{Permission, Role};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::LazyLock;
use uuid::Uuid;

mod example;

const COMPONENTS: &str = "#/components/schemas/";

static DOCUMENT: LazyLock<String> = LazyLock::new(|| Document::new().build().to_string());

/// Serves the document, which is the same for as long as the process lives.
pub async fn document() -> HttpResponse {
    HttpResponse::Ok()
        .content_type(ContentType::json())
        .insert_header((CACHE_CONTROL, "no-cache"))
        .body(DOCUMENT.as_str())
}

/// The document in the making.
struct Document {
    schemas: SchemaGenerator,
    paths: Map<String, Value>,
    /// The types of problem that some operation may answer with, by their component's name.
    problems: BTreeMap<String, &'static Kind>,
    /// The nouns, in the order of the tables.
    nouns: Vec<String>,
}

impl Document {
    fn new() -> Self {
        let settings = SchemaSettings::draft2020_12()
            .with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.meta_schema = None;
            })
            .with_transform(RecursiveTransform(describe));
        let (schemas, problems) = (settings.into_generator(), BTreeMap::new());
        Self { schemas, paths: Map::new(), problems, nouns: Vec::new() }
    }

    fn build(mut self) -> Value {
        // All forms first: examples and path parameters are made from what they refer to.
        let forms: Vec<_> =
            command::ALL.iter().map(|spec| name_of((spec.schema)(&mut self.schemas).as_value())).collect();
        self.schemas.subschema_for::<Answer>();
        self.schemas.subschema_for::<Problem>();
        let outlines: Vec<_> = ENDPOINTS.iter().map(|endpoint| self.outline(endpoint)).collect();
        let mut schemas = self.schemas.take_definitions(true);
        for (spec, form) in command::ALL.iter().zip(forms) {
            self.command(spec, &form, &mut schemas);
        }
        for (endpoint, outline) in ENDPOINTS.iter().zip(outlines) {
            self.endpoint(endpoint, outline);
        }
        schemas.extend(self.problems.iter().map(|(name, kind)| (name.clone(), problem_schema(kind))));
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Kontor commands",
                "version": env!("CARGO_PKG_VERSION"),
                "description": ABOUT,
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/"}],
            "tags": self.nouns.iter().map(|noun| json!({"name": noun})).collect::<Vec<_>>(),
            "paths": self.paths,
            "components": {
                "schemas": schemas,
                "parameters": parameters(),
                "headers": headers(),
                "securitySchemes": {"token": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "Who you are and in which role. What each role may do, each operation says.",
                }},
            },
        })
    }

    /// One command on its own path. What the path gives is no field of the body.
    fn command(&mut self, spec: &Spec, form: &str, schemas: &mut Map<String, Value>) {
        let given = spec.path_fields().map(|field| {
            let schema = take_field(&mut schemas[form], field);
            let example = example::of(&schema, schemas, field);
            json!({"name": field, "in": "path", "required": true, "schema": schema, "example": example})
        });
        let given: Vec<_> = given.collect();
        let mut parameters = given;
        parameters.extend([reference("parameters", "IdempotencyKey"), reference("parameters", "IfMatch")]);
        let schema = json!({"$ref": format!("{COMPONENTS}{form}")});
        let example = example::of(&schema, schemas, form);
        let problems = spec.refusals.iter().chain([&general::OF_COMMANDS]).copied().flatten().copied();
        let mut answers = self.refusals(Some(spec.permission), problems);
        let (answer, done, headers) = match spec.name {
            CHECK_OUT => {
                parameters.push(reference("parameters", "Prefer"));
                (
                    "OrderStatus",
                    [("200", "The order is settled."), ("202", "It is placed; `Location` tells how it goes on.")],
                    &["ETag", POSITION, "Location", "Preference-Applied"][..],
                )
            }
            _ => {
                let done = [("200", "It was so already, or this key has done it before."), ("201", "Done.")];
                ("Answer", done, &["ETag", POSITION][..])
            }
        };
        for (status, description) in done {
            let headers = headers_called(headers);
            let content = json!({"application/json": {"schema": {"$ref": format!("{COMPONENTS}{answer}")}}});
            answers.insert(status.into(), json!({"description": description, "headers": headers, "content": content}));
        }
        let operation = json!({
            "description": schemas[form]["description"],
            "parameters": parameters,
            "requestBody": {"required": true, "content": {"application/json": {"schema": schema, "example": example}}},
            "responses": answers,
        });
        self.add("post", spec.path, spec.name, Some(spec.permission), operation);
    }

    /// What of an endpoint refers to schemas.
    fn outline(&mut self, endpoint: &Endpoint) -> Outline {
        let given = command::path_fields(endpoint.path);
        let given =
            given.map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}));
        let asked = endpoint.parameters.iter().map(|Parameter { name, place, description, schema }| {
            json!({"name": name, "in": place, "description": description, "schema": schema(&mut self.schemas)})
        });
        let parameters = given.chain(asked).collect();
        let takes = endpoint.takes.map(|media| self.content(&[media]));
        Outline { parameters, takes, answers: self.content(endpoint.answers) }
    }

    fn endpoint(&mut self, endpoint: &Endpoint, Outline { mut parameters, takes, answers }: Outline) {
        let mut responses = self.refusals(endpoint.permission, endpoint.problems.iter().copied());
        let mut answer = |status: &str, description: &str| {
            let mut response = json!({"description": description, "content": answers});
            if !endpoint.headers.is_empty() {
                response["headers"] = headers_called(endpoint.headers);
            }
            responses.insert(status.into(), response);
        };
        answer("200", "Answered.");
        if endpoint.waits {
            parameters.push(reference("parameters", "Prefer"));
            answer("202", "Not settled yet.");
        }
        let mut operation = json!({
            "description": endpoint.description,
            "parameters": parameters,
            "responses": responses,
        });
        if let Some(content) = takes {
            operation["requestBody"] = json!({"required": true, "content": content});
        }
        let method = endpoint.method.as_str().to_ascii_lowercase();
        self.add(&method, endpoint.path, endpoint.name, endpoint.permission, operation);
    }

    fn add(&mut self, method: &str, path: &str, name: &str, needed: Option<Permission>, mut operation: Value) {
        operation["operationId"] = name.into();
        operation["summary"] = sentence(&name.replace('-', " ")).into();
        let noun = path.split(['/', '.']).nth(2).unwrap_or_default();
        if !self.nouns.iter().any(|known| known == noun) {
            self.nouns.push(noun.to_owned());
        }
        operation["tags"] = json!([noun]);
        let roles = needed.map_or(&[][..], Permission::roles);
        operation["security"] = match needed {
            Some(needed) if roles.contains(&Role::Guest) => json!([{}, {"token": [needed.name()]}]),
            Some(needed) => json!([{"token": [needed.name()]}]),
            None => json!([]),
        };
        if let Some(needed) = needed {
            operation["x-permission"] = needed.name().into();
            operation["x-roles"] = roles.iter().map(|role| role.name()).collect();
        }
        let item = self.paths.entry(path).or_insert_with(|| json!({}));
        item[method] = operation;
    }

    /// The answers that are problems: by status, which types there may be.
    fn refusals(
        &mut self,
        needed: Option<Permission>,
        problems: impl Iterator<Item = &'static Kind>,
    ) -> Map<String, Value> {
        let of_token = needed.map_or(&[][..], |_| general::OF_TOKENS);
        let mut by_status: BTreeMap<u16, Vec<Value>> = BTreeMap::new();
        for kind in of_token.iter().copied().chain(problems) {
            let name = component(kind);
            by_status.entry(kind.status()).or_default().push(json!({"$ref": format!("{COMPONENTS}{name}")}));
            self.problems.insert(name, kind);
        }
        by_status
            .into_iter()
            .map(|(status, kinds)| {
                let content = json!({"application/problem+json": {"schema": {"oneOf": kinds}}});
                let mut response = json!({"description": meaning(status), "content": content});
                if status == 503 {
                    response["headers"] = json!({"Retry-After": reference("headers", "Retry-After")});
                }
                (status.to_string(), response)
            })
            .collect()
    }

    /// The content of a body, in any of `media`. Of lines, OpenAPI 3.1 can only say that they are text; `x-item-schema`
    /// says what is in one, as `itemSchema` of 3.2 does.
    fn content(&mut self, media: &[Media]) -> Value {
        let forms = media.iter().map(|Media { name, schema }| {
            let schema = schema(&mut self.schemas);
            let form = match *name {
                JSON => json!({"schema": schema}),
                _ => json!({"schema": {"type": "string"}, "x-item-schema": schema}),
            };
            ((*name).to_owned(), form)
        });
        Value::Object(forms.collect())
    }
}

/// What an endpoint is sent and answers.
struct Outline {
    parameters: Vec<Value>,
    takes: Option<Value>,
    answers: Value,
}

/// Takes a field out of a form's schema.
fn take_field(form: &mut Value, field: &str) -> Value {
    if let Some(required) = form["required"].as_array_mut() {
        required.retain(|name| name != field);
    }
    form["properties"].as_object_mut().and_then(|fields| fields.remove(field)).unwrap_or_default()
}

fn problem_schema(kind: &Kind) -> Value {
    let members = kind.members().iter().map(|member| ((*member).to_owned(), Value::Bool(true)));
    let mut properties: Map<_, _> = members.collect();
    properties.insert("type".into(), json!({"const": kind.url()}));
    properties.insert("title".into(), json!({"const": kind.title()}));
    properties.insert("status".into(), json!({"const": kind.status()}));
    json!({
        "description": kind.meaning(),
        "allOf": [{"$ref": format!("{COMPONENTS}Problem")}],
        "properties": properties,
    })
}

/// The component of a type of problem: `insufficient-stock` is `InsufficientStockProblem`.
fn component(kind: &Kind) -> String {
    kind.name().split('-').map(sentence).chain(["Problem".to_owned()]).collect()
}

fn reference(section: &str, name: &str) -> Value {
    json!({"$ref": format!("#/components/{section}/{name}")})
}

/// References to the headers of these names.
fn headers_called(names: &[&str]) -> Value {
    names.iter().map(|name| ((*name).to_owned(), reference("headers", name))).collect()
}

fn name_of(schema: &Value) -> String {
    let name = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix(COMPONENTS));
    name.expect("a form has a name, so it is referred to").to_owned()
}

fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
}

/// A docstring without its line breaks and links to code, and with the number of a text's most characters.
fn describe(schema: &mut schemars::Schema) {
    let longest = schema.get("maxLength").map(Value::to_string);
    if let Some(Value::String(docstring)) = schema.get_mut("description") {
        let paragraphs = docstring.split("\n\n").map(|paragraph| paragraph.replace('\n', " "));
        *docstring = paragraphs.collect::<Vec<_>>().join("\n\n").replace("[`", "`").replace("`]", "`");
        if let Some(longest) = longest {
            *docstring = docstring.replace("`MAX`", &longest);
        }
    }
    if schema.get("default").and_then(Value::as_str).is_some_and(is_made_up) {
        schema.remove("default");
    }
}

/// Whether it is an id or a time: as a default it is another one for each request.
fn is_made_up(default: &str) -> bool {
    default.parse::<Uuid>().is_ok() || DateTime::parse_from_rfc3339(default).is_ok()
}

fn meaning(status: u16) -> &'static str {
    match status {
        401 => "It is not known who you are.",
        403 => "You may not do this.",
        404 => "There is no such thing.",
        409 => "The rules refuse it; nothing has changed.",
        412 => "It has changed since you have seen it.",
        500 => "Our fault; nothing was done.",
        503 => "Not now: wait for `Retry-After`, then send it again with the same key.",
        _ => "The request has to be mended.",
    }
}

fn parameters() -> Value {
    json!({
        "IdempotencyKey": {
            "name": super::context::IDEMPOTENCY_KEY,
            "in": "header",
            "required": true,
            "description": "A key of your own, another one for each command and the same when you retry. The same key and \
                            the same request have the first outcome again. Without a token it must be a random UUID.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        },
        "IfMatch": {
            "name": "If-Match",
            "in": "header",
            "description": "The version that you have seen, in quotes as in `ETag`, or `*` for any. At another one the \
                            command is refused.",
            "schema": {"type": "string", "pattern": "^(\"[0-9]+\"|\\*)$"},
        },
        "Prefer": {
            "name": "Prefer",
            "in": "header",
            "description": "`wait=N`: answer when the order is settled, or after N seconds, at most 60 (RFC 7240).",
            "schema": {"type": "string"},
        },
    })
}

fn headers() -> Value {
    json!({
        "ETag": {"description": "The version, after the command if it was one, in quotes.", "schema": {"type": "string"}},
        POSITION: {
            "description": "Where the log was then: the `Kontor-Min-Position` of a query that must reflect the command.",
            "schema": {"type": "integer", "format": "int64"},
        },
        "Location": {"description": "Where to ask how the order goes on.", "schema": {"type": "string"}},
        "Preference-Applied": {
            "description": "`wait=N`: how long was waited at most, if that was preferred (RFC 7240).",
            "schema": {"type": "string"},
        },
        "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}},
    })
}

const ABOUT: &str = "\
Every change is one POST: a JSON body, an `Idempotency-Key` of your own, and a token. The answer has the version and the \
position that a query can wait for.

What is refused is a problem (RFC 9457) whose `type` is stable, and nothing has changed; `/v1/problems` lists all types. \
Fields that are not known are refused with their names.";

#[cfg(test)]
mod tests;

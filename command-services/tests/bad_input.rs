//! Whatever comes in: what is wrong is a problem of the client's that names the field, never ours, and nothing is stored.
//!
//! The requests are made from the OpenAPI document, so a new command is tried as soon as it is there.

mod support;

use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use support::{Answer, App, problem, send, spawn_app};

/// Where a raw value goes that JSON texts may have and a [`Value`] may not.
const HERE: &str = "\"\u{2603}\"";
const DEEP: usize = 100_000;

struct Sweep {
    app: App,
    document: Value,
    /// The problem types that the catalogue lists.
    known: BTreeSet<String>,
    sent: AtomicU64,
}

/// One command, with a request that is well-formed.
struct Command<'a> {
    name: &'a str,
    /// Its path with examples for its fields.
    path: String,
    form: &'a Value,
    example: &'a Value,
}

impl Sweep {
    async fn start() -> Self {
        let app = spawn_app().await;
        let document = app.get("/v1/openapi.json").await.body;
        let catalogue = app.get("/v1/problems").await.body;
        let types = catalogue.as_array().expect("a list").iter().map(|kind| kind["type"].as_str().expect("a type"));
        let known = types.map(str::to_owned).collect();
        Self { app, document, known, sent: AtomicU64::new(0) }
    }

    fn commands(&self) -> Vec<Command<'_>> {
        let paths = self.document["paths"].as_object().expect("paths");
        let commands = paths.iter().filter_map(|(template, item)| {
            let operation = &item["post"];
            let body = operation["requestBody"]["content"].get("application/json")?;
            let example = body.get("example")?; // A provider's webhook has none: it is no command.
            let given = operation["parameters"].as_array()?.iter().filter(|parameter| parameter["in"] == "path");
            let path = given.fold(template.clone(), |path, parameter| {
                let name = parameter["name"].as_str().expect("a name");
                path.replace(&format!("{{{name}}}"), parameter["example"].as_str().expect("an example"))
            });
            let name = operation["operationId"].as_str()?;
            Some(Command { name, path, form: self.resolve(&body["schema"]), example })
        });
        commands.collect()
    }

    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let schema = match &schema["anyOf"] {
            Value::Array(alternatives) => alternatives.iter().find(|one| one["type"] != "null").unwrap_or(schema),
            _ => schema,
        };
        match schema["$ref"].as_str() {
            Some(reference) => self.resolve(self.document.pointer(&reference[1..]).expect("what is referred to")),
            None => schema,
        }
    }

    async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        let key = self.sent.fetch_add(1, Ordering::Relaxed);
        let request = self.app.client.post(self.app.url(path)).header("Idempotency-Key", format!("sweep-{key}"));
        send(request.header("Content-Type", "application/json").body(body)).await
    }

    /// Refused as the client's fault, with a type that the catalogue lists; a field that breaks a rule is `field`.
    fn check(&self, answer: &Answer, field: Option<&str>, what: &str) {
        assert!((400..500).contains(&answer.status), "{what}: {answer:?}");
        assert_eq!(answer.media_type.as_deref(), Some("application/problem+json"), "{what}: {answer:?}");
        assert_eq!(answer.body["status"], answer.status, "{what}: {answer:?}");
        assert!(answer.body["trace_id"].as_str().is_some_and(|id| id.len() == 32), "{what}: {answer:?}");
        assert!(answer.body["type"].as_str().is_some_and(|kind| self.known.contains(kind)), "{what}: {answer:?}");
        if let Some(field) = field {
            assert_eq!(
                (problem(answer), &answer.body["field"]),
                ("invalid-field", &json!(field)),
                "{what}: {answer:?}"
            );
        }
    }

    /// Every field of a form, also those inside others.
    fn fields<'a>(&'a self, schema: &'a Value, example: &Value, inside: &str, pointer: &str) -> Vec<Field<'a>> {
        let schema = self.resolve(schema);
        let mut fields = Vec::new();
        if let Some(example) = example.as_object() {
            let alternatives = schema["oneOf"].as_array().into_iter().flatten().map(|schema| (schema, true));
            for (schema, is_choice) in alternatives.chain([(schema, false)]) {
                let properties = schema["properties"].as_object().into_iter().flatten();
                for (name, inner) in properties.filter(|(name, _)| example.contains_key(*name)) {
                    let required = schema["required"].as_array().is_some_and(|names| names.contains(&json!(name)));
                    let field = if inside.is_empty() { name.clone() } else { format!("{inside}.{name}") };
                    let pointer = format!("{pointer}/{name}");
                    let inner_fields = self.fields(inner, &example[name], &field, &pointer);
                    fields.push(Field { name: field, pointer, schema: self.resolve(inner), required, is_choice });
                    fields.extend(inner_fields);
                }
            }
        } else if let Some([first, ..]) = example.as_array().map(Vec::as_slice) {
            fields.extend(self.fields(&schema["items"], first, &format!("{inside}[0]"), &format!("{pointer}/0")));
        }
        fields
    }
}

/// One field of a form.
struct Field<'a> {
    /// As problems tell it, such as `lines[0].sku`.
    name: String,
    /// As JSON Pointer has it, such as `/lines/0/sku`.
    pointer: String,
    schema: &'a Value,
    required: bool,
    /// Whether it is one of several of which there is to be one. What is wrong with those is said of what holds them.
    is_choice: bool,
}

/// The example with a raw JSON text at `pointer`.
fn with(example: &Value, pointer: &str, raw: &str) -> String {
    let mut body = example.clone();
    *body.pointer_mut(pointer).expect("a field of the example") = serde_json::from_str(HERE).expect("a text");
    body.to_string().replace(HERE, raw)
}

/// The object at `pointer`'s parent with another member, raw.
fn with_member(example: &Value, pointer: &str, member: &str) -> String {
    let mut body = example.clone();
    let parent = body.pointer_mut(pointer).and_then(Value::as_object_mut).expect("an object of the example");
    parent.insert("\u{2603}".into(), Value::Null);
    body.to_string().replace(&format!("{HERE}:null"), member)
}

fn without(example: &Value, pointer: &str) -> String {
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    let mut body = example.clone();
    body.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object").remove(name);
    body.to_string()
}

/// Texts of JSON that are no value of the type, whatever its finer rules are.
fn wrong_values(schema: &Value) -> Vec<String> {
    let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str()).unwrap_or("object");
    let values: &[&str] = match kind {
        "string" => &[
            "5",
            "true",
            "[]",
            "{}",
            "1e400",
            "\"\"",
            "\"a\\u0000b\"",
            "\"a\\nb\"",
            "\"\\u001b[31m\"",
            "\" \"",
            "[\"x\"]",
        ],
        "integer" => &[
            "\"5\"",
            "true",
            "[]",
            "{}",
            "1.5",
            "1e400",
            "-1e400",
            "1e2",
            "18446744073709551616",
            "-9223372036854775809",
            "1000000000000000000000000000000",
            "NaN",
        ],
        "array" => &["5", "\"x\"", "{}", "true", "[5]", "[null]", "[[]]"],
        "boolean" => &["5", "\"true\"", "[]", "{}"],
        // A map of any names, which may be empty.
        "object" if !schema["type"].is_null() && schema["properties"].is_null() => {
            &["5", "\"x\"", "[]", "true", "{\"\":1}", "{\"x\":null}"]
        }
        _ => &["5", "\"x\"", "[]", "true", "{}"],
    };
    let mut values: Vec<String> = values.iter().map(|&value| value.to_owned()).collect();
    match kind {
        "string" => values.push(format!("\"{}\"", "x".repeat(20_000))),
        "integer" if schema["minimum"].is_number() => values.extend(["-1", "9223372036854775808"].map(str::to_owned)),
        _ => {}
    }
    values.push(format!("{}1{}", "[".repeat(DEEP), "]".repeat(DEEP)));
    values
}

#[actix_web::test]
async fn no_field_of_any_command_takes_what_it_should_not() {
    let sweep = Sweep::start().await;
    let commands = sweep.commands();
    assert!(commands.len() >= 18, "{} commands", commands.len());
    for command in &commands {
        let answer = sweep.post(&command.path, command.example.to_string()).await;
        let taken = answer.status < 500 && !["invalid-field", "malformed-json"].contains(&problem(&answer));
        assert!(taken, "the example of {} is well-formed: {answer:?}", command.name);
    }
    let before = sweep.app.log().await.len();
    assert!(before > 0, "some examples are carried out");
    for Command { name, path, form, example } in &commands {
        let refused = async |body: String, field: Option<&str>, what: &str| {
            let answer = sweep.post(path, body).await;
            sweep.check(&answer, field, &format!("{name}, {what}"));
            answer
        };
        for Field { name: field, pointer, schema, required, is_choice } in sweep.fields(form, example, "", "") {
            for raw in wrong_values(schema) {
                let what = format!("{field}: {}", raw.get(..40).unwrap_or(&raw));
                let answer = refused(with(example, &pointer, &raw), None, &what).await;
                let named = answer.body["field"].as_str().unwrap_or_default();
                match problem(&answer) {
                    "invalid-field" => assert!(named.starts_with(&field), "{name}, {what}: {answer:?}"),
                    other => assert_eq!(other, "malformed-json", "{name}, {what}: {answer:?}"),
                }
            }
            let told = (!is_choice).then_some(field.as_str());
            if required {
                refused(without(example, &pointer), told, &format!("without {field}")).await;
                refused(with(example, &pointer, "null"), Some(&field), &format!("{field}: null")).await;
            }
            let (parent, own) = pointer.rsplit_once('/').expect("a pointer");
            refused(with_member(example, parent, &format!("\"{own}\":1")), told, &format!("{field} twice")).await;
            if schema["additionalProperties"] == false && schema["properties"].is_object() {
                let surprise = format!("{field}.surprise");
                refused(with_member(example, &pointer, "\"surprise\":1"), Some(&surprise), &surprise).await;
            }
        }
        refused(with_member(example, "", "\"surprise\":1"), Some("surprise"), "surprise").await;
        let deep = format!("\"surprise\":{}{}", "[".repeat(DEEP), "]".repeat(DEEP));
        refused(with_member(example, "", &deep), Some("surprise"), "deep surprise").await;
    }
    let sent = sweep.sent.load(Ordering::Relaxed);
    assert!(sent > 900, "{sent} requests");
    assert_eq!(sweep.app.log().await.len(), before, "nothing of it is stored");
}

#[actix_web::test]
async fn no_command_takes_a_body_that_is_no_json_object() {
    let sweep = Sweep::start().await;
    for Command { name, path, example, .. } in sweep.commands() {
        let deep = "[".repeat(DEEP);
        for body in
            ["", " ", "{", "[]", "1", "null", "\"x\"", "{\"a\":}", "{\"a\":1,}", "\u{feff}{}", "{}{}", "{'a':1}", &deep]
        {
            let answer = sweep.post(&path, body.to_owned()).await;
            sweep.check(&answer, None, &format!("{name}: {}", body.get(..40).unwrap_or(body)));
            assert_eq!(problem(&answer), "malformed-json", "{name}: {answer:?}");
        }
        let mut latin_1 = with_member(example, "", "\"surprise\":\"?\"").into_bytes();
        let at = latin_1.iter().position(|byte| *byte == b'?').expect("it is there");
        latin_1[at] = 0xe4;
        let answer = sweep.post(&path, latin_1).await;
        assert_eq!((answer.status, problem(&answer)), (400, "malformed-json"), "{name}: {answer:?}");
        let large = format!("{{\"surprise\":\"{}\"}}", "x".repeat(sweep.app.settings.http.body_bytes_max));
        let answer = sweep.post(&path, large).await;
        assert_eq!((answer.status, problem(&answer)), (413, "body-too-large"), "{name}: {answer:?}");
    }
    assert_eq!(sweep.app.log().await.len(), 0);
}

#[actix_web::test]
async fn no_path_takes_another_method_or_media_type() {
    let sweep = Sweep::start().await;
    let (client, url) = (&sweep.app.client, |path: &str| sweep.app.url(path));
    for Command { name, path, example, .. } in sweep.commands() {
        for media_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""] {
            let request = client.post(url(&path)).header("Idempotency-Key", "k").header("Content-Type", media_type);
            let answer = send(request.body(example.to_string())).await;
            assert_eq!((answer.status, problem(&answer)), (415, "media-type"), "{name} {media_type}");
        }
        for key in ["", "\"\"", &"k".repeat(256)] {
            let request = client.post(url(&path)).header("Idempotency-Key", key).json(example);
            let answer = send(request).await;
            sweep.check(&answer, None, name);
            assert_eq!(answer.body["header"], "Idempotency-Key", "{name} {answer:?}");
        }
        for version in ["", "3", "\"-1\"", "\"3\", \"4\"", "W/\"3\"", "\"99999999999999999999\""] {
            let request =
                client.post(url(&path)).header("Idempotency-Key", "k").header("If-Match", version).json(example);
            let answer = send(request).await;
            sweep.check(&answer, None, name);
            assert_eq!(answer.body["header"], "If-Match", "{name} {version} {answer:?}");
        }
    }
    for (template, item) in sweep.document["paths"].as_object().expect("paths") {
        let path = template.replace(['{', '}'], "x");
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"] {
            if item.get(method.to_ascii_lowercase()).is_some() {
                continue;
            }
            let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
            let response = client.request(method.clone(), url(&path)).send().await.expect("an answer");
            assert_eq!(response.status(), 405, "{method} {path}");
            let allowed = response.headers()["allow"].to_str().expect("ASCII").to_ascii_lowercase();
            assert!(item.get(&allowed).is_some(), "{method} {path}: {allowed}");
        }
    }
    assert_eq!(sweep.app.log().await.len(), 0);
}

#[actix_web::test]
async fn no_path_is_a_way_round_the_rules_of_its_fields() {
    let sweep = Sweep::start().await;
    let paths = sweep.document["paths"].as_object().expect("paths");
    let is_command = |item: &Value| item["post"]["requestBody"]["content"]["application/json"]["example"].is_object();
    for (template, item) in paths.iter().filter(|(template, item)| template.contains('{') && is_command(item)) {
        let given = item["post"]["parameters"][0]["name"].as_str().expect("a name");
        for value in ["%00", "%ff", "%2f", "%", "a%20b", "..%2f..", "%E2%98%83", &"x".repeat(65), &"x".repeat(4_000)] {
            let path = template.replace(&format!("{{{given}}}"), value);
            let body = &item["post"]["requestBody"]["content"]["application/json"]["example"];
            let answer = sweep.post(&path, body.to_string()).await;
            sweep.check(&answer, Some(given), &path);
        }
    }
    for path in [
        "/",
        "/v1",
        "/v1/",
        "/v2/products",
        "/v1/products/",
        "/v1/products/MUG",
        "/v1/%ff",
        "/v1/stock//receive",
        "/docs/",
        "/docs/../v1",
    ] {
        let answer = sweep.post(path, "{}").await;
        sweep.check(&answer, None, path);
        assert!((404..=405).contains(&answer.status), "{path} {answer:?}");
    }
    for key in ["%00", "%ff", "%2f", "x".repeat(300).as_str()] {
        sweep.check(&sweep.app.get(&format!("/v1/commands/{key}")).await, None, key);
        sweep.check(&sweep.app.get(&format!("/v1/problems/{key}")).await, None, key);
    }
    assert_eq!(sweep.app.log().await.len(), 0);
}

#[actix_web::test]
async fn a_bad_line_of_a_bulk_is_a_problem_of_its_own() {
    let sweep = Sweep::start().await;
    let mut lines = Vec::new();
    for Command { name, example, .. } in sweep.commands() {
        let line = |changes: Value| {
            let mut line = Map::from_iter([
                ("key".to_owned(), json!(format!("{name}-{}", lines.len()))),
                ("command".to_owned(), json!(name)),
            ]);
            line.extend(example.as_object().expect("an object").clone());
            line.extend(changes.as_object().expect("an object").clone());
            Value::from(line).to_string()
        };
        // Without the field of the path the line lacks one; where there is none, the surprise is what is wrong.
        let bad = [
            line(json!({"surprise": 1})),
            line(json!({"key": 5})),
            line(json!({"command": "no-such"})),
            "[".repeat(DEEP),
            "{}".into(),
        ];
        lines.extend(bad);
    }
    let results = sweep.app.bulk(&lines.join("\n")).await;
    assert_eq!(results.len(), lines.len());
    for (line, result) in lines.iter().zip(&results) {
        let what = line.get(..80).unwrap_or(line);
        let status = result["status"].as_u64().expect("a status");
        assert!((400..500).contains(&status), "{what}: {result}");
        let kind = result["problem"]["type"].as_str().expect("a type");
        assert!(sweep.known.contains(kind) && result["problem"]["trace_id"].is_string(), "{what}: {result}");
    }
    assert_eq!(sweep.app.log().await.len(), 0);
}

use super::*;
use std::collections::BTreeSet;

/// The schema of the OpenAPI Initiative, <https://spec.openapis.org/oas/3.1/schema/>. Apache-2.0.
const OPENAPI_3_1: &str = include_str!("openapi-3.1.schema.json");

fn document() -> Value {
    serde_json::from_str(&DOCUMENT).expect("the document is JSON")
}

fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let operations = paths.iter().flat_map(|(path, item)| {
        let item = item.as_object().expect("an item");
        item.iter().map(|(method, operation)| (method.to_ascii_uppercase(), path.clone(), operation))
    });
    operations.collect()
}

fn references(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Object(members) => {
            let own = members.get("$ref").and_then(Value::as_str).map(str::to_owned);
            own.into_iter().chain(members.values().flat_map(references)).collect()
        }
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => BTreeSet::new(),
    }
}

#[test]
fn the_document_is_openapi_3_1() {
    let schema: Value = serde_json::from_str(OPENAPI_3_1).expect("the schema is JSON");
    let validator = jsonschema::validator_for(&schema).expect("the schema is one");
    let document = document();
    let errors: Vec<_> =
        validator.iter_errors(&document).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

#[test]
fn each_route_is_in_it_and_nothing_else() {
    let served: BTreeSet<_> = command::ALL
        .iter()
        .map(|spec| ("POST".to_owned(), spec.path.to_owned()))
        .chain(ENDPOINTS.iter().map(|endpoint| (endpoint.method.to_string(), endpoint.path.to_owned())))
        .collect();
    let document = document();
    let described: BTreeSet<_> = operations(&document).into_iter().map(|(method, path, _)| (method, path)).collect();
    assert_eq!(described, served);
}

#[test]
fn what_is_referred_to_is_there_and_what_is_there_is_referred_to() {
    let document = document();
    let used = references(&document);
    for reference in &used {
        assert!(document.pointer(&reference[1..]).is_some(), "{reference} leads nowhere");
    }
    for (section, components) in document["components"].as_object().expect("components") {
        let names = components.as_object().expect("a section").keys().filter(|_| section != "securitySchemes");
        for name in names {
            assert!(used.contains(&format!("#/components/{section}/{name}")), "nothing uses {section}/{name}");
        }
    }
}

#[test]
fn each_command_says_what_it_does_who_may_and_how_it_is_refused() {
    let document = document();
    for (method, path, operation) in operations(&document) {
        let name = operation["operationId"].as_str().expect("a name");
        assert!(operation["description"].as_str().is_some_and(|text| text.ends_with('.')), "{method} {path}");
        let Some(spec) = Spec::of(name) else { continue };
        assert_eq!(operation["x-permission"], spec.permission.name(), "{path}");
        let done = if name == CHECK_OUT { "202" } else { "201" };
        for status in ["200", done, "400", "401", "403", "409", "412", "413", "415", "422", "500", "503"] {
            assert!(operation["responses"][status].is_object(), "{path} may answer {status}");
        }
    }
}

#[test]
fn each_example_is_what_its_schema_asks_for() {
    let document = document();
    let mut examples = 0;
    for (_, path, operation) in operations(&document) {
        let bodies = operation["requestBody"]["content"].as_object().into_iter().flatten().map(|(_, media)| media);
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        for described in bodies.chain(parameters) {
            let Some(example) = described.get("example") else { continue };
            let mut schema = json!({"allOf": [described["schema"]]});
            schema["components"] = document["components"].clone();
            let validator = jsonschema::validator_for(&schema).unwrap_or_else(|error| panic!("{path}: {error}"));
            let errors: Vec<_> = validator.iter_errors(example).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{path}: the example {example} is wrong: {errors:#?}; mend openapi/example.rs");
            examples += 1;
        }
    }
    assert!(examples > command::ALL.len());
}

#[test]
fn who_checks_out_is_told_where_to_ask_and_how_long_was_waited() {
    let document = document();
    for (path, method) in [("/v1/carts/{cart_id}/check-out", "post"), ("/v1/orders/{order_id}/settlement", "get")] {
        for status in ["200", "202"] {
            let headers = &document["paths"][path][method]["responses"][status]["headers"];
            for header in ["Location", "Preference-Applied", POSITION] {
                assert!(headers[header].is_object(), "{path}, {status}: {header}");
            }
        }
    }
}

#[test]
fn a_webhook_needs_no_token_but_a_signature() {
    let document = document();
    let webhook = &document["paths"]["/v1/payments/webhooks/{provider}"]["post"];
    assert_eq!(webhook["security"], json!([]));
    let parameters = webhook["parameters"].as_array().expect("parameters").iter();
    let headers: Vec<_> = parameters.filter(|one| one["in"] == "header").map(|one| &one["name"]).collect();
    assert_eq!(headers, ["Kontor-Simulator-Signature", "Stripe-Signature"]);
}

#[test]
fn the_ledger_is_answered_in_two_media_types_and_a_list_of_mails_can_be_narrowed() {
    let document = document();
    let ledger = &document["paths"]["/v1/payments/simulator/ledger"]["get"]["responses"]["200"]["content"];
    for media_type in ["application/x-ndjson", "text/csv"] {
        assert!(ledger[media_type]["x-item-schema"].is_object(), "{media_type}: {ledger}");
    }
    let mails = document["paths"]["/v1/notifications"]["get"]["parameters"].as_array().expect("parameters");
    let asked: Vec<_> = mails.iter().map(|one| (one["name"].as_str(), one["in"].as_str())).collect();
    assert_eq!(asked, ["status", "limit", "before"].map(|name| (Some(name), Some("query"))));
}

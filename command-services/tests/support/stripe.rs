//! A Stripe of the test's own: as much of the API as its documentation promises for what the adapter asks, and not more.
//! It refuses requests without the account's key, the version, or an idempotency key.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Form, Path, Query, ServiceConfig, get, post};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use kontor_command_services::payments::stripe::StripeSettings;
use kontor_settings::Secret;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub const SECRET_KEY: &str = "sk_test_51";
pub const WEBHOOK_SECRET: &str = "whsec_test";
pub const CAPTURE_BEFORE: i64 = 1_900_000_000;
/// How long the fake keeps a client waiting whose answer is to be lost.
pub const TOO_LONG: Duration = Duration::from_secs(2);

type Fields = BTreeMap<String, String>;

/// What goes wrong with the next POST.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// It is answered so, and nothing is done.
    Instead(u16),
    /// It is done, and the answer does not come.
    AnswerLost,
}

/// A POST as it came in.
#[derive(Debug, Clone)]
pub struct Seen {
    pub path: String,
    pub key: String,
    pub form: Fields,
    /// Whether the key was known.
    pub replayed: bool,
}

#[derive(Default)]
struct Account {
    intents: BTreeMap<String, Value>,
    refunds: Vec<Value>,
    /// What was answered under each key, to which form.
    keys: BTreeMap<String, (Fields, u16, Value)>,
    faults: VecDeque<Fault>,
    seen: Vec<Seen>,
}

/// What the adapter must be told to use the fake at `url`.
pub fn settings(url: &str) -> StripeSettings {
    StripeSettings {
        secret_key: Some(Secret::new(SECRET_KEY)),
        webhook_secret: Some(Secret::new(WEBHOOK_SECRET)),
        api_url: url.to_owned(),
        ..StripeSettings::default()
    }
}

#[derive(Clone)]
pub struct FakeStripe {
    account: Arc<Mutex<Account>>,
    pub url: String,
}

impl FakeStripe {
    pub fn start() -> Self {
        let account = Arc::new(Mutex::new(Account::default()));
        let data = Data::from(account.clone());
        let server = HttpServer::new(move || App::new().app_data(data.clone()).configure(routes)).workers(1);
        let server = server.disable_signals().bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", server.addrs()[0]);
        tokio::spawn(server.run());
        Self { account, url }
    }

    pub fn fail_next(&self, fault: Fault) {
        self.account.lock().expect("no test panics in it").faults.push_back(fault);
    }

    /// Forgets the keys, as Stripe does after a day.
    pub fn forget_keys(&self) {
        self.account.lock().expect("no test panics in it").keys.clear();
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.account.lock().expect("no test panics in it").seen.clone()
    }

    pub fn intents(&self) -> Vec<Value> {
        self.account.lock().expect("no test panics in it").intents.values().cloned().collect()
    }

    pub fn refunds(&self) -> Vec<Value> {
        self.account.lock().expect("no test panics in it").refunds.clone()
    }

    /// Changes an intent or a refund, as time or the customer does.
    pub fn change(&self, id: &str, field: &str, value: Value) {
        let mut account = self.account.lock().expect("no test panics in it");
        let Account { intents, refunds, .. } = &mut *account;
        let mut all = intents.values_mut().chain(refunds.iter_mut());
        all.find(|object| object["id"] == id).expect("it was made")[field] = value;
    }
}

fn routes(config: &mut ServiceConfig) {
    config
        .route("/v1/payment_intents", post().to(write))
        .route("/v1/payment_intents/search", get().to(search))
        .route("/v1/payment_intents/{id}", get().to(retrieve))
        .route("/v1/payment_intents/{id}/capture", post().to(write))
        .route("/v1/payment_intents/{id}/cancel", post().to(write))
        .route("/v1/refunds", post().to(write))
        .route("/v1/refunds", get().to(refunds));
}

fn header<'a>(request: &'a HttpRequest, name: &str) -> &'a str {
    request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// `None`: the request is one that Stripe takes.
fn refuse(request: &HttpRequest) -> Option<HttpResponse> {
    if header(request, "Authorization") != format!("Bearer {SECRET_KEY}") {
        return Some(failure(401, "invalid_request_error", None));
    }
    (header(request, "Stripe-Version") != "2024-06-20").then(|| failure(400, "invalid_request_error", Some("version")))
}

fn failure(status: u16, kind: &str, code: Option<&str>) -> HttpResponse {
    answer(status, &json!({ "error": { "type": kind, "code": code, "message": "said by the fake" } }))
}

fn answer(status: u16, body: &Value) -> HttpResponse {
    HttpResponse::build(StatusCode::from_u16(status).expect("a status")).json(body)
}

async fn write(request: HttpRequest, form: Form<Fields>, account: Data<Mutex<Account>>) -> HttpResponse {
    if let Some(refusal) = refuse(&request) {
        return refusal;
    }
    let (path, key, form) =
        (request.path().to_owned(), header(&request, "Idempotency-Key").to_owned(), form.into_inner());
    if key.is_empty() {
        return failure(400, "invalid_request_error", Some("no_key"));
    }
    let (status, body, fault) = {
        let mut account = account.lock().expect("no test panics in it");
        let replayed = account.keys.contains_key(&key);
        account.seen.push(Seen { path: path.clone(), key: key.clone(), form: form.clone(), replayed });
        let fault = account.faults.pop_front();
        if let Some(Fault::Instead(status)) = fault {
            return failure(status, "api_error", None);
        }
        match account.keys.get(&key) {
            Some((of, ..)) if *of != form => return failure(400, "idempotency_error", None),
            Some((_, status, body)) => (*status, body.clone(), fault),
            None => {
                let (status, body) = account.perform(&path, &form);
                account.keys.insert(key, (form, status, body.clone()));
                (status, body, fault)
            }
        }
    };
    if let Some(Fault::AnswerLost) = fault {
        tokio::time::sleep(TOO_LONG).await;
    }
    answer(status, &body)
}

impl Account {
    fn perform(&mut self, path: &str, form: &Fields) -> (u16, Value) {
        let parts: Vec<_> = path.trim_start_matches("/v1/").split('/').collect();
        match parts[..] {
            ["payment_intents"] => self.create(form),
            ["payment_intents", id, "capture"] => self.capture(id, form),
            ["payment_intents", id, "cancel"] => self.cancel(id),
            ["refunds"] => self.refund(form),
            _ => unreachable!("no such route"),
        }
    }

    fn create(&mut self, form: &Fields) -> (u16, Value) {
        let number = |name: &str| form[name].parse::<i64>().expect("a whole number");
        assert_eq!((&*form["capture_method"], &*form["confirm"]), ("manual", "true"));
        assert_eq!(form["currency"], form["currency"].to_lowercase());
        let id = format!("pi_{}", self.intents.len() + 1);
        let multicapture = if form["payment_method"] == "pm_card_multicapture" { "available" } else { "unavailable" };
        let card = json!({ "capture_before": CAPTURE_BEFORE, "multicapture": { "status": multicapture } });
        let mut intent = json!({
            "id": id, "object": "payment_intent", "status": "requires_capture", "amount": number("amount"),
            "amount_capturable": number("amount"), "currency": form["currency"], "created": 1_800_000_000,
            "metadata": metadata(form), "next_action": null, "last_payment_error": null, "cancellation_reason": null,
            "latest_charge": { "id": "ch_1", "payment_method_details": { "card": card } },
        });
        let mut declined = None;
        match &*form["payment_method"] {
            "pm_card_visa" | "pm_card_multicapture" => {}
            "pm_card_authenticationRequired" => {
                intent["status"] = json!("requires_action");
                let url = "https://hooks.stripe.com/redirect/authenticate/1";
                intent["next_action"] = json!({ "type": "redirect_to_url", "redirect_to_url": { "url": url } });
            }
            "pm_card_visa_chargeDeclinedInsufficientFunds" => {
                declined = Some(
                    json!({ "type": "card_error", "code": "card_declined", "decline_code": "insufficient_funds" }),
                );
            }
            _ => return (400, json!({ "error": { "type": "invalid_request_error", "code": "resource_missing" } })),
        }
        if let Some(mut error) = declined {
            intent["status"] = json!("requires_payment_method");
            intent["last_payment_error"] = error.clone();
            self.intents.insert(id, intent.clone());
            error["payment_intent"] = intent;
            return (402, json!({ "error": error }));
        }
        self.intents.insert(id, intent.clone());
        (200, intent)
    }

    fn capture(&mut self, id: &str, form: &Fields) -> (u16, Value) {
        let intent = self.intents.get_mut(id).expect("the adapter knows its intents");
        let amount: i64 = form["amount_to_capture"].parse().expect("a whole number");
        let capturable = intent["amount_capturable"].as_i64().expect("a number");
        let allows_several =
            intent["latest_charge"]["payment_method_details"]["card"]["multicapture"]["status"] == "available";
        if intent["status"] != "requires_capture" {
            return unexpected_state(intent);
        }
        if amount > capturable {
            return (400, json!({ "error": { "type": "invalid_request_error", "code": "amount_too_large" } }));
        }
        let goes_on = form.get("final_capture").is_some_and(|is_final| is_final == "false");
        if goes_on && !allows_several {
            return (400, json!({ "error": { "type": "invalid_request_error", "code": "parameter_unknown" } }));
        }
        intent["amount_capturable"] = json!(if goes_on { capturable - amount } else { 0 });
        if !goes_on {
            intent["status"] = json!("succeeded");
        }
        let kept = intent["metadata"].as_object_mut().expect("an object");
        kept.extend(metadata(form));
        // As a POST answers that did not ask for the charge to be expanded.
        let mut told = intent.clone();
        told["latest_charge"] = json!("ch_1");
        (200, told)
    }

    fn cancel(&mut self, id: &str) -> (u16, Value) {
        let intent = self.intents.get_mut(id).expect("the adapter knows its intents");
        if intent["status"] == "canceled" || intent["status"] == "succeeded" {
            return unexpected_state(intent);
        }
        intent["status"] = json!("canceled");
        (200, intent.clone())
    }

    fn refund(&mut self, form: &Fields) -> (u16, Value) {
        let id = format!("re_{}", self.refunds.len() + 1);
        let intent = &self.intents[&form["payment_intent"]];
        if intent["status"] != "succeeded" {
            return (400, json!({ "error": { "type": "invalid_request_error", "code": "charge_not_captured" } }));
        }
        let refund = json!({
            "id": id, "object": "refund", "status": "succeeded", "failure_reason": null, "metadata": metadata(form),
            "payment_intent": form["payment_intent"], "amount": form["amount"].parse::<i64>().expect("a whole number"),
        });
        self.refunds.push(refund.clone());
        (200, refund)
    }
}

fn unexpected_state(intent: &Value) -> (u16, Value) {
    let code = "payment_intent_unexpected_state";
    (400, json!({ "error": { "type": "invalid_request_error", "code": code, "payment_intent": intent } }))
}

/// `metadata[x]=y` as an object.
fn metadata(form: &Fields) -> Map<String, Value> {
    let pairs = form.iter().filter_map(|(name, value)| {
        Some((name.strip_prefix("metadata[")?.strip_suffix(']')?.to_owned(), json!(value)))
    });
    pairs.collect()
}

async fn retrieve(request: HttpRequest, id: Path<String>, account: Data<Mutex<Account>>) -> HttpResponse {
    if let Some(refusal) = refuse(&request) {
        return refusal;
    }
    match account.lock().expect("no test panics in it").intents.get(&*id) {
        Some(intent) => answer(200, intent),
        None => failure(404, "invalid_request_error", Some("resource_missing")),
    }
}

async fn search(request: HttpRequest, query: Query<Fields>, account: Data<Mutex<Account>>) -> HttpResponse {
    if let Some(refusal) = refuse(&request) {
        return refusal;
    }
    let attempt = query["query"].strip_prefix("metadata['attempt']:'").and_then(|rest| rest.strip_suffix('\''));
    let attempt = attempt.expect("a query by the attempt");
    let account = account.lock().expect("no test panics in it");
    let data: Vec<_> = account.intents.values().filter(|intent| intent["metadata"]["attempt"] == attempt).collect();
    answer(200, &json!({ "object": "search_result", "data": data, "has_more": false }))
}

/// The newest first, in pages of two, so that there are some.
async fn refunds(request: HttpRequest, query: Query<Fields>, account: Data<Mutex<Account>>) -> HttpResponse {
    if let Some(refusal) = refuse(&request) {
        return refusal;
    }
    let account = account.lock().expect("no test panics in it");
    let of_intent = account.refunds.iter().rev().filter(|refund| refund["payment_intent"] == *query["payment_intent"]);
    let mut left: Vec<_> = match query.get("starting_after") {
        Some(id) => of_intent.skip_while(|refund| refund["id"] != **id).skip(1).collect(),
        None => of_intent.collect(),
    };
    let has_more = left.len() > 2;
    left.truncate(2);
    answer(200, &json!({ "object": "list", "data": left, "has_more": has_more }))
}

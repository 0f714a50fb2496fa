//! Erasing a customer: what they said of themselves is stored nowhere in plain words, and after it nobody can read it.

use crate::plaintext::Plaintext;
use crate::stores::{self, Sighting};
use crate::{Running, said, start};
use kontor_identity::Role;
use kontor_local::binary;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::process::Command;
use uuid::Uuid;

const CUSTOMER: &str = "17850";
/// Each is part of what the customer says of themselves, and of nothing else.
const PERSONAL: [&str; 5] = ["Zebulonia", "Quackenthorpe", "Wimpernickel", "Wobbleton", "447700900417"];
/// Part of a product's name, which is no secret: shows that whoever looks sees.
const PUBLIC: &str = "Perpendicularity";
const RETURN: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
/// Longer than any process remembers a key (`privacy.keys_cached_s`).
const FORGOTTEN_WITHIN: Duration = Duration::from_secs(45);

/// Step 1: somebody buys as a guest, becomes a customer with the cart, and sends goods back; as a customer they buy again, and
/// see what they said of themselves. Step 2: none of that is in any store. Step 3: they are erased, which the tool says, and
/// says again. Step 4: orders and carts are there without them, and nothing more is sealed for them. Step 5: still nothing is
/// in any store.
#[tokio::test]
async fn a_customer_who_is_erased_is_nowhere() {
    let running = start().await;
    let customer = Caller::new(&running, Some((Role::Customer, Some(CUSTOMER))));
    let plaintext = Plaintext::of(&[&PERSONAL[..], &[PUBLIC]].concat());
    // 1
    put_on_sale(&running).await;
    let guests = Cart::of_a_guest(&running).await;
    customer.done(&format!("/v1/carts/{}/assign", guests.0), json!({})).await;
    guests.buy(&customer).await;
    send_back(&running, &customer, &guests).await;
    let customers = Cart::open(&customer).await;
    customers.fill(&customer).await;
    customers.buy(&customer).await;
    for cart in [&guests, &customers] {
        let order = customer.order_with(cart, |order| order["status"] != "placed").await;
        assert_eq!(
            order["contact"],
            json!({
                "erased": false, "email": email(), "shipping_address": address(), "billing_address": address(),
            })
        );
        let view = customer.cart_with(cart, |_| true).await;
        assert_eq!((&view["email"], &view["shipping_address"]), (&json!(email()), &address()));
    }
    // 2
    nobody_is_in_the_stores(&running, &plaintext).await;
    // 3
    assert!(erase(&running).await.starts_with(&format!("Destroyed the key of {CUSTOMER}, made ")));
    let again = erase(&running).await;
    assert!(again.starts_with(&format!("The key of {CUSTOMER}")) && again.contains("was destroyed before"), "{again}");
    // 4
    let nobody = json!({"country": "GB", "addressee": null});
    for cart in [&guests, &customers] {
        let order = customer.order_with(cart, |order| order["contact"]["erased"] == true).await;
        assert_eq!(
            order["contact"],
            json!({
                "erased": true, "email": null, "shipping_address": nobody, "billing_address": nobody,
            })
        );
        assert!(order["number"].is_string() && order["lines"][0]["sku"] == "MUG", "{order}");
        let view = customer.cart_with(cart, |cart| cart["email"].is_null()).await;
        assert_eq!(view["shipping_address"], nobody);
    }
    let (empty, others) = (Cart::open(&customer).await, Cart::of_a_guest(&running).await);
    for (Cart(cart), what, body) in [
        (&empty, "email", json!({"email": email()})),
        (&empty, "shipping-address", address()),
        (&others, "assign", json!({})),
    ] {
        let (status, problem) = customer.post(&format!("/v1/carts/{cart}/{what}"), body).await;
        assert_eq!((status, &problem["type"]), (409, &json!("https://kontor.dev/problems/subject-erased")), "{what}");
    }
    // 5
    nobody_is_in_the_stores(&running, &plaintext).await;
}

/// That the product is in all of them shows that the search sees.
async fn nobody_is_in_the_stores(running: &Running, plaintext: &Plaintext) {
    let planted = stores::redis(running.platform.redis().port(), &format!("SET canary {PUBLIC}\r\n")).await;
    assert_eq!(planted, "+OK\r\n+OK\r\n");
    let sightings = stores::search(running, plaintext).await;
    let personal: Vec<_> = sightings.iter().filter(|sighting| PERSONAL.contains(&sighting.word)).collect();
    assert!(personal.is_empty(), "personal data is stored in plain words: {personal:#?}");
    let places: Vec<&str> = sightings.iter().map(|Sighting { place, .. }| place.as_str()).collect();
    for (begins, contains) in [
        ("primary public.events", ""),
        ("primary catalogue_1.products", ""),
        ("replica public.events", ""),
        ("replica catalogue_1.products", ""),
        ("message ", ""),
        ("file ", "/postgres/data/base/"),
        ("file ", "/postgres/data/pg_wal/"),
        ("file ", "/replica/data/base/"),
        ("file ", "/nats/store/"),
        ("file ", "/redis/work/dump.rdb"),
    ] {
        let is_seen = places.iter().any(|place| place.starts_with(begins) && place.contains(contains));
        assert!(is_seen, "{PUBLIC} is not seen in {begins}{contains}, only in {places:#?}");
    }
}

/// What the operators' tool says.
async fn erase(running: &Running) -> String {
    let mut kontor = Command::new(binary("kontor").expect("it is built"));
    kontor.args(["customers", "erase", CUSTOMER, "--yes", "--data"]).arg(running.folder.path());
    let output = kontor.env_remove("KONTOR_DATABASE_URL").output().await.expect("it starts");
    let (told, complained) = said(&output);
    assert!(output.status.success(), "{complained}");
    told
}

fn email() -> String {
    "zebulonia@quackenthorpe.example".to_owned()
}

fn address() -> Value {
    json!({"country": "GB", "addressee": {
        "name": "Zebulonia Quackenthorpe", "street": "17 Wimpernickel Row", "town": "Wobbleton", "postcode": "SW1Y 4JH",
        "phone": "+447700900417",
    }})
}

async fn put_on_sale(running: &Running) {
    let staff = Caller::new(running, Some((Role::Staff, None)));
    staff.done("/v1/products", json!({"sku": "MUG", "name": format!("{PUBLIC} mug")})).await;
    let price = json!({"price": {"amount_minor": 1250, "currency": "GBP"}});
    staff.done("/v1/products/MUG/price", price).await;
    staff.done("/v1/stock/MUG/receive", json!({"quantity": 10})).await;
}

/// The order is shipped, delivered, sent back and refunded.
async fn send_back(running: &Running, customer: &Caller, order: &Cart) {
    let staff = Caller::new(running, Some((Role::Staff, None)));
    let order_path = format!("/v1/orders/{}", order.0);
    staff.done(&format!("{order_path}/ship"), json!({"shipment_id": RETURN, "tracking": "RM123456785GB"})).await;
    staff.done(&format!("{order_path}/deliver"), json!({"shipment_id": RETURN})).await;
    customer.order_with(order, |order| order["captured"] == order["due"]).await; // Before that nothing can be refunded.
    let lines = json!([{"line": 1, "quantity": 1}]);
    let request = json!({"return_id": RETURN, "lines": lines, "reason": "too tall"});
    customer.done(&format!("{order_path}/returns"), request).await;
    staff.done(&format!("{order_path}/returns/receive"), json!({"return_id": RETURN})).await;
    let returned = customer.order_with(order, |order| order["returns"][0]["state"] == "refunded").await;
    assert_eq!((&returned["status"], &returned["refunded"]["amount_minor"]), (&json!("delivered"), &json!(1250)));
    assert_eq!(returned["shipments"][0]["tracking"], "RM123456785GB");
}

/// Its id, which is that of its order too.
struct Cart(String);

impl Cart {
    /// Somebody's who says who they are before they have an account.
    async fn of_a_guest(running: &Running) -> Self {
        let guest = Caller::new(running, None);
        let cart = Self::open(&guest).await;
        cart.fill(&guest).await;
        cart
    }

    async fn open(caller: &Caller) -> Self {
        let opened = caller.done("/v1/carts", json!({"currency": "GBP"})).await;
        Self(opened["id"].as_str().expect("an id").to_owned())
    }

    /// Two mugs, and all that a check-out needs.
    async fn fill(&self, caller: &Caller) {
        for (what, body) in [
            ("lines", json!({"sku": "MUG", "quantity": 2})),
            ("email", json!({"email": email()})),
            ("shipping-address", address()),
            ("billing-address", address()),
            ("shipping-method", json!({"method": "standard"})),
        ] {
            caller.done(&format!("/v1/carts/{}/{what}", self.0), body).await;
        }
    }

    /// The order is confirmed when this returns.
    async fn buy(&self, caller: &Caller) {
        let path = format!("/v1/carts/{}/check-out", self.0);
        let order = caller.done(&path, json!({"payment_method": "tok_success"})).await;
        assert_eq!((&order["order_id"], &order["status"]), (&json!(self.0), &json!("confirmed")), "{order}");
    }
}

/// Who asks.
struct Caller {
    http: Client,
    token: Option<String>,
    commands: String,
    queries: String,
}

impl Caller {
    /// `None`: nobody knows who.
    fn new(running: &Running, who: Option<(Role, Option<&str>)>) -> Self {
        let token = |(role, customer): (Role, Option<&str>)| running.platform.identity().token("test", role, customer);
        // The only provider that is compiled in; somebody else may have installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            http: Client::builder().tls_certs_only([]).build().expect("a client"),
            token: who.map(token),
            commands: running.platform.command_url(),
            queries: running.platform.query_url(),
        }
    }

    /// Status and body.
    async fn send(&self, request: RequestBuilder) -> (u16, Value) {
        let request = self.token.iter().fold(request, |request, token| request.bearer_auth(token));
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        (status, serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON"))
    }

    /// Posts a command, and waits for the order if it is one that has one.
    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let request = self.http.post(format!("{}{path}", self.commands)).body(body.to_string());
        let request = request.header("Idempotency-Key", Uuid::new_v4().to_string()).header("Prefer", "wait=20");
        self.send(request.header("Content-Type", "application/json")).await
    }

    /// Posts what must succeed.
    async fn done(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.post(path, body).await;
        assert!(status == 200 || status == 201, "{path}: {status} {answer}");
        answer
    }

    /// What is answered as soon as it `is_there`.
    async fn until(&self, url: &str, is_there: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let (status, answer) = self.send(self.http.get(url)).await;
            if status == 200 && is_there(&answer) {
                return answer;
            }
            assert!(begun.elapsed() < FORGOTTEN_WITHIN, "{url}: {status} {answer:#}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The cart as its owner sees it, as soon as it `is_there`.
    async fn cart_with(&self, Cart(id): &Cart, is_there: impl Fn(&Value) -> bool) -> Value {
        self.until(&format!("{}/v1/carts/{id}", self.commands), is_there).await
    }

    /// The order of the cart, as soon as it `is_there`.
    async fn order_with(&self, Cart(id): &Cart, is_there: impl Fn(&Value) -> bool) -> Value {
        self.until(&format!("{}/v1/orders/{id}", self.queries), is_there).await
    }
}

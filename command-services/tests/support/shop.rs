//! A shop with goods, and a shopper who fills a cart.

use super::{Answer, App, client, send};
use kontor_identity::Role as Caller;
use reqwest::Client;
use serde_json::{Value, json};
use uuid::Uuid;

/// Puts `units` of a mug on sale at 12.50.
pub async fn stocked(app: &App, sku: &str, units: u64) {
    app.done("/v1/products", &format!("register {sku}"), json!({"sku": sku, "name": "Enamel mug"})).await;
    let price = json!({"price": {"amount_minor": 1250, "currency": "GBP"}});
    app.done(&format!("/v1/products/{sku}/price"), &format!("price {sku}"), price).await;
    app.done(&format!("/v1/stock/{sku}/receive"), &format!("receive {sku}"), json!({"quantity": units})).await;
}

/// Somebody who buys.
pub struct Shopper {
    pub client: Client,
    pub cart_id: String,
}

impl Shopper {
    /// Nobody knows who.
    pub async fn guest(app: &App) -> Self {
        Self::with(app, client(None)).await
    }

    pub async fn customer(app: &App, customer: &str) -> Self {
        let token = app.servers.identity().token(customer, Caller::Customer, Some(customer));
        Self::with(app, client(Some(&token))).await
    }

    async fn with(app: &App, client: Client) -> Self {
        let mut shopper = Self { client, cart_id: Uuid::now_v7().to_string() };
        let body = json!({"cart_id": shopper.cart_id, "currency": "GBP"});
        let opened = shopper.post(app, "/v1/carts", body).await;
        assert_eq!(opened.status, 201, "{opened:?}");
        shopper.cart_id = opened.body["id"].as_str().expect("an id").to_owned();
        shopper
    }

    pub async fn post(&self, app: &App, path: &str, body: Value) -> Answer {
        let key = Uuid::new_v4().to_string();
        send(self.client.post(app.url(path)).header("Idempotency-Key", key).json(&body)).await
    }

    /// Changes the cart, which must succeed.
    pub async fn change(&self, app: &App, what: &str, body: Value) {
        let answer = self.post(app, &format!("/v1/carts/{}/{what}", self.cart_id), body).await;
        assert!(answer.status == 201 || answer.status == 200, "{what}: {answer:?}");
    }

    pub async fn take(&self, app: &App, sku: &str, quantity: u64) {
        self.change(app, "lines", json!({"sku": sku, "quantity": quantity})).await;
    }

    /// All that a check-out needs beside goods.
    pub async fn address(&self, app: &App) {
        self.change(app, "email", json!({"email": "ada@example.com"})).await;
        self.change(app, "shipping-address", address()).await;
        self.change(app, "shipping-method", json!({"method": "standard"})).await;
    }

    /// Checks out and waits until the order is settled.
    pub async fn buy(&self, app: &App, payment_method: &str) -> Answer {
        let key = Uuid::new_v4().to_string();
        let request = self.client.post(app.url(&format!("/v1/carts/{}/check-out", self.cart_id)));
        let request = request.header("Idempotency-Key", key).header("Prefer", "wait=20");
        send(request.json(&json!({"payment_method": payment_method}))).await
    }

    pub async fn cart(&self, app: &App) -> Answer {
        send(self.client.get(app.url(&format!("/v1/carts/{}", self.cart_id)))).await
    }
}

pub fn address() -> Value {
    let addressee =
        json!({"name": "Ada Lovelace", "street": "12 St James's Square", "town": "London", "postcode": "SW1Y 4JH"});
    json!({"country": "GB", "addressee": addressee})
}

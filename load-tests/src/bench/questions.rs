//! What is asked, and whether the answers are right.

use super::shop::Size;
use super::shop::buyer;
use super::shop::order::Order;
use super::shop::product::{Product, categories};
use super::stage::Stage;
use crate::connection::{Connection, Reply, Request};
use crate::dice::Dice;
use anyhow::{Context, Result, bail, ensure};
use kontor_domain::Money;
use serde_json::Value;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A product card by SKU, of any product.
    Card,
    /// Twenty products of the shop or of a category, somewhere in the list.
    List,
    /// An order by id, as one of the shop's own people asks, who see its buyer.
    Order,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Card, Kind::List, Kind::Order];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Card => "card",
            Kind::List => "list",
            Kind::Order => "order",
        }
    }
}

/// So many different ones are enough that nobody answers from a warm cache line alone.
const QUESTIONS: usize = 20_000;
/// Those whose answers are read.
const CHECKED: usize = 200;
/// Pages of each category, and a hundred times as many of the whole list.
const PAGES: usize = 5;

/// Paths of one kind, in the order in which they are asked, and who asks.
pub struct Questions {
    kind: Kind,
    size: Size,
    token: Option<String>,
    paths: Vec<String>,
}

impl Questions {
    pub async fn make(kind: Kind, stage: &Stage, size: Size) -> Result<Self> {
        let mut dice = Dice::new(kind as u64);
        let (token, paths) = match kind {
            Kind::Card => (None, (0..QUESTIONS).map(|_| card(Product(dice.roll(size.products)))).collect()),
            Kind::List => (None, pages(stage).await?),
            Kind::Order => {
                let number = |_| Order { number: dice.roll(size.orders), size };
                (Some(stage.token()), (0..QUESTIONS).map(number).map(order).collect())
            }
        };
        Ok(Self { kind, size, token, paths })
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// As they are sent.
    pub fn written(&self) -> Vec<Vec<u8>> {
        self.paths.iter().map(|path| self.request(path).written()).collect()
    }

    fn request<'a>(&'a self, path: &'a str) -> Request<'a> {
        Request { path, token: self.token.as_deref(), wait_s: None, post: None }
    }

    /// Asks some of them, and compares the answers with what the shop was made of.
    pub async fn check_some(&self, stage: &Stage) -> Result<()> {
        let mut connection = Connection::open(stage.query_address()).await?;
        for path in self.paths.iter().step_by((self.paths.len() / CHECKED).max(1)) {
            let reply = connection.send(&self.request(path)).await.with_context(|| path.clone())?;
            self.check(&reply).with_context(|| path.clone())?;
        }
        Ok(())
    }

    /// Whether it is an answer, and a right one.
    pub fn check(&self, reply: &Reply) -> Result<()> {
        let answer = read(reply)?;
        let right = match self.kind {
            Kind::Card => is_product(&answer),
            Kind::List => is_list(&answer),
            Kind::Order => is_order(&answer, self.size),
        };
        right.with_context(|| format!("the answer was {answer}"))
    }
}

fn card(product: Product) -> String {
    format!("/v1/product-cards/{}", product.code())
}

fn order(order: Order) -> String {
    format!("/v1/orders/{}", order.id())
}

/// Pages of the whole list and of each category, as a client finds them: from one to the next.
async fn pages(stage: &Stage) -> Result<Vec<String>> {
    let mut connection = Connection::open(stage.query_address()).await?;
    let lists = categories().into_iter().map(|category| (format!("&category={category}"), PAGES));
    let mut pages = Vec::new();
    for (list, most) in lists.chain([(String::new(), 100 * PAGES)]) {
        let mut cursor = String::new();
        for _ in 0..most {
            let path = format!("/v1/products?limit=20{list}{cursor}");
            let request = Request { path: &path, token: None, wait_s: None, post: None };
            let page = read(&connection.send(&request).await?).with_context(|| path.clone())?;
            // One that is not full would be cheaper than the others.
            let Some(next) = page["next_cursor"].as_str() else { break };
            pages.push(path);
            cursor = format!("&cursor={next}");
        }
    }
    ensure!(!pages.is_empty(), "no list has a full page");
    Ok(pages)
}

fn read(reply: &Reply) -> Result<Value> {
    let text = || String::from_utf8_lossy(&reply.body);
    ensure!(reply.status == 200, "the answer was {}: {}", reply.status, text());
    serde_json::from_slice(&reply.body).with_context(|| format!("the answer was {}", text()))
}

fn is_product(answer: &Value) -> Result<()> {
    let code = text(answer, "sku")?;
    let product = Product::called(code).context("a product that the shop does not have")?;
    is("name", answer["name"].as_str(), &product.name())?;
    let price = answer["prices"].as_array().into_iter().flatten().find(|price| price["currency"] == "GBP");
    is_amount("price", price.context("no price in GBP")?, product.price())
}

fn is_list(answer: &Value) -> Result<()> {
    let items = answer["items"].as_array().context("no items")?;
    ensure!(items.len() == 20, "{} items", items.len());
    items.iter().try_for_each(is_product)
}

fn is_order(answer: &Value, size: Size) -> Result<()> {
    // Its number is in its id, see `uuid`.
    let id: uuid::Uuid = text(answer, "order_id")?.parse()?;
    let number = (id.as_u128() & u128::from(u32::MAX)) as usize;
    let order = Order { number, size };
    ensure!(order.id().0 == id, "no such order was placed");
    is("status", answer["status"].as_str(), order.status())?;
    is_amount("total", &answer["total"], order.total())?;
    let lines = answer["lines"].as_array().map(Vec::len);
    ensure!(lines == Some(order.wanted().len()), "{lines:?} lines");
    if order.is_from_checkout() {
        is("email", answer["contact"]["email"].as_str(), &buyer::email(order.buyer()))?;
    }
    Ok(())
}

fn text<'a>(answer: &'a Value, field: &str) -> Result<&'a str> {
    answer[field].as_str().with_context(|| format!("no {field}"))
}

fn is(field: &str, found: Option<&str>, expected: &str) -> Result<()> {
    if found == Some(expected) {
        return Ok(());
    }
    bail!("the {field} is {found:?}, not {expected}")
}

fn is_amount(field: &str, found: &Value, expected: Money) -> Result<()> {
    let amount = (found["amount_minor"].as_i64(), found["currency"].as_str());
    ensure!(
        amount == (Some(expected.amount_minor), Some(expected.currency.code())),
        "the {field} is {found}, not {expected}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn product() -> Value {
        let Money { amount_minor, currency } = Product(7).price();
        let prices =
            json!([{"amount_minor": 1, "currency": "EUR"}, {"amount_minor": amount_minor, "currency": currency}]);
        json!({"sku": "P000007", "name": Product(7).name(), "prices": prices})
    }

    #[test]
    fn a_product_with_another_price_or_name_is_found() {
        is_product(&product()).expect("it is right");
        for (field, value) in [("name", json!("Vase")), ("prices", json!([])), ("sku", json!("P7x"))] {
            let mut wrong = product();
            wrong[field] = value;
            assert!(is_product(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_order_is_told_by_its_id() {
        let order = Order { number: 70_001, size: Size::FULL };
        let Money { amount_minor, currency } = order.total();
        let mut answer = json!({
            "order_id": order.id(), "status": "confirmed", "lines": vec![0; order.wanted().len()],
            "total": {"amount_minor": amount_minor, "currency": currency},
            "contact": {"email": buyer::email(order.buyer())},
        });
        is_order(&answer, order.size).expect("it is right");
        answer["contact"]["email"] = json!("another@example.com");
        assert!(is_order(&answer, order.size).is_err());
    }
}

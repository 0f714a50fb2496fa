//! Orders from checkout: their numbers, what became of them, and the people in them.

use crate::api::{Answer, Api, checkpoint, order};
use kontor_domain::order::OrderNumber;
use kontor_domain::personal::Personal;
use kontor_identity::Role;
use kontor_local::Role as DbRole;
use kontor_privacy::{Keyring, MasterKey, PrivacySettings};
use serde_json::{Value, json};
use sqlx::PgPool;

const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
const NUMBER: &str = "AZF9-R9XZ-8KZK";
const ADA: Option<&str> = Some("17850");
const PATH: &str = "/v1/orders/01890a5d-ac96-774b-bcce-b302099a8057";

/// The keys, as the command tier has them.
async fn keyring(api: &Api) -> Keyring {
    let pool = PgPool::connect(&api.servers.postgres().url(DbRole::Command)).await.expect("it takes connections");
    let master = MasterKey::read(api.servers.master_key_file()).expect("the master key");
    Keyring::new(pool, master, &PrivacySettings::default())
}

fn addressee(name: &str) -> Value {
    json!({"name": name, "street": "12 St James's Square", "town": "London", "postcode": "SW1Y 4JH"})
}

/// Ada's order, sealed when she was the guest `subject`, as a projector writes it. Returns what is sealed.
async fn order_of_ada(api: &Api, subject: &str) -> Value {
    let keyring = keyring(api).await;
    let seal = async |text: String| -> Personal {
        keyring.seal(&subject.parse().expect("a subject's id"), &text).await.expect("it is sealed")
    };
    let contact = json!({
        "email": seal("ada@example.com".to_owned()).await,
        "shipping_address": {"country": "GB", "addressee": seal(addressee("Ada Lovelace").to_string()).await},
        "billing_address": {"country": "FR", "addressee": seal(addressee("Ada King").to_string()).await},
    });
    let becomes = format!(
        "update projections.orders set number = '{NUMBER}', due_minor = 745, fulfilment = 'checkout', contact = '{contact}',
             status = 'partly-shipped', captured_minor = 700, refunded_minor = 20, payment_id = '{ID}',
             breakdown = '{{\"total\":1}}', shipments = '[{{\"shipment_id\":2}}]', returns = '[{{\"return_id\":3}}]'
         where order_id = '{ID}';"
    );
    let row = order(ID, "17850", "2011-01-01T00:00:00Z", 695, 7);
    api.write(&format!("{row} {becomes} {}", checkpoint("orders", 9))).await;
    contact
}

fn is_not_to_be_kept(answer: &Answer) -> bool {
    answer.header("cache-control") == Some("no-store")
}

#[tokio::test]
async fn an_order_from_checkout_shows_what_became_of_it() {
    let api = Api::start().await;
    order_of_ada(&api, "17850").await;
    let answer = api.ok(PATH).await;
    let pence = |amount_minor: i64| json!({"amount_minor": amount_minor, "currency": "GBP"});
    for (member, expected) in [
        ("number", json!(NUMBER)),
        ("status", json!("partly-shipped")),
        ("total", pence(695)),
        ("due", pence(745)),
        ("captured", pence(700)),
        ("refunded", pence(20)),
        ("payment_id", json!(ID)),
        ("breakdown", json!({"total": 1})),
        ("shipments", json!([{"shipment_id": 2}])),
        ("returns", json!([{"return_id": 3}])),
    ] {
        assert_eq!(answer.body[member], expected, "{member}");
    }
    let listed = api.ok("/v1/orders?customer_id=17850").await;
    assert_eq!(
        (&listed.body["items"][0]["number"], &listed.body["items"][0]["status"]),
        (&json!(NUMBER), &json!("partly-shipped"))
    );
    assert_eq!(listed.body["items"][0].get("contact"), None);
}

#[tokio::test]
async fn personal_data_is_opened_for_those_whom_it_concerns() {
    let api = Api::start().await;
    order_of_ada(&api, "17850").await;
    let shipping_address = json!({"country": "GB", "addressee": addressee("Ada Lovelace")});
    let all = json!({
        "erased": false, "email": "ada@example.com", "shipping_address": shipping_address,
        "billing_address": {"country": "FR", "addressee": addressee("Ada King")},
    });
    for (role, customer) in [(Role::Customer, ADA), (Role::Staff, None), (Role::Admin, None)] {
        let answer = api.get_as(role, customer, PATH).await;
        assert_eq!(answer.body["contact"], all, "{role}");
        assert!(is_not_to_be_kept(&answer), "{answer:?}");
    }
    let answer = api.get_as(Role::Warehouse, None, PATH).await;
    assert_eq!(answer.body["contact"], json!({"erased": false, "shipping_address": shipping_address}));
    assert!(is_not_to_be_kept(&answer), "{answer:?}");
    assert_eq!(api.get_as(Role::Analyst, None, PATH).await.status, 403);
    assert_eq!(api.get_as(Role::Customer, Some("13047"), PATH).await.status, 404);
}

/// Step 1: Ada, who was a guest when she ordered, is there. Step 2: she is erased. Step 3: the order is as it was, and she is
/// not in it; whoever has an earlier answer is told.
#[tokio::test]
async fn an_order_outlives_the_person_in_it() {
    let api = Api::start().await;
    order_of_ada(&api, "guest.1").await;
    let keyring = keyring(&api).await;
    let [guest, ada] = ["guest.1", "17850"].map(|id| id.parse().expect("a subject's id"));
    keyring.give(&guest, &ada).await.expect("Ada was the guest");
    api.write("select 1").await;
    let before = api.ok(PATH).await;
    assert_eq!(before.body["contact"]["email"], "ada@example.com");
    let tag = before.header("etag").expect("a tag").to_owned();
    let known = api.get_with(PATH, &[("If-None-Match", &tag)]).await;
    assert!(known.status == 304 && is_not_to_be_kept(&known), "{known:?}");

    keyring.erase(&ada).await.expect("she is erased");
    api.write("select 1").await;
    let after = api.get_with(PATH, &[("If-None-Match", &tag)]).await;
    assert!(after.status == 200 && is_not_to_be_kept(&after), "{after:?}");
    let nobody = |country: &str| json!({"country": country, "addressee": null});
    let expected = json!({
        "erased": true, "email": null, "shipping_address": nobody("GB"), "billing_address": nobody("FR"),
    });
    assert_eq!(after.body["contact"], expected);
    let without_contact = |answer: &Answer| {
        let mut body = answer.body.clone();
        body.as_object_mut().expect("an order").remove("contact");
        body
    };
    assert_eq!(without_contact(&after), without_contact(&before));
    let warehouse = api.get_as(Role::Warehouse, None, PATH).await;
    assert_eq!(warehouse.body["contact"], json!({"erased": true, "shipping_address": nobody("GB")}));
}

#[tokio::test]
async fn keys_that_cannot_be_had_are_told_from_erased_ones() {
    let api = Api::start().await;
    let contact = order_of_ada(&api, "17850").await.to_string().replace("17850", "13047");
    api.write(&format!("update projections.orders set contact = '{contact}'")).await;
    let answer = api.get(PATH).await;
    assert_eq!((answer.status, answer.problem()), (503, "keys-unavailable"), "there is no key of that subject");
    assert!(!answer.body.to_string().contains("13047"), "{answer:?}");
}

#[tokio::test]
async fn an_order_is_found_by_its_number_however_it_is_spelt() {
    assert_eq!(OrderNumber::of(ID.parse().expect("an id")).to_string(), NUMBER);
    let api = Api::start().await;
    order_of_ada(&api, "17850").await;
    for spelt in [NUMBER, "azf9-r9xz-8kzk", "AZF9R9XZ8KZK", "AZF9%20R9XZ%208KZK"] {
        let path = format!("/v1/orders?number={spelt}");
        let staff = api.ok(&path).await;
        assert_eq!((&staff.body["items"][0]["order_id"], staff.position()), (&json!(ID), 9), "{spelt}");
        assert_eq!((staff.body["items"].as_array().map(Vec::len), &staff.body["next_cursor"]), (Some(1), &Value::Null));
        assert_eq!(api.get_as(Role::Customer, ADA, &path).await.body["items"], staff.body["items"], "{spelt}");
        let others = api.get_as(Role::Customer, Some("13047"), &path).await;
        assert_eq!((others.status, others.problem()), (404, "unknown-order"), "{spelt}");
    }
    let nobodys = OrderNumber::of("01890a5d-ac96-774b-bcce-b302099a8058".parse().expect("an id"));
    let answer = api.get(&format!("/v1/orders?number={nobodys}")).await;
    assert_eq!((answer.status, answer.problem(), answer.position()), (404, "unknown-order", 9));
    for wrong in ["AZF9-R9XZ-8KZM", "AZF9", "", "AZF9-R9XZ-8KZK&customer_id=17850", "AZF9-R9XZ-8KZK&limit=1"] {
        let answer = api.get(&format!("/v1/orders?number={wrong}")).await;
        assert_eq!((answer.status, answer.problem()), (400, "invalid-parameter"), "{wrong}");
        assert_eq!(answer.body["parameter"], "number", "{wrong}");
    }
}

//! Customers: their own profile, and all of them for those who run the shop.

use crate::api::{Api, checkpoint, eventually};
use kontor_domain::personal::Personal;
use kontor_identity::Role as Caller;
use kontor_local::Role;
use kontor_privacy::{Keyring, MasterKey, PrivacySettings};
use serde_json::json;
use sqlx::PgPool;

const EMAIL: &str = "ada@example.com";

async fn keyring(api: &Api) -> Keyring {
    let pool = PgPool::connect(&api.servers.postgres().url(Role::Command)).await.expect("it takes connections");
    let master = MasterKey::read(api.servers.master_key_file()).expect("the master key");
    Keyring::new(pool, master, &PrivacySettings::default())
}

/// Ada, who has ordered twice, and somebody who has only a cart.
async fn customers(api: &Api) {
    let keyring = keyring(api).await;
    let seal = async |text: &str| -> Personal {
        keyring.seal(&"17850".parse().expect("a subject's id"), text).await.expect("it is sealed")
    };
    let addressee = seal(r#"{"name":"Ada Lovelace","street":"12 Hanover Square","town":"London"}"#).await;
    let address = json!({"country": "GB", "addressee": addressee});
    let contact = json!({"email": seal(EMAIL).await, "shipping_address": address, "billing_address": address});
    api.write(&format!(
        "{} insert into projections.customers values
         ('17850', 2, 1, 3, '2011-01-01T00:00:00Z', '2011-02-01T00:00:00Z', '{{\"GBP\": 695, \"EUR\": 0}}', '{contact}', 9),
         ('17851', 0, 0, 1, null, null, '{{}}', null, 10);",
        checkpoint("customers", 12)
    ))
    .await;
}

#[tokio::test]
async fn a_customer_is_shown_to_themselves_and_to_those_who_run_the_shop() {
    let api = Api::start().await;
    customers(&api).await;
    let path = "/v1/customers/17850";
    for answer in [api.get_as(Caller::Customer, Some("17850"), path).await, api.ok(path).await] {
        assert_eq!((answer.status, answer.position(), answer.header("etag")), (200, 12, Some("W/\"9\"")), "{answer:?}");
        for (member, expected) in [
            ("orders", json!(2)),
            ("cancelled", json!(1)),
            ("carts", json!(3)),
            ("first_order_at", json!("2011-01-01T00:00:00Z")),
            ("totals", json!([{"amount_minor": 0, "currency": "EUR"}, {"amount_minor": 695, "currency": "GBP"}])),
        ] {
            assert_eq!(answer.body[member], expected, "{member}");
        }
        assert_eq!(answer.body["contact"]["email"], EMAIL);
        assert_eq!(answer.body["contact"]["shipping_address"]["addressee"]["name"], "Ada Lovelace");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    assert_eq!(api.ok("/v1/customers/17851").await.body["contact"], json!(null));
    let of_another = api.get_as(Caller::Customer, Some("17851"), path).await;
    assert_eq!((of_another.status, of_another.problem()), (404, "unknown-customer"));
    assert_eq!(api.get("/v1/customers/1").await.problem(), "unknown-customer");
    for role in [Caller::Warehouse, Caller::Analyst] {
        assert_eq!(api.get_as(role, None, path).await.problem(), "forbidden");
    }
    assert_eq!(api.get_as_guest(path).await.problem(), "unauthenticated");
}

#[tokio::test]
async fn customers_are_listed_page_by_page() {
    let api = Api::start().await;
    customers(&api).await;
    let first = api.ok("/v1/customers?limit=1").await.body;
    assert_eq!((&first["items"][0]["customer_id"], first["items"][0].get("contact")), (&json!("17850"), None));
    let cursor = first["next_cursor"].as_str().expect("there is another page");
    let second = api.ok(&format!("/v1/customers?limit=1&cursor={cursor}")).await.body;
    assert_eq!((&second["items"][0]["customer_id"], &second["next_cursor"]), (&json!("17851"), &json!(null)));
    let own = api.get_as(Caller::Customer, Some("17850"), "/v1/customers").await;
    assert_eq!(own.problem(), "forbidden");
}

/// Step 1: a profile is asked for, and kept in Redis, sealed. Step 2: it is answered from there. Step 3: the customer is erased, and
/// what is in Redis cannot be read any more.
#[tokio::test]
async fn a_profile_is_kept_in_redis_and_cannot_be_read_there() {
    let api = Api::start_with_redis().await;
    customers(&api).await;
    let path = "/v1/customers/17850";
    let found = || api.metric("kontor_query_redis_found_total");
    eventually("it comes from Redis", async || {
        api.ok(path).await;
        found() > 0.0
    })
    .await;
    let client = redis::Client::open(api.servers.redis().url()).expect("a URL of Redis");
    let mut connection = client.get_multiplexed_async_connection().await.expect("it answers");
    let key = "kontor:meanwhile:customers:profile:17850";
    let kept: String =
        redis::cmd("HGET").arg(key).arg("value").query_async(&mut connection).await.expect("it is there");
    assert!(kept.contains("17850") && !kept.contains("ada") && !kept.contains("Hanover"), "{kept}");
    let left: i64 = redis::cmd("PTTL").arg(key).query_async(&mut connection).await.expect("it ends");
    assert!((1..=5_000).contains(&left), "{left}");

    keyring(&api).await.erase(&"17850".parse().expect("a subject's id")).await.expect("it is erased");
    api.write("select 1").await;
    let answer = api.ok(path).await;
    assert_eq!((&answer.body["contact"]["erased"], &answer.body["contact"]["email"]), (&json!(true), &json!(null)));
    assert_eq!(answer.header("etag"), Some("W/\"9-erased\""));
}

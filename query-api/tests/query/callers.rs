//! Who may ask what.

use crate::api::{Api, checkpoint, order};
use kontor_identity::Role;

const HIS: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
const HERS: &str = "01890a5d-ac96-774b-bcce-b302099a8058";

#[tokio::test]
async fn guests_see_products_and_nothing_else() {
    let api = Api::start().await;
    for (path, status) in
        [("/v1/products", 200), ("/v1/orders?customer_id=1", 401), ("/v1/reports/sales?by=month", 401)]
    {
        let answer = api.get_as_guest(path).await;
        assert_eq!(answer.status, status, "{path}");
        if status == 401 {
            assert_eq!((answer.problem(), answer.header("www-authenticate")), ("unauthenticated", Some("Bearer")));
        }
    }
    let answer = api.get_with("/v1/products", &[("Authorization", "Bearer x.y.z")]).await;
    assert_eq!(answer.status, 401, "who claims to be somebody must be");
}

#[tokio::test]
async fn customers_see_their_own_orders_and_cannot_tell_whether_there_are_others() {
    let api = Api::start().await;
    let rows =
        [order(HIS, "17850", "2011-01-01T00:00:00Z", 100, 1), order(HERS, "13047", "2011-01-02T00:00:00Z", 200, 2)];
    api.write(&format!("{} {} {}", rows[0], rows[1], checkpoint("orders", 2))).await;
    let customer = Some("17850");
    let own = api.get_as(Role::Customer, customer, "/v1/orders").await;
    let ids: Vec<_> = own.body["items"].as_array().expect("rows").iter().map(|row| row["order_id"].clone()).collect();
    assert_eq!(ids, [HIS]);
    assert_eq!(api.get_as(Role::Customer, customer, &format!("/v1/orders/{HIS}")).await.status, 200);
    let hers = api.get_as(Role::Customer, customer, &format!("/v1/orders/{HERS}")).await;
    assert_eq!((hers.status, hers.problem()), (404, "unknown-order"));
    assert_eq!(api.get_as(Role::Customer, customer, "/v1/orders?customer_id=13047").await.status, 404);
    assert_eq!(api.get_as(Role::Staff, None, &format!("/v1/orders/{HERS}")).await.status, 200);
}

#[tokio::test]
async fn reports_are_for_those_who_run_the_shop() {
    let api = Api::start().await;
    let path = "/v1/reports/sales?by=month";
    assert_eq!(api.get_as(Role::Analyst, None, path).await.status, 200);
    let refused = api.get_as(Role::Customer, Some("17850"), path).await;
    assert_eq!((refused.status, refused.problem()), (403, "forbidden"));
}

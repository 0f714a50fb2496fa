//! Mails that are refused: tried again, given up, retried by hand.

use crate::shop::{Shop, until};
use crate::support::{client, problem, send};
use kontor_command_services::notifications::outbox::Status;
use kontor_command_services::service::Role;
use kontor_identity::Role as Caller;
use kontor_local::Behaviour;
use serde_json::Value;

#[tokio::test]
async fn what_is_refused_for_a_while_is_tried_again() {
    let shop = Shop::open().await;
    shop.sink.behave("ada@example.com", Behaviour::Refuse { code: 451, times: Some(3) });
    let sender = shop.sender().await;
    shop.sell("ada@example.com").await;
    shop.until_mailed(1).await;
    let sent = shop.until_settled(1).await.remove(0);
    assert_eq!((sent.status, sent.attempts, sent.last_error), (Status::Sent, 4, None));
    let (_, metrics) =
        kontor_local::http_get(sender.service.ops_address().port(), "/metrics").await.expect("an answer");
    for line in ["kontor_notifications_failed_total 3", "kontor_notifications_sent_total 1"] {
        assert!(metrics.contains(line), "{line} is missing in {metrics}");
    }
}

#[tokio::test]
async fn what_is_tried_too_often_is_given_up() {
    let shop = Shop::open().await;
    shop.sink.behave("*", Behaviour::Refuse { code: 421, times: None });
    let _sender = shop.sender_with(&[Role::Notifications], |settings| settings.mail.attempts_max = 3).await;
    shop.sell("ada@example.com").await;
    let dead = shop.until_settled(1).await.remove(0);
    assert_eq!((dead.status, dead.attempts), (Status::Dead, 3));
    shop.until_mailed(0).await;
}

#[tokio::test]
async fn a_server_that_says_nothing_does_not_hold_up_the_others() {
    let shop = Shop::open().await;
    shop.sink.behave("ada@example.com", Behaviour::KeepAndSayNothing { times: Some(1) });
    let _sender = shop
        .sender_with(&[Role::Notifications], |settings| {
            settings.mail.timeout_ms = 1_000;
            settings.mail.in_flight_max = 2;
        })
        .await;
    shop.sell("ada@example.com").await;
    shop.until_mailed(1).await;
    for n in 0..10 {
        shop.sell(&format!("bob{n}@example.com")).await;
    }
    until("bobs' mails", async || shop.sink.mails().len() >= 11).await;
    let known = shop.until_settled(11).await;
    let adas = known.last().expect("hers was the first");
    assert_eq!((adas.status, adas.attempts), (Status::Sent, 2));
    let mails = shop.until_mailed(12).await;
    assert_eq!(crate::shop::distinct(&mails), 11);
}

/// 1. Refused for good. 2. Staff sees it, others do not. 3. Retried, it arrives. 4. What was sent stays sent.
#[actix_web::test]
async fn a_dead_mail_is_listed_and_retried_over_http() {
    let shop = Shop::open().await;
    shop.sink.behave("ada@example.com", Behaviour::Refuse { code: 550, times: None });
    let app = shop.sender_with(&[Role::Commands, Role::Notifications], |_| {}).await;
    let id = shop.sell("ada@example.com").await;
    shop.sell("bob@example.com").await;
    shop.until_settled(2).await;

    let listed = app.get("/v1/notifications?status=dead").await;
    assert_eq!(listed.status, 200);
    let [dead] = listed.body["items"].as_array().expect("a list").as_slice() else { panic!("{listed:?}") };
    assert_eq!((&dead["kind"], &dead["attempts"]), (&"order-confirmed".into(), &1.into()));
    assert_eq!(dead["order_id"], id.to_string());
    assert_eq!(listed.body["next_before"], Value::Null);
    let of_order = app.get(&format!("/v1/orders/{id}/notifications")).await;
    assert_eq!(of_order.body["items"], listed.body["items"]);
    let first_page = app.get("/v1/notifications?limit=1").await;
    let before = first_page.body["next_before"].as_i64().expect("another page");
    let second_page = app.get(&format!("/v1/notifications?limit=1&before={before}")).await;
    assert_eq!(second_page.body["items"], listed.body["items"]);

    let retry = format!("/v1/notifications/{}/retry", dead["id"].as_str().expect("an id"));
    for role in [Caller::Warehouse, Caller::Analyst] {
        let others = client(Some(&shop.servers.identity().token("other", role, None)));
        assert_eq!(send(others.get(app.url("/v1/notifications"))).await.status, 403);
        assert_eq!(send(others.post(app.url(&retry))).await.status, 403);
    }
    assert_eq!(send(client(None).get(app.url("/v1/notifications"))).await.status, 401);

    shop.sink.behave_well();
    let retried = send(app.client.post(app.url(&retry))).await;
    assert_eq!((retried.status, &retried.body["status"], &retried.body["attempts"]), (200, &"due".into(), &0.into()));
    shop.until_mailed(2).await;
    shop.until_settled(2).await;
    for verb in ["retry", "drop"] {
        let late = send(app.client.post(app.url(&retry.replace("retry", verb)))).await;
        assert_eq!((late.status, problem(&late), &late.body["status"]), (409, "notification-settled", &"sent".into()));
    }
}

#[actix_web::test]
async fn a_mail_that_waits_can_be_dropped() {
    let shop = Shop::open().await;
    shop.sink.behave("*", Behaviour::Refuse { code: 451, times: None });
    let app = shop
        .sender_with(&[Role::Commands, Role::Notifications], |settings| {
            settings.mail.backoff_base_ms = 60_000;
            settings.mail.backoff_max_ms = 60_000;
        })
        .await;
    let id = shop.sell("ada@example.com").await;
    until("a failure", async || shop.of_order(id).await.iter().any(|mail| mail.last_error.is_some())).await;
    let drop = format!("/v1/notifications/{}/drop", shop.of_order(id).await[0].id);
    for _ in 0..2 {
        let dropped = send(app.client.post(app.url(&drop))).await;
        assert_eq!((dropped.status, &dropped.body["status"]), (200, &"dropped".into()), "once more changes nothing");
    }
}

#[actix_web::test]
async fn what_is_asked_wrongly_is_refused_with_the_field() {
    let shop = Shop::open().await;
    let app = shop.sender_with(&[Role::Commands], |_| {}).await;
    for (path, field) in [
        ("/v1/notifications?status=lost", "status"),
        ("/v1/notifications?limit=0", "limit"),
        ("/v1/notifications?before=now", "before"),
        ("/v1/notifications?page=2", "page"),
        ("/v1/orders/7/notifications", "order_id"),
    ] {
        let answer = app.get(path).await;
        assert_eq!(
            (answer.status, problem(&answer), &answer.body["field"]),
            (422, "invalid-field", &field.into()),
            "{path}"
        );
    }
    let unknown = send(app.client.post(app.url("/v1/notifications/01890a5d-ac96-774b-bcce-b302099a8057/retry"))).await;
    assert_eq!((unknown.status, problem(&unknown)), (404, "unknown-notification"));
    assert_eq!(app.get("/v1/notifications/01890a5d-ac96-774b-bcce-b302099a8057/retry").await.status, 405);
}

//! Processes that die, wait for each other or are told to stop: no mail is lost, none is another.

use crate::shop::{Shop, distinct, until};
use kontor_command_services::notifications::occasion::{About, Kind, Occasion};
use kontor_command_services::notifications::outbox::Status;
use kontor_domain::OrderId;
use kontor_local::{Behaviour, Role as DbRole, Tier, TierPlan};
use std::path::PathBuf;
use std::time::Duration;
use uuid::Uuid;

/// `kontor-command serve notifications`, as a process of its own.
async fn process(shop: &Shop) -> Tier {
    let ops = kontor_local::ports::free();
    let plan = TierPlan {
        name: "the sender of mail".into(),
        program: PathBuf::from(env!("CARGO_BIN_EXE_kontor-command")),
        arguments: vec!["serve".into(), "notifications".into()],
        environment: vec![
            ("KONTOR_LOG__URL".into(), shop.servers.postgres().url(DbRole::Command)),
            ("KONTOR_PRIVACY__MASTER_KEY_FILE".into(), shop.servers.master_key_file().display().to_string()),
            ("KONTOR_MAIL__PORT".into(), shop.sink.smtp_port().to_string()),
            ("KONTOR_OPS__BIND".into(), format!("127.0.0.1:{ops}")),
        ],
        ops_port: ops,
        log: shop.servers.folder().join("notifications.log"),
        ready_within: Duration::from_secs(30),
    };
    Tier::start(&plan, |_, _| {}).await.expect("it starts")
}

#[tokio::test]
async fn a_mail_that_nobody_noted_is_sent_again_under_its_message_id() {
    let shop = Shop::open().await;
    // 1. The server takes the mail, and its sender does not hear of it.
    shop.sink.behave("ada@example.com", Behaviour::KeepAndSayNothing { times: Some(1) });
    let sender = process(&shop).await;
    let id = shop.sell("ada@example.com").await;
    shop.until_mailed(1).await;
    assert_eq!(shop.of_order(id).await[0].status, Status::Sending);
    // 2. It is killed in this moment.
    sender.kill().await;
    // 3. Another one sends the mail again; whoever counts Message-IDs counts one.
    let _sender = process(&shop).await;
    let mails = shop.until_mailed(2).await;
    assert_eq!(distinct(&mails), 1, "{mails:?}");
    assert_eq!(shop.until_settled(1).await[0].attempts, 2);
}

#[tokio::test]
async fn a_line_that_breaks_after_the_mail_makes_no_second_mail_of_it() {
    let shop = Shop::open().await;
    shop.sink.behave("*", Behaviour::KeepAndHangUp { times: Some(1) });
    let _sender = shop.sender().await;
    shop.sell("ada@example.com").await;
    assert_eq!(distinct(&shop.until_mailed(2).await), 1);
    assert_eq!(shop.until_settled(1).await[0].status, Status::Sent);
}

#[tokio::test]
async fn of_two_processes_one_sends_and_the_other_takes_over() {
    let shop = Shop::open().await;
    let [first, second] = [process(&shop).await, process(&shop).await];
    for n in 0..20 {
        shop.sell(&format!("buyer{n}@example.com")).await;
    }
    assert_eq!(distinct(&shop.until_mailed(20).await), 20);
    // Whichever sends is killed first; both are, one after the other, with a third in between.
    first.kill().await;
    for n in 20..40 {
        shop.sell(&format!("buyer{n}@example.com")).await;
    }
    shop.until_settled(40).await;
    let _third = process(&shop).await;
    second.kill().await;
    for n in 40..60 {
        shop.sell(&format!("buyer{n}@example.com")).await;
    }
    let known = shop.until_settled(60).await;
    assert!(known.iter().all(|mail| mail.status == Status::Sent), "{known:?}");
    // Who was killed between the server's yes and the note of it is followed by one who sends it again, as the same mail.
    assert_eq!(distinct(&shop.mails()), 60);
}

#[tokio::test]
async fn who_was_replaced_without_knowing_it_takes_up_no_mail() {
    let shop = Shop::open().await;
    let occasion = |position| Occasion {
        event_id: Uuid::now_v7(),
        position,
        kind: Kind::OrderConfirmed,
        about: About::Order(OrderId(Uuid::now_v7())),
        sequence: 1,
    };
    // 1. One mail is under way, another is due, when the sender is replaced.
    let before = shop.outbox.lead().await.expect("a term");
    let at = before.checkpoint;
    assert!(shop.outbox.queue(at, at + 1, &[occasion(at + 1)]).await.expect("queued"));
    assert_eq!(shop.outbox.claim(&before, 10).await.expect("claimed").len(), 1);
    assert!(shop.outbox.queue(at + 1, at + 2, &[occasion(at + 2)]).await.expect("queued"));
    let now = shop.outbox.lead().await.expect("a term");
    assert_eq!((now.checkpoint, now.reclaimed), (at + 2, 1));
    // 2. What it took up now nobody would ever make due again.
    assert_eq!(shop.outbox.claim(&before, 10).await.expect("claimed"), []);
    // 3. Its successor takes both.
    assert_eq!(shop.outbox.claim(&now, 10).await.expect("claimed").len(), 2);
}

#[tokio::test]
async fn a_process_that_is_told_to_stop_ends_what_it_has_begun() {
    let shop = Shop::open().await;
    let sender = shop.sender().await;
    for n in 0..100 {
        shop.sell(&format!("buyer{n}@example.com")).await;
    }
    sender.service.stop().await;
    assert!(shop.notifications().await.iter().all(|mail| mail.status != Status::Sending));
    let _sender = shop.sender().await;
    shop.until_settled(100).await;
    assert_eq!(distinct(&shop.until_mailed(100).await), 100);
}

#[tokio::test]
async fn what_happened_while_nobody_was_there_is_mailed_about_later() {
    let shop = Shop::open().await;
    for n in 0..10 {
        shop.sell(&format!("buyer{n}@example.com")).await;
    }
    let _sender = shop.sender().await;
    assert_eq!(distinct(&shop.until_mailed(10).await), 10);
}

#[tokio::test]
async fn a_database_that_goes_away_takes_no_mail_along() {
    let shop = Shop::open().await;
    let sender = shop.sender().await;
    shop.sink.behave("*", Behaviour::Refuse { code: 451, times: None });
    let id = shop.sell("ada@example.com").await;
    until("a failure", async || shop.of_order(id).await.iter().any(|mail| mail.last_error.is_some())).await;
    let ops = sender.service.ops_address().port();
    let health = async |wanted| kontor_local::http_get(ops, "/readyz").await.is_ok_and(|(status, _)| status == wanted);
    shop.servers.postgres().kill().await.expect("killed");
    until("readiness to tell", async || health(503).await).await;
    shop.servers.postgres().restart().await.expect("restarted");
    until("readiness to tell", async || health(200).await).await;
    shop.sink.behave_well();
    assert_eq!(shop.until_mailed(1).await[0].recipients, ["ada@example.com"]);
    assert_eq!(shop.until_settled(1).await[0].status, Status::Sent);
}

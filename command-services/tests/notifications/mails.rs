//! Which events are mailed about, and what the mails say.

use crate::shop::{Shop, now, order, pence, subject, units};
use crate::support::shop::{Shopper, stocked};
use chrono::TimeDelta;
use kontor_command_services::notifications::occasion::Kind;
use kontor_command_services::notifications::outbox::Status;
use kontor_command_services::service::Role;
use kontor_domain::cart::{Cart, CartCommand};
use kontor_domain::order::{Fulfilment, Order, OrderCommand, OrderNumber};
use kontor_domain::text::{Reason, Reference};
use kontor_domain::{AttemptId, CartId, Currency, OrderId, ReturnId, ShipmentId};
use uuid::Uuid;

#[tokio::test]
async fn a_confirmed_order_is_confirmed_by_one_mail() {
    let shop = Shop::open().await;
    let _sender = shop.sender().await;
    shop.call("MUG", "Mug <blue>").await;
    let id = shop.sell("ada@example.com").await;
    let [mail] = shop.until_mailed(1).await.try_into().expect("one");
    assert_eq!(mail.subject, format!("Your order {} at Kontor", OrderNumber::of(id)));
    assert_eq!((mail.from.as_str(), &*mail.recipients), ("orders@mugs.example", &["ada@example.com".to_owned()][..]));
    let confirmed = shop.until_settled(1).await.remove(0);
    assert_eq!(mail.message_id, format!("{}@mugs.example", confirmed.id));
    assert_eq!((confirmed.kind, confirmed.status, confirmed.attempts), (Kind::OrderConfirmed, Status::Sent, 1));
    for shown in [
        "2 x Mug <blue> (MUG)",
        "Total: 28.95 GBP",
        "Shipping (standard): 4.95 GBP",
        "12 St James's Square\n    London SW1Y 4JH\n    GB",
    ] {
        assert!(mail.text.replace('\r', "").contains(shown), "{shown} is missing in {}", mail.text);
    }
    assert!(mail.html.contains("Mug &lt;blue&gt;") && mail.html.contains("28.95 GBP"), "{}", mail.html);
}

#[actix_web::test]
async fn who_buys_at_the_check_out_is_mailed() {
    let shop = Shop::open().await;
    let app = shop.sender_with(&[Role::Commands, Role::Processes, Role::Notifications], |_| {}).await;
    stocked(&app, "CUP", 10).await;
    let shopper = Shopper::guest(&app).await;
    shopper.take(&app, "CUP", 2).await;
    shopper.address(&app).await;
    let order = shopper.buy(&app, "tok_success").await;
    assert_eq!((order.status, &order.body["status"]), (200, &"confirmed".into()), "{order:?}");
    let [mail] = shop.until_mailed(1).await.try_into().expect("one");
    let text = mail.text.replace('\r', "");
    for shown in [
        "2 x Enamel mug (CUP)",
        "Total: 29.95 GBP",
        "    Ada Lovelace\n    12 St James's Square\n    London SW1Y 4JH\n",
    ] {
        assert!(text.contains(shown), "{shown} is missing in {text}");
    }
    assert_eq!(mail.recipients, ["ada@example.com"]);
}

#[tokio::test]
async fn a_shipment_and_a_refund_are_told() {
    let shop = Shop::open().await;
    let _sender = shop.sender().await;
    let id = shop.sell("ada@example.com").await;
    let (shipment_id, return_id) = (ShipmentId(Uuid::now_v7()), ReturnId(Uuid::now_v7()));
    let picked = || [(1, units(1))].into();
    let commands = [
        OrderCommand::Ship {
            shipment_id,
            picked: picked(),
            tracking: Some(Reference::new("RM 123").expect("a reference")),
            shipped_at: now(),
        },
        OrderCommand::BookCapture { captured_total: pence(1_695), captured_at: now() },
        OrderCommand::RequestReturn {
            return_id,
            picked: picked(),
            reason: Reason::new("chipped").expect("a reason"),
            requested_at: now(),
        },
        OrderCommand::ReceiveReturn { return_id, picked: picked(), refund: None, received_at: now() },
        OrderCommand::BookRefund {
            return_id,
            attempt: AttemptId(Uuid::now_v7()),
            amount: pence(1_200),
            refunded_at: now(),
        },
    ];
    shop.append::<Order>(&id.to_string(), commands).await;
    shop.until_mailed(3).await;
    let mails = shop.sink.mails();
    let about = |subject: &str| mails.iter().find(|mail| mail.subject.contains(subject)).expect("a mail");
    let shipped = about("Part of your order");
    assert!(shipped.text.contains("1 x MUG (MUG)\n") || shipped.text.contains("1 x MUG (MUG)\r\n"), "{}", shipped.text);
    assert!(shipped.text.contains("RM 123") && shipped.text.contains("The rest follows"), "{}", shipped.text);
    let refunded = about("We have refunded 12.00 GBP");
    assert!(
        refunded.text.contains(&return_id.to_string()) && refunded.html.contains("1 &times; MUG"),
        "{}",
        refunded.html
    );
}

#[tokio::test]
async fn a_cart_left_behind_is_recalled_unless_it_was_taken_up_again() {
    let shop = Shop::open().await;
    let seal = async |email: &str| shop.keyring.seal(&subject(email), email).await.expect("it is sealed");
    let leave = async |email: Option<&str>| {
        let cart_id = CartId(Uuid::now_v7());
        let mut commands = vec![
            CartCommand::Open { cart_id, customer_id: None, currency: Currency::GBP, opened_at: now() },
            CartCommand::SetQuantity { sku: "MUG".parse().expect("a SKU"), quantity: units(3), changed_at: now() },
        ];
        if let Some(email) = email {
            commands.push(CartCommand::SetEmail { email: seal(email).await, changed_at: now() });
        }
        commands.push(CartCommand::Abandon { idle: TimeDelta::hours(1), now: now() + TimeDelta::hours(2) });
        shop.append::<Cart>(&cart_id.to_string(), commands).await;
        cart_id
    };
    leave(None).await;
    let taken_up = leave(Some("ada@example.com")).await;
    let more = CartCommand::SetQuantity {
        sku: "MUG".parse().expect("a SKU"),
        quantity: units(4),
        changed_at: now() + TimeDelta::hours(3),
    };
    shop.append::<Cart>(&taken_up.to_string(), [more]).await;
    let left = leave(Some("bob@example.com")).await;
    let _sender = shop.sender().await;

    let known = shop.until_settled(2).await;
    let [mail] = shop.until_mailed(1).await.try_into().expect("one");
    assert_eq!(mail.recipients, ["bob@example.com"]);
    assert!(mail.text.contains("3 x MUG") && mail.text.contains(&format!("/carts/{left}")), "{}", mail.text);
    let dropped = known.iter().find(|mail| mail.cart_id == Some(taken_up)).expect("it is known");
    assert_eq!(dropped.last_error.as_deref(), Some("the cart was taken up again"));
}

#[tokio::test]
async fn trade_that_was_made_elsewhere_is_not_mailed_about() {
    let shop = Shop::open().await;
    let _sender = shop.sender().await;
    for _ in 0..20 {
        let id = OrderId(Uuid::now_v7());
        shop.append::<Order>(&id.to_string(), [order(id, Fulfilment::Ship, None)]).await;
    }
    let id = OrderId(Uuid::now_v7());
    let ship = OrderCommand::Ship {
        shipment_id: ShipmentId(Uuid::now_v7()),
        picked: [(1, units(2))].into(),
        tracking: None,
        shipped_at: now(),
    };
    shop.append::<Order>(&id.to_string(), [order(id, Fulfilment::Reserve, None), ship]).await;
    shop.sell("ada@example.com").await;
    let known = shop.until_settled(2).await;
    assert_eq!(shop.until_mailed(1).await[0].recipients, ["ada@example.com"]);
    assert_eq!((known[1].order_id, known[1].status), (Some(id), Status::Dropped));
    assert_eq!(known[1].last_error.as_deref(), Some("the order did not come from the check-out"));
}

#[tokio::test]
async fn who_was_erased_is_not_mailed() {
    let shop = Shop::open().await;
    shop.sell("ada@example.com").await;
    shop.keyring.erase(&subject("ada@example.com")).await.expect("erased");
    let _sender = shop.sender().await;
    let dropped = shop.until_settled(1).await.remove(0);
    assert_eq!(dropped.status, Status::Dropped);
    assert_eq!(dropped.last_error.as_deref(), Some("the customer's personal data has been erased"));
    shop.until_mailed(0).await;
}

#[tokio::test]
async fn nothing_in_the_outbox_is_personal() {
    let shop = Shop::open().await;
    shop.sink.behave("ada@example.com", kontor_local::Behaviour::Refuse { code: 550, times: None });
    let _sender = shop.sender().await;
    shop.sell("ada@example.com").await;
    shop.until_settled(1).await;
    let dump = shop.servers.postgres().sql("select string_agg(o::text, ' ') from notifications.outbox o").await;
    let dump = dump.expect("it can be asked");
    assert!(dump.contains("(address)"), "{dump}");
    for personal in ["ada", "Ada", "Lovelace", "example.com", "Square"] {
        assert!(!dump.contains(personal), "{personal} is in {dump}");
    }
}

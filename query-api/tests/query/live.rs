//! Live updates over real connections: what comes, in which order, after which interruption.

use crate::api::{Api, PATIENCE, eventually};
use crate::trade::{ORDER, Trade, example};
use kontor_identity::Role;
use kontor_local::Need;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::time::timeout;

const SERVERS: [Need; 2] = [Need::Replica, Need::Nats];

/// A client that listens.
pub struct Listener {
    answer: reqwest::Response,
    text: String,
}

impl Listener {
    pub async fn of(api: &Api, path: &str, headers: &[(&str, &str)]) -> Self {
        let request = api.client.get(format!("{}{path}", api.base));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Listener { answer, text: String::new() }
    }

    /// The next block, whatever it is; `None`: the end.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block);
            }
            let chunk = timeout(PATIENCE, self.answer.chunk()).await.expect("something comes");
            self.text += std::str::from_utf8(&chunk.ok()??).expect("text");
        }
    }

    /// The next update: its id and what it says.
    pub async fn update(&mut self) -> (i64, Value) {
        loop {
            let block = self.block().await.expect("an update");
            let line = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
            if let (Some(id), Some(data)) = (line("id: "), line("data: ")) {
                return (id.parse().expect("a number"), serde_json::from_str(data).expect("JSON"));
            }
        }
    }

    /// Nothing but heartbeats for a while.
    async fn hears_nothing(&mut self) {
        assert!(timeout(Duration::from_millis(400), self.update()).await.is_err(), "something came");
    }
}

fn received(available: i64) -> Value {
    json!({"Received": {"quantity": 1, "reference": null, "on_hand_after": available, "available_after": available}})
}

/// Polls so seldom that only NATS can be what tells.
async fn woken_by_nats() -> Api {
    Api::start_on(&SERVERS, |settings, servers| {
        settings.nats.url = Some(servers.nats().url().parse().expect("a URL"));
        settings.live.poll_interval_ms = 60_000;
    })
    .await
}

#[tokio::test]
async fn a_shop_front_is_told_of_stock_as_soon_as_nats_is() {
    let api = woken_by_nats().await;
    let mut trade = Trade::on(&api).await;
    let nats = async_nats::connect(api.servers.nats().url()).await.expect("it connects");
    trade.record_only(("stock", "MUG"), &received(1), "ada").await;
    let mut listener = Listener::of(&api, "/v1/stock/MUG/events?skus=CUP", &[]).await;
    let (id, update) = listener.update().await;
    assert_eq!((id, &update["sku"], &update["available"]), (1, &json!("MUG"), &json!(1)));
    for n in 2..6 {
        let sku = ["CUP", "MUG"][n as usize % 2];
        let position = trade.record_only(("stock", sku), &received(n), "ada").await;
        let told = async {
            // Until the subscription has reached the server.
            loop {
                trade.publish(&nats, "stock", "Received", position).await;
                if let Ok(update) = timeout(Duration::from_millis(500), listener.update()).await {
                    return update;
                }
            }
        };
        let (id, update) = timeout(PATIENCE, told).await.expect("it is told");
        assert_eq!((id, &update["sku"], &update["available"]), (n, &json!(sku), &json!(n)));
    }
    trade.record_only(("stock", "POT"), &received(9), "ada").await;
    trade.publish(&nats, "stock", "Received", 6).await;
    listener.hears_nothing().await;
}

/// Step 1: a client hears of some changes. Step 2: it is away while there are others. Step 3: it comes back with the id of the
/// last one it has, hears of those it has missed, once, in order, and then of new ones.
#[tokio::test]
async fn a_client_that_comes_back_misses_nothing_and_hears_nothing_twice() {
    let api = Api::start_on(&SERVERS, |settings, _| settings.live.poll_interval_ms = 20).await;
    let mut trade = Trade::on(&api).await;
    let path = "/v1/stock/MUG/events?skus=CUP";
    let mut heard = Vec::new();
    let mut last = "0".to_owned();
    for round in 0..4 {
        let mut listener = Listener::of(&api, path, &[("Last-Event-ID", &last)]).await;
        for n in 0..6 {
            let sku = ["MUG", "CUP", "POT"][n % 3];
            trade.record_only(("stock", sku), &received(round * 10 + n as i64), "ada").await;
        }
        for _ in 0..2 + round {
            heard.push(listener.update().await);
        }
        last = heard.last().expect("it has heard").0.to_string();
    }
    let mut listener = Listener::of(&api, path, &[("Last-Event-ID", &last)]).await;
    while heard.len() < 16 {
        heard.push(listener.update().await);
    }
    listener.hears_nothing().await;
    let ids: Vec<i64> = heard.iter().map(|(id, _)| *id).collect();
    let expected: Vec<i64> = (1..=24).filter(|position| position % 3 != 0).collect();
    assert_eq!(ids, expected);
}

#[tokio::test]
async fn a_customer_sees_an_order_of_their_own_move_on() {
    let api = Api::start_on(&SERVERS, |settings, _| settings.live.poll_interval_ms = 20).await;
    let mut trade = Trade::on(&api).await;
    let placed = trade.placed().await;
    trade.record_only(("order", ORDER), &placed, "13085").await;
    trade.record_only(("order", ORDER), &example("order.authorised"), "service:processes").await;
    let path = format!("/v1/orders/{ORDER}/events");
    let token = api.servers.identity().token("13085", Role::Customer, Some("13085"));
    let token = format!("Bearer {token}");
    let mut listener = Listener::of(&api, &path, &[("Authorization", &token)]).await;
    let (id, update) = listener.update().await;
    assert_eq!((id, &update["status"], &update["what"]), (2, &json!("authorised"), &json!("authorised")));
    for (event, status) in [("confirmed", "confirmed"), ("captured", "confirmed"), ("shipped", "partly-shipped")] {
        let position = trade.record_only(("order", ORDER), &example(&format!("order.{event}")), "ada").await;
        let (id, update) = listener.update().await;
        assert_eq!((id, &update["status"], &update["what"]), (position, &json!(status), &json!(event)));
    }
    let mut again = Listener::of(&api, &path, &[("Authorization", &token), ("Last-Event-ID", "3")]).await;
    let (id, update) = again.update().await;
    assert_eq!((id, &update["status"]), (4, &json!("confirmed")), "where it stood then");
    for other in [api.get_as(Role::Customer, Some("17850"), &path).await, api.get(&path.replace("8057", "8058")).await]
    {
        assert_eq!((other.status, other.problem()), (404, "unknown-order"));
    }
    assert_eq!(api.get_as_guest(&path).await.status, 401);
}

/// Step 1: NATS is there. Step 2: it is killed, and what happens is told nevertheless. Step 3: it is back, and so is its word.
#[tokio::test]
async fn updates_go_on_while_nats_is_away() {
    let api = Api::start_on(&SERVERS, |settings, servers| {
        settings.nats.url = Some(servers.nats().url().parse().expect("a URL"));
        settings.live.poll_interval_ms = 200;
    })
    .await;
    let mut trade = Trade::on(&api).await;
    let mut listener = Listener::of(&api, "/v1/stock/MUG/events", &[]).await;
    for n in 1..=6 {
        match n {
            3 => api.servers.nats().kill().await.expect("it runs"),
            5 => api.servers.nats().restart().await.expect("it starts"),
            _ => {}
        }
        let position = trade.record_only(("stock", "MUG"), &received(n), "ada").await;
        assert_eq!(listener.update().await.0, position);
    }
    listener.hears_nothing().await;
}

#[tokio::test]
async fn there_is_room_for_so_many_and_what_leaves_makes_room() {
    let api = Api::start_with(|settings| settings.live.connections_max = 2).await;
    let path = "/v1/stock/MUG/events";
    let first = Listener::of(&api, path, &[]).await;
    let _second = Listener::of(&api, path, &[]).await;
    let refused = api.get(path).await;
    assert_eq!((refused.status, refused.problem(), &refused.body["most"]), (503, "too-many-connections", &json!(2)));
    assert_eq!(refused.header("retry-after"), Some("5"));
    assert_eq!(api.metric("kontor_query_live_connections"), 2.0);
    drop(first);
    eventually("there is room again", async || api.metric("kontor_query_live_connections") < 2.0).await;
    Listener::of(&api, path, &[]).await;
}

#[tokio::test]
async fn a_quiet_connection_says_that_it_lives_and_ends_with_the_service() {
    let api = Api::start_with(|settings| settings.live.heartbeat_s = 1).await;
    let mut listener = Listener::of(&api, "/v1/stock/MUG/events", &[]).await;
    assert_eq!(listener.block().await.as_deref(), Some("retry: 2000"));
    for _ in 0..2 {
        assert_eq!(listener.block().await.as_deref(), Some(": still here"));
    }
    let begun = Instant::now();
    api.stop().await;
    while listener.block().await.is_some() {}
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

//! A shopper: opens a cart, fills and addresses it, checks out and waits until the order is settled.

use crate::client::is_transient;
use crate::connection::{Connection, Reply, Request};
use anyhow::{Context, bail, ensure};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How long the answer to a check-out may wait for the order to be settled.
const WAIT_S: u32 = 30;
/// Nobody answers later than that.
const ANSWER_WITHIN: Duration = Duration::from_secs(WAIT_S as u64 + 30);
/// Before what was lost is sent again.
const PAUSE: Duration = Duration::from_millis(20);
/// Without an answer for so long we give up.
const GIVE_UP_AFTER: Duration = Duration::from_secs(120);

/// E-mail, address and shipping, as one form of a shop sends them.
const DETAILS: &str = r#"{"email":"ada@example.com","shipping_address":{"country":"GB","addressee":{"name":"Ada Lovelace","street":"12 St James's Square","town":"London","postcode":"SW1Y 4JH"}},"shipping_method":"standard"}"#;

/// One request of a purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// With the first line.
    OpenCart,
    SetLine,
    SetDetails,
    /// Answered when the order is settled.
    CheckOut,
}

impl Step {
    /// In the order in which they are taken.
    pub const ALL: [Step; 4] = [Step::OpenCart, Step::SetLine, Step::SetDetails, Step::CheckOut];

    pub fn name(self) -> &'static str {
        match self {
            Step::OpenCart => "open the cart with a line",
            Step::SetLine => "set another line",
            Step::SetDetails => "e-mail, address, shipping",
            Step::CheckOut => "check out, until settled",
        }
    }
}

/// How a purchase ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Confirmed,
    Cancelled,
    /// Not placed: there were not enough units.
    SoldOut,
}

/// Somebody who buys over a connection of their own.
#[derive(Debug)]
pub struct Shopper {
    /// Command APIs on one log; the next is taken when one does not answer.
    processes: Vec<SocketAddr>,
    process: usize,
    connection: Option<Connection>,
    /// Who they are; a guest without one.
    pub token: Option<Arc<str>>,
    /// How long each request took until it was answered, in the order in which they were sent.
    pub took: Vec<(Step, Duration)>,
    /// Requests that had no answer, and were sent again under the same key.
    pub repeated: usize,
}

impl Shopper {
    /// A guest who asks the first of the `processes`, ports on this machine, as long as it answers.
    pub fn new(processes: &[u16]) -> Self {
        let processes = processes.iter().map(|port| (Ipv4Addr::LOCALHOST, *port).into()).collect();
        Self { processes, process: 0, connection: None, token: None, took: Vec::new(), repeated: 0 }
    }

    /// Buys so many units of each SKU.
    pub async fn buy(&mut self, lines: &[(&str, usize)], payment_method: &str) -> anyhow::Result<Ending> {
        let cart_id = self.fill(lines).await?;
        self.check_out(cart_id, payment_method).await
    }

    /// A cart that can be checked out.
    pub async fn fill(&mut self, lines: &[(&str, usize)]) -> anyhow::Result<Uuid> {
        let cart_id = Uuid::now_v7();
        let line = |(sku, quantity): &(&str, usize)| format!(r#"{{"sku":"{sku}","quantity":{quantity}}}"#);
        let (first, others) = lines.split_first().context("nobody buys nothing")?;
        let open = format!(r#"{{"cart_id":"{cart_id}","currency":"GBP","lines":[{}]}}"#, line(first));
        self.done(Step::OpenCart, "/v1/carts", &open).await?;
        let path = |part: &str| format!("/v1/carts/{cart_id}/{part}");
        for other in others {
            self.done(Step::SetLine, &path("lines"), &line(other)).await?;
        }
        self.done(Step::SetDetails, &path("details"), DETAILS).await?;
        Ok(cart_id)
    }

    /// Pays for a cart, which becomes an order under its id, and waits until that is settled.
    pub async fn check_out(&mut self, cart_id: Uuid, payment_method: &str) -> anyhow::Result<Ending> {
        let body = format!(r#"{{"payment_method":"{payment_method}"}}"#);
        let begun = Instant::now();
        let mut reply = self.post(&format!("/v1/carts/{cart_id}/check-out"), Some(WAIT_S), &body).await?;
        while reply.status == 202 && begun.elapsed() < GIVE_UP_AFTER {
            reply = self.ask(&format!("/v1/orders/{cart_id}/settlement"), Some(WAIT_S), None).await?;
        }
        self.took.push((Step::CheckOut, begun.elapsed()));
        match reply.status {
            200 if reply.says(r#""status":"confirmed""#) => Ok(Ending::Confirmed),
            200 if reply.says(r#""status":"cancelled""#) => Ok(Ending::Cancelled),
            409 if reply.says("/problems/insufficient-stock") => Ok(Ending::SoldOut),
            status => bail!("the check-out of cart {cart_id} was answered with {status}: {}", text(&reply)),
        }
    }

    /// Ships all of an order, as the staff.
    pub async fn ship(&mut self, order_id: Uuid) -> anyhow::Result<()> {
        let path = format!("/v1/orders/{order_id}/ship");
        let reply = self.post(&path, None, "{}").await?;
        ensure!(matches!(reply.status, 200 | 201), "{path} was answered with {}: {}", reply.status, text(&reply));
        Ok(())
    }

    /// A step that must succeed.
    async fn done(&mut self, step: Step, path: &str, body: &str) -> anyhow::Result<()> {
        let begun = Instant::now();
        let reply = self.post(path, None, body).await?;
        ensure!(matches!(reply.status, 200 | 201), "{path} was answered with {}: {}", reply.status, text(&reply));
        self.took.push((step, begun.elapsed()));
        Ok(())
    }

    async fn post(&mut self, path: &str, wait_s: Option<u32>, body: &str) -> anyhow::Result<Reply> {
        self.ask(path, wait_s, Some((Uuid::new_v4(), body))).await
    }

    /// Asks until it is answered. What is lost, or refused for the moment, is sent again, to the next of the processes and
    /// under the same key, so that nothing is done twice.
    async fn ask(&mut self, path: &str, wait_s: Option<u32>, post: Option<(Uuid, &str)>) -> anyhow::Result<Reply> {
        let begun = Instant::now();
        loop {
            let why = match tokio::time::timeout(ANSWER_WITHIN, self.try_once(path, wait_s, post)).await {
                Ok(Ok(reply)) if !is_transient(reply.status) => return Ok(reply),
                Ok(Ok(reply)) => format!("it answers {}: {}", reply.status, text(&reply)),
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("it does not answer within {} s", ANSWER_WITHIN.as_secs()),
            };
            let process = self.processes[self.process];
            ensure!(begun.elapsed() < GIVE_UP_AFTER, "gave up asking {process} for {path}: {why}");
            self.connection = None;
            self.process = (self.process + 1) % self.processes.len();
            self.repeated += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn try_once(&mut self, path: &str, wait_s: Option<u32>, post: Option<(Uuid, &str)>) -> io::Result<Reply> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(Connection::open(self.processes[self.process]).await?),
        };
        connection.send(&Request { path, token: self.token.as_deref(), wait_s, post }).await
    }
}

fn text(reply: &Reply) -> String {
    String::from_utf8_lossy(&reply.body).into_owned()
}

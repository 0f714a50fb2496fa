//! A way to Postgres that can be cut, and that can lose what is sent over it.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// Passes TCP connections on to a port of this machine, until the test's runtime ends.
pub struct Proxy {
    port: u16,
    way: Arc<Way>,
}

struct Way {
    target: AtomicU16,
    /// What happens to the connections made since the last cut.
    fate: Mutex<Arc<Fate>>,
}

#[derive(Default)]
struct Fate {
    loses_requests: AtomicBool,
    loses_answers: AtomicBool,
    cut: CancellationToken,
}

impl Proxy {
    pub async fn to(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let way = Arc::new(Way { target: AtomicU16::new(target), fate: Mutex::default() });
        let accepting = way.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let target = accepting.target.load(Ordering::SeqCst);
                tokio::spawn(pass(client, target, accepting.fate()));
            }
        });
        Self { port, way }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on, what the client sends is lost.
    pub fn lose_requests(&self) {
        self.way.fate().loses_requests.store(true, Ordering::SeqCst);
    }

    /// From now on, what the server answers is lost.
    pub fn lose_answers(&self) {
        self.way.fate().loses_answers.store(true, Ordering::SeqCst);
    }

    /// New connections lose nothing; the old ones go on as they did.
    pub fn spare_new_connections(&self) {
        self.renew();
    }

    /// Ends all connections. New ones lose nothing; the old ones go on losing what they lost, up to their end.
    pub fn cut(&self) {
        self.renew().cut.cancel();
    }

    fn renew(&self) -> Arc<Fate> {
        std::mem::take(&mut *self.way.fate.lock().expect("no holder panics"))
    }

    /// Ends all connections; new ones lead to `target`.
    pub fn switch_to(&self, target: u16) {
        self.lead_new_connections_to(target);
        self.cut();
    }

    /// The old ones stay where they lead.
    pub fn lead_new_connections_to(&self, target: u16) {
        self.way.target.store(target, Ordering::SeqCst);
    }
}

impl Way {
    fn fate(&self) -> Arc<Fate> {
        self.fate.lock().expect("no holder panics").clone()
    }
}

async fn pass(client: TcpStream, target: u16, fate: Arc<Fate>) {
    // Where nobody listens the client's connection is closed, as it would be refused.
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = pump(from_client, to_server, &fate.loses_requests) => {}
        () = pump(from_server, to_client, &fate.loses_answers) => {}
        () = fate.cut.cancelled() => {}
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, loses: &AtomicBool) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if !loses.load(Ordering::SeqCst) && to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

//! Stands between us and a Typesense, or in the place of one, and holds what is said against the description of the API.

use crate::spec::Spec;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Names the file with the description.
pub const SPEC: &str = "KONTOR_TEST_TYPESENSE_SPEC";

/// Answers a request, told by operation and body, with status and body.
pub type Answering = Arc<dyn Fn(&str, &str) -> (u16, String) + Send + Sync>;

pub enum Other {
    /// A server, as host and port.
    Server(String),
    StandIn(Answering),
}

pub struct Between {
    pub url: String,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    wrong: Mutex<Vec<String>>,
    operations: Mutex<BTreeSet<String>>,
}

impl Between {
    /// `None`, and says so, if no description is named.
    pub fn and(other: Other) -> Option<Self> {
        let Some(path) = std::env::var_os(SPEC).map(PathBuf::from) else {
            eprintln!("NOT TESTED: {SPEC} names no description of Typesense's API");
            return None;
        };
        let spec = Arc::new(Spec::read(&path));
        let seen = Arc::new(Seen::default());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("it can wait");
        let address: SocketAddr = listener.local_addr().expect("it has an address");
        let listener = TcpListener::from_std(listener).expect("a runtime");
        let (other, known) = (Arc::new(other), seen.clone());
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, spec.clone(), other.clone(), known.clone()));
            }
        });
        Some(Between { url: format!("http://{address}"), seen })
    }

    pub fn operations(&self) -> BTreeSet<String> {
        self.seen.operations.lock().expect("nobody has failed").clone()
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        let wrong = std::mem::take(&mut *self.seen.wrong.lock().expect("nobody has failed"));
        if !std::thread::panicking() {
            assert!(wrong.is_empty(), "the description does not allow:\n{}", wrong.join("\n"));
        }
    }
}

/// Start line, headers in small letters, body.
struct Message {
    start: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Message {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(of, _)| of == name).map(|(_, value)| value.as_str())
    }

    /// `None`: the other has gone.
    async fn read(from: &mut (impl AsyncBufReadExt + Unpin)) -> Option<Message> {
        let mut start = String::new();
        from.read_line(&mut start).await.ok().filter(|&bytes| bytes > 0)?;
        let mut message = Message { start: start.trim_end().to_owned(), headers: Vec::new(), body: Vec::new() };
        loop {
            let mut line = String::new();
            from.read_line(&mut line).await.ok()?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            message.headers.push((name.to_lowercase(), value.trim().to_owned()));
        }
        if message.header("transfer-encoding") == Some("chunked") {
            loop {
                let mut size = String::new();
                from.read_line(&mut size).await.ok()?;
                let mut chunk = vec![0; usize::from_str_radix(size.trim(), 16).ok()? + 2];
                from.read_exact(&mut chunk).await.ok()?;
                chunk.truncate(chunk.len() - 2);
                if chunk.is_empty() {
                    break;
                }
                message.body.extend(chunk);
            }
        } else {
            let length = message.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            message.body.resize(length, 0);
            from.read_exact(&mut message.body).await.ok()?;
        }
        Some(message)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

async fn serve(connection: TcpStream, spec: Arc<Spec>, other: Arc<Other>, seen: Arc<Seen>) {
    let mut connection = BufReader::new(connection);
    while let Some(request) = Message::read(&mut connection).await {
        let (method, rest) = request.start.split_once(' ').expect("a request");
        let target = rest.split(' ').next().expect("a target");
        let url = url::Url::parse(&format!("http://typesense{target}")).expect("a URL");
        let query: Vec<_> = url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        let operation = spec.operation(method, url.path());
        let note = |wrong: Vec<String>| seen.wrong.lock().expect("nobody has failed").extend(wrong);
        match &operation {
            Ok(operation) => {
                seen.operations.lock().expect("nobody has failed").insert(operation.id.to_owned());
                note(spec.check_request(operation, &query, &request.text()));
            }
            Err(wrong) => note(vec![wrong.clone()]),
        }
        if request.header("x-typesense-api-key").is_none() {
            note(vec![format!("{method} {target} says not who asks")]);
        }
        let id = operation.as_ref().map_or("", |operation| operation.id);
        let (status, kind, body) = match &*other {
            Other::StandIn(answering) => {
                let (status, body) = answering(id, &request.text());
                (status, "application/json; charset=utf-8".to_owned(), body)
            }
            Other::Server(address) => ask(address, &request).await,
        };
        if let Ok(operation) = &operation {
            note(spec.check_answer(operation, status, &body));
        }
        let head = format!("HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len());
        let sent = connection.get_mut().write_all(format!("{head}{body}").as_bytes()).await;
        if sent.is_err() {
            return;
        }
    }
}

/// Status, kind and text of what a server answers.
async fn ask(address: &str, request: &Message) -> (u16, String, String) {
    let mut server = TcpStream::connect(address).await.expect("the server that KONTOR_SEARCH_URL names");
    let mut head = format!("{}\r\n", request.start);
    for (name, value) in request.headers.iter().filter(|(name, _)| !["connection", "host"].contains(&name.as_str())) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("host: {address}\r\nconnection: close\r\n\r\n"));
    server.write_all(head.as_bytes()).await.expect("it reads");
    server.write_all(&request.body).await.expect("it reads");
    let answer = Message::read(&mut BufReader::new(server)).await.expect("it answers");
    let status = answer.start.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, answer.header("content-type").unwrap_or_default().to_owned(), answer.text())
}

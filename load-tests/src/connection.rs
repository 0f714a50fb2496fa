//! One HTTP/1.1 connection to one of the APIs, for many small requests one after another.
//!
//! The load generator shares the machine with what it measures, so it may cost next to nothing: a request is written into
//! one buffer, and of an answer only status, length and body are read (RFC 9112, as far as the APIs use it).

use bytes::{Bytes, BytesMut};
use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

/// Room for an answer, in bytes; a larger one takes several reads.
const READ: usize = 4_096;

/// A connection that is kept. After an error it is of no more use.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    sent: Vec<u8>,
    received: BytesMut,
}

/// What to ask.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub path: &'a str,
    /// Who asks; a guest without one.
    pub token: Option<&'a str>,
    /// How long the answer may wait for the order to be settled, in seconds.
    pub wait_s: Option<u32>,
    /// The idempotency key and the JSON that is posted under it; `None`: nothing is posted, something is asked.
    pub post: Option<(Uuid, &'a str)>,
}

/// What was answered.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub body: Bytes,
    /// Up to the body.
    head: Bytes,
}

impl Reply {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = std::str::from_utf8(&self.head).ok()?.split("\r\n");
        lines.find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// Whether the body has this text somewhere: all that is asked of most.
    pub fn says(&self, text: &str) -> bool {
        self.body.windows(text.len()).any(|window| window == text.as_bytes())
    }
}

impl Connection {
    pub async fn open(to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, sent: Vec::new(), received: BytesMut::new() })
    }

    /// Sends one request and waits for its answer.
    pub async fn send(&mut self, request: &Request<'_>) -> io::Result<Reply> {
        self.sent.clear();
        request.write(&mut self.sent)?;
        self.stream.write_all(&self.sent).await?;
        self.answer().await
    }

    /// The same with a request that was written before.
    pub async fn send_written(&mut self, request: &[u8]) -> io::Result<Reply> {
        self.stream.write_all(request).await?;
        self.answer().await
    }

    async fn answer(&mut self) -> io::Result<Reply> {
        let head = loop {
            if let Some(head) = Head::read(&self.received)? {
                break head;
            }
            self.receive().await?;
        };
        while self.received.len() < head.length + head.body_length {
            self.receive().await?;
        }
        let mut answer = self.received.split_to(head.length + head.body_length);
        let body = answer.split_off(head.length).freeze();
        Ok(Reply { status: head.status, body, head: answer.freeze() })
    }

    async fn receive(&mut self) -> io::Result<()> {
        self.received.reserve(READ);
        match self.stream.read_buf(&mut self.received).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

impl Request<'_> {
    /// As it is sent.
    pub fn written(&self) -> Vec<u8> {
        let mut written = Vec::new();
        self.write(&mut written).expect("memory can be written to");
        written
    }

    fn write(&self, to: &mut Vec<u8>) -> io::Result<()> {
        let method = if self.post.is_some() { "POST" } else { "GET" };
        write!(to, "{method} {} HTTP/1.1\r\nHost: localhost\r\n", self.path)?;
        if let Some(token) = self.token {
            write!(to, "Authorization: Bearer {token}\r\n")?;
        }
        if let Some(wait_s) = self.wait_s {
            write!(to, "Prefer: wait={wait_s}\r\n")?;
        }
        match self.post {
            Some((key, body)) => write!(
                to,
                "Idempotency-Key: {key}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ),
            None => write!(to, "\r\n"),
        }
    }
}

/// What must be known of an answer before its body.
#[derive(Debug, PartialEq)]
struct Head {
    status: u16,
    /// Up to where the body begins, in bytes.
    length: usize,
    body_length: usize,
}

impl Head {
    /// `None`: more is to come.
    fn read(received: &[u8]) -> io::Result<Option<Self>> {
        let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
        let invalid = || io::Error::from(ErrorKind::InvalidData);
        let text = std::str::from_utf8(&received[..end]).map_err(|_| invalid())?;
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
        let length = lines.find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        });
        // Without a length it would be chunked, which no answer to a single command is.
        let (status, body_length) = status.zip(length).ok_or_else(invalid)?;
        Ok(Some(Self { status, length: end + 4, body_length }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_when_all_of_it_has_come() {
        let answer = b"HTTP/1.1 201 Created\r\nETag: \"1\"\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(Head::read(&answer[..40]).expect("so far so good"), None);
        let head = Head { status: 201, length: answer.len() - 2, body_length: 2 };
        assert_eq!(Head::read(answer).expect("an answer"), Some(head));
    }

    #[test]
    fn a_header_is_found_whatever_its_case() {
        let head = Bytes::from_static(b"HTTP/1.1 200 OK\r\nkontor-position: 17\r\nContent-Length: 0\r\n\r\n");
        let reply = Reply { status: 200, body: Bytes::new(), head };
        assert_eq!(reply.header("Kontor-Position"), Some("17"));
        assert_eq!(reply.header("ETag"), None);
    }

    #[test]
    fn an_answer_without_a_length_is_refused() {
        assert!(Head::read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
    }

    #[test]
    fn a_command_is_written_with_its_key_and_a_question_without() {
        let written = |request: Request<'_>| String::from_utf8(request.written()).expect("text");
        let question = Request { path: "/v1/carts/1", token: Some("t"), wait_s: None, post: None };
        let expected = "GET /v1/carts/1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer t\r\n\r\n";
        assert_eq!(written(question), expected);
        let command = Request { token: None, wait_s: Some(30), post: Some((Uuid::nil(), "{}")), ..question };
        let expected = "POST /v1/carts/1 HTTP/1.1\r\nHost: localhost\r\nPrefer: wait=30\r\n\
                        Idempotency-Key: 00000000-0000-0000-0000-000000000000\r\n\
                        Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(written(command), expected);
    }
}

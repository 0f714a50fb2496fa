//! All that a platform stores, byte for byte.

use crate::Running;
use crate::plaintext::Plaintext;
use async_nats::jetstream;
use kontor_event_schemas::subject::STREAM;
use kontor_local::Postgres;
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The mail sink's folder stands for the mailboxes of customers, where what was sent is theirs.
const MAILBOX: &str = "mails";

/// A word, and where it was seen.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sighting {
    pub word: &'static str,
    pub place: String,
}

/// Where the words are: in every row of every table, every message of the stream, every key of Redis, and every file.
pub async fn search(running: &Running, plaintext: &Plaintext) -> BTreeSet<Sighting> {
    let mut sightings = BTreeSet::new();
    let mut look = |place: &dyn Fn() -> String, bytes: &[u8]| {
        sightings.extend(plaintext.seen_in(bytes).into_iter().map(|word| Sighting { word, place: place() }));
    };
    let platform = &running.platform;
    for (name, postgres) in [("primary", platform.postgres()), ("replica", platform.replica())] {
        for row in rows(postgres).await.lines() {
            look(&|| format!("{name} {}", row.split(' ').next().unwrap_or_default()), row.as_bytes());
        }
        postgres.sql("checkpoint").await.expect("it writes all that it has into its files");
    }
    for (number, message) in messages(&platform.nats().url()).await.iter().enumerate() {
        look(&|| format!("message {}", number + 1), message);
    }
    write_redis_to_its_file(platform.redis().port()).await;
    let mut files = files(running.folder.path());
    files.retain(|file| !file.starts_with(running.folder.path().join(MAILBOX)));
    for name in ["kontor-command.log", "kontor-query.log", "postgres.log", "nats.log", "redis.log", "dump.rdb"] {
        assert!(files.iter().any(|file| file.ends_with(name)), "{name} is not among the files");
    }
    for file in files {
        match fs::read(&file) {
            Ok(bytes) => look(&|| format!("file {}", file.display()), &bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => {} // A server has removed it meanwhile.
            Err(error) => panic!("{}: {error}", file.display()),
        }
    }
    sightings
}

/// Each row of every table, those of the system too, as a line of text behind the name of its table.
async fn rows(postgres: &Postgres) -> String {
    let every_table = "select string_agg(format('select %L || t::text from %I.%I t',
             schemaname || '.' || tablename || ' ', schemaname, tablename), ' union all ')
         from pg_tables";
    let statement = postgres.sql(every_table).await.expect("it has tables");
    postgres.sql(&statement).await.expect("they can be read")
}

/// Subject, headers and payload of each.
async fn messages(url: &str) -> Vec<Vec<u8>> {
    let context = jetstream::new(async_nats::connect(url).await.expect("NATS takes connections"));
    let mut stream = context.get_stream(STREAM).await.expect("the relay has made it");
    let state = stream.info().await.expect("it tells").state.clone();
    let mut messages = Vec::new();
    for sequence in state.first_sequence..=state.last_sequence {
        let message = stream.get_raw_message(sequence).await.expect("nothing is ever removed");
        messages.push([format!("{} {:?} ", message.subject, message.headers).as_bytes(), &message.payload].concat());
    }
    messages
}

/// Uncompressed, so that what it holds can be seen.
async fn write_redis_to_its_file(port: u16) {
    let answer = redis(port, "CONFIG SET rdbcompression no\r\nSAVE\r\n").await;
    assert_eq!(answer, "+OK\r\n+OK\r\n+OK\r\n");
}

/// What Redis answers to commands, and to a farewell.
pub async fn redis(port: u16, commands: &str) -> String {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).await.expect("it takes connections");
    connection.write_all(format!("{commands}QUIT\r\n").as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.expect("it answers");
    answer
}

/// Every file below `folder`.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() => files.push(entry.path()),
                _ => {} // A socket or a link; what it leads to is elsewhere.
            }
        }
    }
    files
}

//! Many commands in one request: NDJSON in, one result line a command out, in the order of the commands.
//!
//! Each line is a command of its own, with its own idempotency key: a bulk that was cut off is sent again as it is. The
//! commands are decided in order while earlier ones are still being written, and share the log's commits.

use super::context::{Request, check_key, key};
use super::fields::{Fields, InvalidField};
use super::problem::Problem;
use super::routes::{HttpSettings, media_type, status};
use crate::command::{Command, Spec};
use crate::executor::{Context, Done, Executor, Expects, Submitted};
use actix_web::web::{Bytes, BytesMut, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use futures::future::{Either, FutureExt, ready};
use futures::stream::{FuturesOrdered, StreamExt};
use kontor_event_store::Key;
use kontor_identity::Permission;
use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde_json::json;
use std::sync::Arc;
use tokio::sync::mpsc;

/// What a bulk is sent and answered as.
pub const NDJSON: &str = "application/x-ndjson";
/// Commands of one bulk that are on their way to the log at once.
const IN_FLIGHT_MAX: usize = 1_024;
/// Lines whose keys are looked up at once.
const CHUNK_LINES: usize = 256;
/// Lines of one bulk. The results of a client that reads none until it has sent all are kept in memory.
const LINES_MAX: u64 = 100_000;

/// A line of a bulk: a command's name, its key, and its fields, those that its path would give among them.
#[derive(JsonSchema)]
#[schemars(rename = "BulkLine", transform = named)]
#[expect(dead_code, reason = "only described: a line is read field by field")]
pub struct Line {
    /// The idempotency key of this command, 1 to 255 bytes.
    key: String,
    command: String,
}

/// A command has one of the names that there are.
fn named(schema: &mut Schema) {
    if let Some(command) = schema.pointer_mut("/properties/command") {
        command["enum"] = json!(crate::command::NAMES);
    }
}

/// Result of one line.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "BulkResult")]
pub struct LineResult<'a> {
    /// Number of the line, from 1. Empty lines count and have no result.
    line: u64,
    /// The line's idempotency key, if it could be read.
    key: Option<&'a str>,
    /// The status that the command would have on its own path.
    status: u16,
    #[serde(flatten)]
    outcome: Outcome<'a>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
enum Outcome<'a> {
    Done { id: &'a str, version: i64, position: i64, replayed: bool },
    Problem { problem: Problem },
}

/// `POST /v1/bulk`: 200 with a result line for each command, whatever became of it.
pub async fn bulk(
    request: HttpRequest,
    payload: Payload,
    executor: Data<Arc<Executor>>,
    settings: Data<HttpSettings>,
) -> Result<HttpResponse, Problem> {
    let ours = Request::of(&request)?;
    ours.caller().may(Permission::SendBulk)?;
    media_type(&request, NDJSON)?;
    let (results, to_send) = mpsc::unbounded_channel();
    let bulk = Bulk {
        request: ours,
        executor: Arc::clone(&executor),
        lines: Lines {
            payload,
            buffer: BytesMut::new(),
            number: 0,
            ended: false,
            longest: settings.bulk_line_bytes_max,
        },
        results,
    };
    actix_web::rt::spawn(bulk.run());
    let body = futures::stream::unfold(to_send, async |mut to_send| {
        let chunk: Bytes = to_send.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(chunk), to_send))
    });
    Ok(HttpResponse::Ok().content_type(NDJSON).streaming(body))
}

struct Bulk {
    request: Request,
    executor: Arc<Executor>,
    lines: Lines,
    results: mpsc::UnboundedSender<Bytes>,
}

/// One line, read.
struct Parsed {
    line: u64,
    key_text: Option<String>,
    command: Result<(Command, Context), Problem>,
}

/// One line, on its way to the log or settled already.
struct Decided<'e> {
    line: u64,
    key_text: Option<String>,
    outcome: Result<Submitted<'e, Command>, Result<Done, Problem>>,
}

impl Bulk {
    /// Decides the lines while those before them are settled. Both go on whatever the other waits for: a command that is
    /// decided anew holds aggregates that the next line may need, and connections to the log.
    async fn run(mut self) {
        let (executor, trace, results) = (self.executor.clone(), self.request.trace(), self.results.clone());
        let (to_settle, mut decided) = mpsc::channel(1);
        let deciding = async {
            while !self.lines.ended {
                let chunk = self.lines.next().await;
                for (parsed, known) in self.parse(chunk).await {
                    if to_settle.send(self.decide(&executor, parsed, known).await).await.is_err() {
                        return;
                    }
                }
            }
            drop(to_settle);
        };
        let settling = async {
            let mut in_flight = FuturesOrdered::new();
            loop {
                tokio::select! {
                    Some(result) = in_flight.next(), if !in_flight.is_empty() => {
                        let mut chunk: Vec<u8> = result;
                        while let Some(Some(result)) = in_flight.next().now_or_never() {
                            chunk.extend_from_slice(&result);
                        }
                        if results.send(chunk.into()).is_err() {
                            return decided.close(); // The client has gone; what was decided is written all the same.
                        }
                    }
                    Some(Decided { line, key_text, outcome }) = decided.recv(), if in_flight.len() < IN_FLIGHT_MAX => {
                        let outcome = match outcome {
                            Ok(submitted) => Either::Left(submitted.finish().map(|done| done.map_err(Problem::from))),
                            Err(outcome) => Either::Right(ready(outcome)),
                        };
                        in_flight.push_back(outcome.map(move |outcome| {
                            result_line(line, key_text.as_deref(), outcome.map_err(|problem| problem.in_trace(trace)))
                        }));
                    }
                    else => return,
                }
            }
        };
        tokio::join!(deciding, settling);
    }

    async fn decide<'e>(
        &self,
        executor: &'e Executor,
        Parsed { line, key_text, command }: Parsed,
        known: Option<Result<Done, Problem>>,
    ) -> Decided<'e> {
        let outcome = match (command, known) {
            (Ok(_), Some(first)) => Err(first),
            (Ok((command, context)), None) => {
                executor.submit(context, command).await.map_err(|failure| Err(failure.into()))
            }
            (Err(problem), _) => Err(Err(problem)),
        };
        Decided { line, key_text, outcome }
    }

    /// Reads the lines of `chunk`, each with its first outcome if its key is known: a bulk that is sent again is answered
    /// without deciding its commands anew.
    async fn parse(&self, chunk: Vec<(u64, Result<Bytes, Problem>)>) -> Vec<(Parsed, Option<Result<Done, Problem>>)> {
        let parsed: Vec<_> = chunk.into_iter().map(|(line, text)| self.parse_line(line, text)).collect();
        let keys: Vec<Key> =
            parsed.iter().filter_map(|parsed| parsed.command.as_ref().ok()).map(|(_, context)| context.key).collect();
        // When the log cannot be asked now, each command finds out by itself.
        let mut outcomes = self.executor.outcomes(&keys).await.unwrap_or_default().into_iter();
        parsed
            .into_iter()
            .map(|parsed| {
                let known = match &parsed.command {
                    Ok((_, context)) => outcomes.next().flatten().map(|outcome| {
                        if context.key.led_to(&outcome) {
                            Ok(Done::from(outcome))
                        } else {
                            Err(crate::executor::Failure::KeyReused.into())
                        }
                    }),
                    Err(_) => None,
                };
                (parsed, known)
            })
            .collect()
    }

    fn parse_line(&self, line: u64, text: Result<Bytes, Problem>) -> Parsed {
        let mut key_text = None;
        let command = text.and_then(|text| {
            let mut fields = Fields::parse(&text).map_err(|error| Problem::malformed(error.to_string()))?;
            let missing = |field: &str| InvalidField { field: field.into(), rule: "is missing, or is not text".into() };
            let given = &*key_text.insert(fields.take("key").ok_or_else(|| missing("key"))?);
            check_key(given).map_err(|rule| InvalidField { field: "key".into(), rule })?;
            let name = fields.take("command").ok_or_else(|| missing("command"))?;
            let caller = self.request.caller();
            let unknown = || Problem::unknown_command(&name);
            caller.may(Spec::of(&name).ok_or_else(unknown)?.permission)?;
            let context = self.request.command(key(caller, given, &name, &fields), Expects::Anything);
            let command = Command::read(&name, &fields).ok_or_else(unknown)??;
            Ok((command, context))
        });
        Parsed { line, key_text, command }
    }
}

fn result_line(line: u64, key: Option<&str>, outcome: Result<Done, Problem>) -> Vec<u8> {
    let (status, outcome) = match &outcome {
        Ok(done) => {
            let Done { id, version, position, replayed, .. } = done;
            let outcome = Outcome::Done { id, version: *version, position: *position, replayed: *replayed };
            (status(done), outcome)
        }
        Err(problem) => (problem.status(), Outcome::Problem { problem: problem.clone() }),
    };
    let result = LineResult { line, key, status: status.as_u16(), outcome };
    let mut bytes = serde_json::to_vec(&result).expect("a result has a JSON form");
    bytes.push(b'\n');
    bytes
}

/// The lines of a body, as they arrive.
struct Lines {
    payload: Payload,
    buffer: BytesMut,
    number: u64,
    ended: bool,
    longest: usize,
}

impl Lines {
    /// What has arrived, up to [`CHUNK_LINES`]; waits for at least one line or the end. May be dropped and called again.
    async fn next(&mut self) -> Vec<(u64, Result<Bytes, Problem>)> {
        let mut lines = Vec::new();
        loop {
            while lines.len() < CHUNK_LINES
                && let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n')
            {
                let line = self.buffer.split_to(end + 1).freeze();
                self.push(line.slice(..end), &mut lines);
            }
            if !lines.is_empty() || self.ended {
                return lines;
            }
            if self.buffer.len() > self.longest {
                self.end(Problem::too_large(self.longest), &mut lines);
                return lines;
            }
            match self.payload.next().await {
                Some(Ok(bytes)) => self.buffer.extend_from_slice(&bytes),
                Some(Err(error)) => {
                    self.end(Problem::malformed(format!("the body ended early: {error}")), &mut lines);
                    return lines;
                }
                None => {
                    let rest = std::mem::take(&mut self.buffer).freeze();
                    self.push(rest, &mut lines);
                    self.ended = true;
                }
            }
        }
    }

    fn push(&mut self, line: Bytes, lines: &mut Vec<(u64, Result<Bytes, Problem>)>) {
        if self.ended {
            return;
        }
        self.number += 1;
        if line.len() > self.longest || self.number > LINES_MAX {
            let problem = if line.len() > self.longest {
                Problem::too_large(self.longest)
            } else {
                Problem::malformed(format!("a bulk may have at most {LINES_MAX} lines; send the rest in another"))
            };
            self.number -= 1;
            self.end(problem, lines);
        } else if !line.iter().all(u8::is_ascii_whitespace) {
            lines.push((self.number, Ok(line)));
        }
    }

    /// Nothing after this line is read.
    fn end(&mut self, problem: Problem, lines: &mut Vec<(u64, Result<Bytes, Problem>)>) {
        self.number += 1;
        lines.push((self.number, Err(problem)));
        self.ended = true;
        self.buffer.clear();
    }
}

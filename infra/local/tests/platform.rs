//! `kontor-local` with the real tiers, which `infra/test` builds first.

use kontor_identity::Role;
use kontor_local::{Folder, Identity, PlatformPorts, http_get, ports};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn kontor_local(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kontor-local"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// What it printed, both kinds.
fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn free_base() -> u16 {
    ports::free_block(PlatformPorts::SPAN)
}

/// Ends a detached platform also when the test fails.
struct Down<'a>(&'a str);

impl Drop for Down<'_> {
    fn drop(&mut self) {
        let _ = kontor_local(&["down", "--data", self.0]).output();
    }
}

fn register_teapot(port: u16, data: &str) -> String {
    let identity = Identity::in_folder(&Path::new(data).join("identity")).expect("the platform's key");
    let token = identity.token("test", Role::Staff, None);
    let body = r#"{"sku":"TEAPOT","name":"Teapot"}"#;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the command API listens");
    write!(
        stream,
        "POST /v1/products HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nIdempotency-Key: teapot\r\n\
         Authorization: Bearer {token}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

/// Step 1: up in the background. Step 2: a write. Step 3: others are refused. Step 4: down. Step 5: up again, where the write
/// is still known. Step 6: a fresh one, where it is not.
#[tokio::test]
async fn up_finds_its_data_again_until_told_to_forget_it() {
    let folder = Folder::temporary("platform").expect("a folder");
    let data = folder.path().join("data").display().to_string();
    let base = free_base();
    let port_base = base.to_string();
    let up = ["up", "--detach", "--data", &data, "--port-base", &port_base];
    let _down = Down(&data);

    let output = kontor_local(&up).output().expect("it runs");
    assert!(output.status.success() && said(&output).contains("Kontor is ready"), "{}", said(&output));
    let status = kontor_local(&["status", "--data", &data, "--json"]).output().expect("it runs");
    assert!(status.status.success() && said(&status).contains("\"ready\": true"), "{}", said(&status));

    let answer = register_teapot(base, &data);
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");

    let output = kontor_local(&up).output().expect("it runs");
    assert!(
        !output.status.success() && said(&output).contains("is in use by another kontor-local"),
        "{}",
        said(&output)
    );
    let elsewhere = folder.path().join("elsewhere").display().to_string();
    let output = kontor_local(&["up", "--data", &elsewhere, "--port-base", &port_base]).output().expect("it runs");
    let expected = format!("{base} (the command API)");
    assert!(!output.status.success() && said(&output).contains(&expected), "{}", said(&output));

    let output = kontor_local(&["down", "--data", &data]).output().expect("it runs");
    assert!(output.status.success(), "{}", said(&output));
    assert!(PlatformPorts::from_base(base).in_use().is_empty());
    assert!(!kontor_local(&["status", "--data", &data]).output().expect("it runs").status.success());

    let output = kontor_local(&up).output().expect("it runs");
    assert!(output.status.success(), "{}", said(&output));
    let answer = register_teapot(base, &data);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"replayed\":true"), "{answer}");
    let mut product = (0, String::new());
    for _ in 0..200 {
        product = http_get(base + 1, "/v1/products/TEAPOT").await.expect("the query API answers");
        if product.0 == 200 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(product.0 == 200 && product.1.contains("Teapot"), "{product:?}");
    let output = kontor_local(&["down", "--data", &data]).output().expect("it runs");
    assert!(output.status.success(), "{}", said(&output));

    let output = kontor_local(&up).arg("--fresh").output().expect("it runs");
    assert!(output.status.success(), "{}", said(&output));
    let answer = register_teapot(base, &data);
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}

/// Step 1: up. Step 2: NATS is killed. Step 3: all others end, and one line says why.
#[tokio::test]
async fn a_server_that_dies_takes_the_others_along() {
    let folder = Folder::temporary("platform").expect("a folder");
    let data = folder.path().join("data").display().to_string();
    let base = free_base();
    let mut up = kontor_local(&["up", "--data", &data, "--port-base", &base.to_string()]);
    let mut up = up.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let nats = loop {
        if up.try_wait().expect("it can be asked").is_some() {
            panic!("{}", said(&up.wait_with_output().expect("it has ended")));
        }
        let status = kontor_local(&["status", "--data", &data, "--json"]).output().expect("it runs");
        if status.status.success() {
            let status: serde_json::Value = serde_json::from_slice(&status.stdout).expect("JSON");
            let mut processes = status["processes"].as_array().expect("a list").iter();
            let nats = processes.find(|process| process["name"] == "NATS").expect("it is there");
            break nats["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).expect("a process id");
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    let nats = rustix::process::Pid::from_raw(nats).expect("not 0");
    rustix::process::kill_process(nats, rustix::process::Signal::KILL).expect("it runs");
    let output = up.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let log = Path::new(&data).join("nats/nats.log");
    let expected = format!("NATS ended unexpectedly (signal: 9 (SIGKILL)); its log is {}", log.display());
    assert!(errors.contains(&expected), "{errors}");
    assert!(PlatformPorts::from_base(base).in_use().is_empty());
}

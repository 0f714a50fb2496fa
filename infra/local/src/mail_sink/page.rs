//! The page on which a person reads the mails, and the same as JSON for programs.
//!
//! What a mail contains is somebody else's: its page is shown in a frame that may do nothing.

use super::behaviour::{Behaviour, Behaviours};
use super::store::{Mail, Store};
use crate::Error;
use actix_web::dev::ServerHandle;
use actix_web::error::ErrorNotFound;
use actix_web::http::header::{CONTENT_SECURITY_POLICY, ContentType};
use actix_web::web::{self, Data, Json, Path, Query};
use actix_web::{App, HttpResponse, HttpServer};
use minijinja::value::Serde;
use minijinja::{Environment, context};
use serde::Deserialize;
use serde_json::json;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

const PAGE: &str = include_str!("page.html");
const NOTHING_BUT_LOOKS: &str = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:";
const SHOWN_DEFAULT: usize = 100;

#[derive(Deserialize)]
struct Shown {
    /// The newest so many.
    limit: Option<usize>,
}

/// Serves on 127.0.0.1; the port, which is free if `port` is 0.
pub fn serve(store: Arc<Store>, behaviours: Arc<Behaviours>, port: u16) -> Result<(ServerHandle, u16), Error> {
    let address = (Ipv4Addr::LOCALHOST, port);
    let (store, behaviours) = (Data::from(store), Data::from(behaviours));
    let server = HttpServer::new(move || {
        App::new()
            .app_data(store.clone())
            .app_data(behaviours.clone())
            .route("/", web::get().to(list))
            .route("/read/{number}", web::get().to(read))
            .route("/mails", web::get().to(mails))
            .route("/mails/{number}", web::get().to(mail))
            .route("/mails/{number}/html", web::get().to(html))
            .route("/mails/{number}/raw", web::get().to(raw))
            .route("/behaviours/{recipient}", web::put().to(behave))
            .route("/behaviours", web::delete().to(behave_well))
            .route("/readyz", web::get().to(HttpResponse::Ok))
    })
    .workers(1)
    .disable_signals()
    .bind(address)
    .map_err(Error::io(format!("cannot listen at {}:{port}", Ipv4Addr::LOCALHOST)))?;
    let port = server.addrs().first().map_or(port, |address| address.port());
    let server = server.run();
    let handle = server.handle();
    tokio::spawn(server);
    Ok((handle, port))
}

async fn list(store: Data<Store>, shown: Query<Shown>) -> actix_web::Result<HttpResponse> {
    show(&store, shown.limit, None)
}

async fn read(store: Data<Store>, number: Path<u64>, shown: Query<Shown>) -> actix_web::Result<HttpResponse> {
    show(&store, shown.limit, Some(find(&store, *number)?))
}

fn show(store: &Store, limit: Option<usize>, read: Option<Mail>) -> actix_web::Result<HttpResponse> {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mails = store.mails(limit.unwrap_or(SHOWN_DEFAULT));
    let mut environment = Environment::new();
    environment.add_filter("age", move |received_at_s: u64| age(now_s.saturating_sub(received_at_s)));
    let values = context! { mails => Serde(mails), total => store.count(), read => Serde(read) };
    let page =
        environment.render_named_str("page.html", PAGE, values).map_err(actix_web::error::ErrorInternalServerError)?;
    Ok(HttpResponse::Ok().content_type(ContentType::html()).body(page))
}

/// `3 min ago`.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s ago"),
        60..3_600 => format!("{} min ago", seconds / 60),
        3_600..86_400 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

/// `{"total", "mails": [...]}`, the newest first.
async fn mails(store: Data<Store>, shown: Query<Shown>) -> HttpResponse {
    let mails = store.mails(shown.limit.unwrap_or(SHOWN_DEFAULT));
    HttpResponse::Ok().json(json!({ "total": store.count(), "mails": mails }))
}

async fn mail(store: Data<Store>, number: Path<u64>) -> actix_web::Result<Json<Mail>> {
    Ok(Json(find(&store, *number)?))
}

async fn html(store: Data<Store>, number: Path<u64>) -> actix_web::Result<HttpResponse> {
    let mail = find(&store, *number)?;
    let policy = (CONTENT_SECURITY_POLICY, NOTHING_BUT_LOOKS);
    Ok(HttpResponse::Ok().insert_header(policy).content_type(ContentType::html()).body(mail.html))
}

async fn raw(store: Data<Store>, number: Path<u64>) -> actix_web::Result<HttpResponse> {
    let raw = store.raw(find(&store, *number)?.number)?;
    Ok(HttpResponse::Ok().content_type(ContentType::plaintext()).body(raw))
}

/// As [`super::MailSink::behave`]: `{"refuse": {"code": 451, "times": 2}}`, `{"keep-and-hang-up": {}}`, `{"keep-and-say-nothing": {}}`.
async fn behave(behaviours: Data<Behaviours>, recipient: Path<String>, behaviour: Json<Behaviour>) -> HttpResponse {
    behaviours.set(&recipient, behaviour.into_inner());
    HttpResponse::NoContent().finish()
}

async fn behave_well(behaviours: Data<Behaviours>) -> HttpResponse {
    behaviours.clear();
    HttpResponse::NoContent().finish()
}

fn find(store: &Store, number: u64) -> actix_web::Result<Mail> {
    store.mail(number).ok_or_else(|| ErrorNotFound(format!("there is no mail {number}")))
}

#[cfg(test)]
mod tests {
    use super::super::MailSink;
    use crate::{Folder, http_get, ports};

    #[tokio::test]
    async fn a_person_reads_the_mails_and_what_they_contain_stays_in_its_frame() {
        let folder = Folder::temporary("page").expect("a folder");
        let port = ports::free();
        let sink = MailSink::start(folder.path(), 0, port, 10).await.expect("the sink starts");
        let mail = b"From: <a@example.org>\r\nSubject: <b>Hello</b>\r\nContent-Type: text/html\r\n\r\n<script>alert(1)</script>";
        for _ in 0..2 {
            sink.store.keep("a@example.org", &["b@example.org".into()], mail).expect("it is kept");
        }
        let get = async |path| http_get(port, path).await.expect("an answer");
        let (status, list) = get("/").await;
        assert!(status == 200 && list.contains("&lt;b&gt;Hello") && !list.contains("<b>Hello"), "{list}");
        let (status, page) = get("/read/2").await;
        assert!(status == 200 && page.contains("sandbox") && !page.contains("<script>alert"), "{page}");
        let (_, mails) = get("/mails?limit=1").await;
        let mails: serde_json::Value = serde_json::from_str(&mails).expect("JSON");
        assert_eq!((&mails["total"], &mails["mails"][0]["number"]), (&2.into(), &2.into()));
        assert_eq!(mails["mails"][0]["recipients"][0], "b@example.org");
        assert_eq!(get("/mails/1/html").await.1, "<script>alert(1)</script>");
        assert!(get("/mails/1/raw").await.1.contains("Delivered-To: b@example.org\r\n"));
        assert_eq!(get("/mails/3").await.0, 404);
    }
}

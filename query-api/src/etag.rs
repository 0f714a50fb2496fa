//! Entity tags (RFC 9110, section 8.8.3). A row's tag is the position of the last event folded into it. It is weak: the same
//! row may be written in another form by another release.

use crate::consistency::POSITION;
use actix_web::http::header::{CACHE_CONTROL, ContentType, ETag, EntityTag, Header, IfNoneMatch, VARY};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use kontor_identity::{Caller, Role};
use serde::Serialize;
use std::hash::{DefaultHasher, Hash, Hasher};

/// How long what everybody may see may be kept, before it is to be asked for again.
const EVERYBODY: &str = "public, max-age=5";
/// The same of what changes with every sale.
const EVERYBODY_BRIEFLY: &str = "public, max-age=1";
/// What one caller may see may be kept by them, if they ask each time whether it still is so.
const ONE_CALLER: &str = "private, no-cache";
/// What is somebody's own is not kept.
const NOBODY: &str = "no-store";

/// The tag of what the event at `position` has made.
pub fn of(position: i64) -> ETag {
    ETag(EntityTag::new_weak(position.to_string()))
}

/// The tag of the same without the personal data that was in it.
pub fn of_erased(position: i64) -> ETag {
    ETag(EntityTag::new_weak(format!("{position}-erased")))
}

/// The tag of what is answered as it is kept: FNV-1a of 64 bits of its bytes (<http://www.isthe.com/chongo/tech/comp/fnv/>), so
/// that it is the same whichever store has answered.
fn of_content(content: &[u8]) -> ETag {
    let hash = content
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    ETag(EntityTag::new_weak(format!("{hash:016x}")))
}

/// The tag of a list, from what its rows are known by and where each has changed last.
pub fn of_rows<T: Hash>(rows: impl Iterator<Item = T>) -> ETag {
    let mut hasher = DefaultHasher::new();
    rows.for_each(|row| row.hash(&mut hasher));
    ETag(EntityTag::new_weak(format!("{:x}", hasher.finish())))
}

/// 200 with `body`, true at `position`; 304 if the client has it already.
pub fn answer(
    request: &HttpRequest,
    caller: &Caller,
    (position, tag): (i64, ETag),
    body: &impl Serialize,
) -> HttpResponse {
    let control = if caller.role() == Role::Guest { EVERYBODY } else { ONE_CALLER };
    unless_known(request, position, tag, control, |mut answer| answer.json(body))
}

/// The same with what is sent as it is kept. `is_private`: not everybody may see it.
pub fn answer_as_kept(request: &HttpRequest, position: i64, json: Bytes, is_private: bool) -> HttpResponse {
    let control = if is_private { ONE_CALLER } else { EVERYBODY_BRIEFLY };
    let tag = of_content(&json);
    unless_known(request, position, tag, control, |mut answer| answer.insert_header(ContentType::json()).body(json))
}

/// The same with what is not for everybody's eyes, and stays in no cache.
pub fn answer_in_confidence(request: &HttpRequest, position: i64, tag: ETag, body: &impl Serialize) -> HttpResponse {
    unless_known(request, position, tag, NOBODY, |mut answer| answer.json(body))
}

/// `Kontor-Min-Position` asks for another answer than a cache may have.
fn unless_known(
    request: &HttpRequest,
    position: i64,
    tag: ETag,
    control: &'static str,
    with_body: impl FnOnce(HttpResponseBuilder) -> HttpResponse,
) -> HttpResponse {
    let is_known = is_known(request, &tag);
    let mut answer = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    answer
        .insert_header((POSITION, position))
        .insert_header(tag)
        .insert_header((CACHE_CONTROL, control))
        .insert_header((VARY, "Authorization, Kontor-Min-Position"));
    if is_known { answer.finish() } else { with_body(answer) }
}

/// Whether the client has this very row already. A header that cannot be read asks for nothing.
fn is_known(request: &HttpRequest, tag: &ETag) -> bool {
    if !request.headers().contains_key(IfNoneMatch::name()) {
        return false;
    }
    match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Any) => true,
        Ok(IfNoneMatch::Items(known)) => known.iter().any(|known| known.weak_eq(&tag.0)),
        Err(_) => false,
    }
}

//! Entity tags (RFC 9110, section 8.8.3). A row's tag is the position of the last event folded into it. It is weak: the same
//! row may be written in another form by another release.

use crate::consistency::POSITION;
use actix_web::http::header::{CACHE_CONTROL, ETag, EntityTag, Header, IfNoneMatch, VARY};
use actix_web::{HttpRequest, HttpResponse};
use kontor_identity::{Caller, Role};
use serde::Serialize;
use std::hash::{DefaultHasher, Hash, Hasher};

/// How long what everybody may see may be kept, before it is to be asked for again.
const EVERYBODY: &str = "public, max-age=5";
/// What one caller may see may be kept by them, if they ask each time whether it still is so.
const ONE_CALLER: &str = "private, no-cache";

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
pub fn of_content(content: &[u8]) -> ETag {
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

/// 200 with `body`, true at `position`; 304 if the client has it already. What is for everybody says how long it may be kept;
/// `Kontor-Min-Position` asks for another answer than a cache may have.
pub fn answer(
    request: &HttpRequest,
    caller: &Caller,
    (position, tag): (i64, ETag),
    body: &impl Serialize,
) -> HttpResponse {
    let is_known = is_known(request, &tag);
    let mut answer = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    let control = if caller.role() == Role::Guest { EVERYBODY } else { ONE_CALLER };
    answer
        .insert_header((POSITION, position))
        .insert_header(tag)
        .insert_header((CACHE_CONTROL, control))
        .insert_header((VARY, "Authorization, Kontor-Min-Position"));
    if is_known { answer.finish() } else { answer.json(body) }
}

/// Whether the client has this very row already. A header that cannot be read asks for nothing.
pub fn is_known(request: &HttpRequest, tag: &ETag) -> bool {
    if !request.headers().contains_key(IfNoneMatch::name()) {
        return false;
    }
    match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Any) => true,
        Ok(IfNoneMatch::Items(known)) => known.iter().any(|known| known.weak_eq(&tag.0)),
        Err(_) => false,
    }
}

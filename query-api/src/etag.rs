//! Entity tags (RFC 9110, section 8.8.3). A row's tag is the position of the last event folded into it. It is weak: the same
//! row may be written in another form by another release.

use actix_web::HttpRequest;
use actix_web::http::header::{ETag, EntityTag, Header, IfNoneMatch};

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

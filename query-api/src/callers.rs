//! Who asks, and that they may.

use crate::past;
use crate::problem::Problem;
use actix_web::body::BoxBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::{AUTHORIZATION, CACHE_CONTROL, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use kontor_identity::{Caller, Permission, Role, Verifier};
use std::future::{Ready, ready};

/// Lets a request pass if the role of the caller that its token names allows `permission`. Every path is behind it.
pub async fn allow(
    permission: Permission,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    // What was is for those who look after the shop, whatever it is of.
    let permission = if past::is_asked(request.query_string()) { Permission::ReadHistory } else { permission };
    let caller = match admit(permission, &request) {
        Ok(caller) => caller,
        Err(problem) => return Ok(request.error_response(problem)),
    };
    request.extensions_mut().insert(caller);
    let mut answer = next.call(request).await?;
    if !permission.roles().contains(&Role::Guest) {
        // What is not for everybody stays in no cache.
        answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    Ok(answer)
}

fn admit(permission: Permission, request: &ServiceRequest) -> Result<Caller, Problem> {
    let verifier = request.app_data::<Data<Verifier>>().expect("every request can be verified");
    let caller = verifier.caller(request.headers().get(AUTHORIZATION).map(|header| header.as_bytes()))?;
    caller.may(permission)?;
    Ok(caller)
}

/// The caller, for a query whose answer depends on whose it is.
pub struct Asker(pub Caller);

impl FromRequest for Asker {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self(request.extensions().get().cloned().unwrap_or_else(Caller::guest))))
    }
}

//! Who asks, and that they may.

use crate::problem::Problem;
use actix_web::body::BoxBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::AUTHORIZATION;
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use kontor_identity::{Caller, Permission, Verifier};
use std::future::{Ready, ready};

/// Lets a request pass if the role of the caller that its token names allows `permission`. Every path is behind it.
pub async fn allow(
    permission: Permission,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let verifier = request.app_data::<Data<Verifier>>().expect("every request can be verified");
    let header = request.headers().get(AUTHORIZATION).map(|header| header.as_bytes());
    let caller = verifier.caller(header).map_err(Problem::from)?;
    caller.may(permission).map_err(Problem::from)?;
    request.extensions_mut().insert(caller);
    next.call(request).await
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

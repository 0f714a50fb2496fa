//! Recommendations: what is similar, bought together, trending, for one customer, and to be bought again. A model ranks, and
//! product cards say what may be shown, and is to be had, now.

mod advisor;
mod history;
mod shelf;

pub use advisor::Advisor;

use crate::cache::{Cache, Kind};
use crate::callers::Asker;
use crate::consistency::{MinPosition, Positions};
use crate::etag;
use crate::openapi::{MinPositionHeader, Refused};
use crate::parameters::Parameters;
use crate::problem::Problem;
use crate::product_cards::Sources;
use crate::products::sees_drafts;
use actix_web::dev::Payload;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use advisor::{Loaded, Nearest};
use chrono::{DateTime, Utc};
use kontor_domain::{Currency, CustomerId, Sku};
use kontor_identity::{Caller, Role};
use kontor_projection_services::models::{AVAILABLE, PUBLIC, priced_in};
use kontor_recommend::{Choice, History, Product, Recommended};
use kontor_vectors::To;
use shelf::{Bought, Reason, Recommendations, Shelf, Shown, Suggestion};
use sqlx::PgPool;
use std::future::{Ready, ready};
use utoipa::IntoParams;

const SKU: &str = "sku";
const SKUS_MAX: usize = 100;
const CUSTOMER: &str = "customer_id";
const LIMIT: &str = "limit";
const LIMIT_DEFAULT: usize = 10;
const LIMIT_MAX: usize = 50;
const CURRENCY: &str = "currency";
/// So many of the things that a customer has bought last may explain a suggestion.
const REMEMBERED_MAX: usize = 200;

/// What a request can ask with.
pub struct Desk {
    advisor: Data<Advisor>,
    cache: Data<Cache>,
    replica: Data<PgPool>,
    positions: Data<Positions>,
    min: MinPosition,
    caller: Caller,
}

impl FromRequest for Desk {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        ready(Self::of(request, payload))
    }
}

/// What goes with these in one order. What never has is there for how it sells, and says so.
fn go_together(loaded: &Loaded, skus: &[Sku], wanted: &Wanted) -> Vec<Suggestion> {
    let because: Vec<String> = skus.iter().map(Sku::to_string).collect();
    let explained = |found: Recommended| match loaded.model.were_together(skus, &found.sku) {
        true => suggestion(found, Reason::BoughtTogether, because.clone()),
        false => suggestion(found, Reason::Trending, Vec::new()),
    };
    loaded.model.together(skus, choice(loaded, wanted)).into_iter().map(explained).collect()
}

impl Desk {
    fn of(request: &HttpRequest, payload: &mut Payload) -> Result<Self, Problem> {
        fn data<T: 'static>(request: &HttpRequest) -> Data<T> {
            request.app_data::<Data<T>>().expect("every request has it").clone()
        }
        Ok(Desk {
            advisor: data(request),
            cache: data(request),
            replica: data(request),
            positions: data(request),
            min: MinPosition::from_request(request, payload).into_inner()?,
            caller: Asker::from_request(request, payload).into_inner()?.0,
        })
    }

    fn sources(&self) -> Sources<'_> {
        Sources { cache: &self.cache, replica: &self.replica, positions: &self.positions }
    }

    /// Answers with what is on the shelf, as far as it may be shown.
    async fn answer(
        &self,
        request: &HttpRequest,
        wanted: &Wanted,
        (shelf, reached): (Shelf, Option<i64>),
        is_private: bool,
    ) -> Result<HttpResponse, Problem> {
        if shelf.degraded {
            self.advisor.count_degraded();
        }
        let Wanted { limit, currency } = wanted;
        let (position, body) = shelf.dress(*limit, currency.as_deref(), &self.sources(), self.min, reached).await?;
        Ok(etag::answer_as_kept(request, position, body.into(), is_private))
    }
}

/// How many are wanted, and where.
struct Wanted {
    limit: usize,
    currency: Option<String>,
}

impl Wanted {
    fn of(parameters: &Parameters) -> Result<Self, Problem> {
        let rule = format!("must be a number from 1 to {LIMIT_MAX}");
        let limit = parameters.value(LIMIT, &rule)?.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(Problem::parameter(LIMIT, rule));
        }
        let currency = match parameters.text(CURRENCY) {
            None => None,
            Some(code) if Currency::from_code(code).is_some() => Some(code.to_owned()),
            Some(_) => return Err(Problem::parameter(CURRENCY, "must be a code of ISO 4217 such as GBP")),
        };
        Ok(Wanted { limit, currency })
    }

    /// More than are wanted: some may be withdrawn or sold out by now.
    fn most(&self) -> usize {
        2 * self.limit + 20
    }
}

/// Of each kind of recommendation.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only described")]
struct WantedParameters {
    /// How many there may be.
    #[param(minimum = 1, maximum = 50, default = 10)]
    limit: Option<i64>,
    /// Only what has a price in this currency (ISO 4217).
    currency: Option<String>,
}

/// Of what is for one customer.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only described")]
struct CustomerParameter {
    /// Whom it is for: customers leave it out, or say who they are. Staff must say it.
    customer_id: Option<String>,
}

#[utoipa::path(
    get,
    path = "/v1/recommendations/similar",
    params(
        ("sku" = String, Query, description = "Of a product or of a variant"),
        WantedParameters,
        MinPositionHeader,
    ),
    responses(
        (status = 200, body = Recommendations, headers(("Kontor-Position" = i64), ("ETag" = String))),
        (status = 404, description = "unknown-product", body = Problem, content_type = "application/problem+json"),
        Refused,
    )
)]
/// What is like a product: by what was bought by the same people, and of a new one by its words and categories. 404
/// `unknown-product`.
pub async fn similar(request: HttpRequest, desk: Desk) -> Result<HttpResponse, Problem> {
    let parameters = Parameters::of(&request, &[SKU, LIMIT, CURRENCY])?;
    let (wanted, sku) = (Wanted::of(&parameters)?, parameters.needed(SKU)?);
    let (reached, product) = desk.products(&[sku]).await?;
    let shelf = match (desk.advisor.loaded(), product.into_iter().next()) {
        (Some(loaded), Some(product)) => desk.similar_to(&product, &loaded, &wanted).await,
        _ => Shelf::without_model(),
    };
    desk.answer(&request, &wanted, (shelf, Some(reached)), false).await
}

#[utoipa::path(
    get,
    path = "/v1/recommendations/together",
    params(
        ("sku" = Vec<String>, Query, description = "1 to 100 products or variants, such as a cart's: `sku=A&sku=B`"),
        WantedParameters,
        MinPositionHeader,
    ),
    responses(
        (status = 200, body = Recommendations, headers(("Kontor-Position" = i64), ("ETag" = String))),
        (status = 404, description = "unknown-product", body = Problem, content_type = "application/problem+json"),
        Refused,
    )
)]
/// What is bought in one order with these. 404 `unknown-product`.
pub async fn together(request: HttpRequest, desk: Desk) -> Result<HttpResponse, Problem> {
    let parameters = Parameters::of_which_repeat(&request, &[SKU, LIMIT, CURRENCY], SKU)?;
    let wanted = Wanted::of(&parameters)?;
    let skus: Vec<&str> = parameters.texts(SKU).collect();
    if skus.is_empty() || skus.len() > SKUS_MAX || skus.contains(&"") {
        return Err(Problem::parameter(SKU, format_args!("must be given, up to {SKUS_MAX} times")));
    }
    let (reached, products) = desk.products(&skus).await?;
    let shelf = match desk.advisor.loaded() {
        Some(loaded) => {
            let skus: Vec<Sku> = products.into_iter().map(|product| product.sku).collect();
            Shelf::of(&loaded.version, go_together(&loaded, &skus, &wanted))
        }
        None => Shelf::without_model(),
    };
    desk.answer(&request, &wanted, (shelf, Some(reached)), false).await
}

#[utoipa::path(
    get,
    path = "/v1/recommendations/trending",
    params(WantedParameters, MinPositionHeader),
    responses((status = 200, body = Recommendations, headers(("Kontor-Position" = i64), ("ETag" = String))), Refused)
)]
/// What sells most of late.
pub async fn trending(request: HttpRequest, desk: Desk) -> Result<HttpResponse, Problem> {
    let wanted = Wanted::of(&Parameters::of(&request, &[LIMIT, CURRENCY])?)?;
    let shelf = match desk.advisor.loaded() {
        Some(loaded) => Shelf::of(&loaded.version, trends(&loaded, &wanted)),
        None => Shelf::without_model(),
    };
    desk.answer(&request, &wanted, (shelf, None), false).await
}

#[utoipa::path(
    get,
    path = "/v1/recommendations/for-you",
    params(CustomerParameter, WantedParameters, MinPositionHeader),
    responses(
        (status = 200, body = Recommendations, headers(("Kontor-Position" = i64), ("ETag" = String))),
        (status = 404, description = "unknown-customer: it is another", body = Problem,
            content_type = "application/problem+json"),
        Refused,
    )
)]
/// What a customer has never bought and may want now; for a new customer, what is trending. 404 `unknown-customer`.
pub async fn for_you(request: HttpRequest, desk: Desk) -> Result<HttpResponse, Problem> {
    desk.for_customer(&request, |loaded, history, now, wanted| {
        if history.bought().is_empty() {
            return trends(loaded, wanted);
        }
        let explained = |found: Recommended| {
            let because = because(&found.sku, history, loaded);
            suggestion(found, Reason::ForYou, because)
        };
        let found = loaded.model.for_you(history, now, choice(loaded, wanted));
        let items: Vec<_> = found.into_iter().map(explained).collect();
        if items.is_empty() { trends(loaded, wanted) } else { items }
    })
    .await
}

#[utoipa::path(
    get,
    path = "/v1/recommendations/buy-again",
    params(CustomerParameter, WantedParameters, MinPositionHeader),
    responses(
        (status = 200, body = Recommendations, headers(("Kontor-Position" = i64), ("ETag" = String))),
        (status = 404, description = "unknown-customer: it is another", body = Problem,
            content_type = "application/problem+json"),
        Refused,
    )
)]
/// What a customer has bought and may want again now. 404 `unknown-customer`.
pub async fn buy_again(request: HttpRequest, desk: Desk) -> Result<HttpResponse, Problem> {
    desk.for_customer(&request, |loaded, history, now, wanted| {
        let found = loaded.model.buy_again(history, now, choice(loaded, wanted)).into_iter();
        let with_history = |found: Recommended| {
            let bought = Bought::of(&found.sku, history);
            Suggestion { bought, ..suggestion(found, Reason::BoughtBefore, Vec::new()) }
        };
        found.map(with_history).collect()
    })
    .await
}

impl Desk {
    /// The products that are sold under these SKUs, as far as the caller may see them.
    async fn products(&self, skus: &[&str]) -> Result<(i64, Vec<Product>), Problem> {
        let (position, cards) = self.sources().find(Kind::Card, skus, self.min).await?;
        let sees_all = sees_drafts(&self.caller);
        let mut products = Vec::with_capacity(skus.len());
        for (sku, card) in skus.iter().zip(cards) {
            let unknown = || Problem::not_found("product", sku, position);
            let card = card.filter(|card| card.is_public() || sees_all).ok_or_else(unknown)?.json();
            products.push(Shown::of(&card).and_then(Shown::product).ok_or_else(unknown)?);
        }
        Ok((position, products))
    }

    async fn similar_to(&self, product: &Product, loaded: &Loaded, wanted: &Wanted) -> Shelf {
        let priced = wanted.currency.as_deref().map(priced_in);
        let tags: Vec<&str> = [PUBLIC, AVAILABLE].into_iter().chain(priced.as_deref()).collect();
        let most = wanted.most();
        let mut nearest = self.advisor.nearest(loaded, To::Sku(product.sku.as_str()), &tags, most).await;
        if let Some(Nearest::Unknown) = nearest {
            let vector = loaded.model.vector_of_new(product);
            nearest = self.advisor.nearest(loaded, To::Vector(&vector), &tags, most).await;
        }
        let because = vec![product.sku.to_string()];
        if let Some(Nearest::Found(found)) = nearest {
            // Nothing is near to what nothing is known of.
            let found = found.into_iter().filter(|near| near.score > 0.0 && near.sku != product.sku.as_str());
            let items: Vec<_> = found
                .map(|near| Suggestion {
                    sku: near.sku,
                    score: near.score,
                    reason: Reason::Similar,
                    because: because.clone(),
                    bought: None,
                })
                .collect();
            let items = if items.is_empty() { trends(loaded, wanted) } else { items };
            return Shelf::of(&loaded.version, items);
        }
        let mut items = go_together(loaded, std::slice::from_ref(&product.sku), wanted);
        let more = trends(loaded, wanted).into_iter().filter(|more| more.sku != product.sku.as_str());
        let more: Vec<_> = more.filter(|more| items.iter().all(|item| item.sku != more.sku)).collect();
        items.extend(more);
        Shelf::of(&loaded.version, items).without_vectors()
    }

    async fn for_customer(
        &self,
        request: &HttpRequest,
        rank: impl Fn(&Loaded, &History, DateTime<Utc>, &Wanted) -> Vec<Suggestion>,
    ) -> Result<HttpResponse, Problem> {
        let parameters = Parameters::of(request, &[CUSTOMER, LIMIT, CURRENCY])?;
        let wanted = Wanted::of(&parameters)?;
        let customer = self.customer(&parameters)?;
        let Some(loaded) = self.advisor.loaded() else {
            return self.answer(request, &wanted, (Shelf::without_model(), None), true).await;
        };
        let (reached, history) = history::of(&customer, &loaded, self.min, &self.replica, &self.positions).await?;
        // Business time, as in the model: in trade that lies years back nothing is of today.
        let last = history.bought().last().map(|bought| bought.at);
        let now = last.map_or(loaded.version.trained_at, |last| last.max(loaded.version.trained_at));
        let shelf = Shelf::of(&loaded.version, rank(&loaded, &history, now, &wanted));
        self.answer(request, &wanted, (shelf, Some(reached)), true).await
    }

    /// Whom it is for: customers ask for themselves, others say for whom.
    fn customer(&self, parameters: &Parameters) -> Result<CustomerId, Problem> {
        let rule = "must be 1 to 64 letters, digits, '.', '_' or '-'";
        let named: Option<CustomerId> = parameters.value(CUSTOMER, rule)?;
        let customer = match (named, self.caller.role()) {
            (Some(named), _) => named,
            (None, Role::Customer) => {
                let own = self.caller.customer().cloned();
                own.ok_or_else(|| Problem::parameter(CUSTOMER, "must be given: the token names no customer"))?
            }
            (None, _) => return Err(Problem::parameter(CUSTOMER, "must be given")),
        };
        // Whether there are others is not a customer's to know.
        if !self.caller.concerns(Some(&customer)) {
            return Err(Problem::not_found("customer", customer.as_str(), 0));
        }
        Ok(customer)
    }
}

fn choice<'a>(loaded: &'a Loaded, wanted: &Wanted) -> Choice<'a> {
    Choice { most: wanted.most(), allowed: loaded.allowed() }
}

fn trends(loaded: &Loaded, wanted: &Wanted) -> Vec<Suggestion> {
    let found = loaded.model.trending(choice(loaded, wanted)).into_iter();
    found.map(|found| suggestion(found, Reason::Trending, Vec::new())).collect()
}

fn suggestion(Recommended { sku, score }: Recommended, reason: Reason, because: Vec<String>) -> Suggestion {
    Suggestion { sku: sku.to_string(), score, reason, because, bought: None }
}

/// Of what was bought, that which a suggestion is most like.
fn because(sku: &Sku, history: &History, loaded: &Loaded) -> Vec<String> {
    let Some(vector) = loaded.model.vector(sku) else { return Vec::new() };
    let likeness = |bought: &Sku| -> f32 {
        let other = loaded.model.vector(bought).unwrap_or_default();
        vector.iter().zip(other).map(|(a, b)| a * b).sum()
    };
    let kept = history.bought().iter().rev().filter(|bought| bought.units > 0);
    let alike = kept
        .take(REMEMBERED_MAX)
        .map(|bought| (likeness(&bought.sku), &bought.sku))
        .filter(|(likeness, _)| *likeness > 0.0);
    let most = alike.max_by(|(a, x), (b, y)| a.total_cmp(b).then_with(|| y.cmp(x)));
    most.into_iter().map(|(_, sku)| sku.to_string()).collect()
}

//! Stripe's HTTP API, as far as we need it. <https://docs.stripe.com/api>, version 2024-06-20.

use chrono::{DateTime, Utc};
use kontor_domain::Currency;
use kontor_domain::payment::ProviderReference;
use kontor_settings::Secret;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error};
use std::collections::BTreeMap;
use tracing::{error, warn};

/// The form of what Stripe answers, and of the webhooks that it is asked for.
const VERSION: &str = "2024-06-20";

pub struct Api {
    pub client: Client,
    pub url: String,
    pub secret_key: Secret,
}

/// What Stripe made of a request.
#[derive(Debug)]
pub enum Reply<T> {
    Done(T),
    Refused(ApiError),
}

/// It may have been done or not: no answer, a conflict, a limit, or a failure of Stripe's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoAnswer;

#[derive(Debug, Deserialize)]
pub struct Intent {
    pub id: String,
    pub status: String,
    pub amount: i64,
    #[serde(default)]
    pub amount_capturable: i64,
    #[serde(deserialize_with = "in_small_letters")]
    pub currency: Currency,
    created: i64,
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    #[serde(default)]
    pub cancellation_reason: Option<String>,
    next_action: Option<NextAction>,
    last_payment_error: Option<ApiError>,
    /// Its id only, where it was not asked to be expanded.
    #[serde(default)]
    latest_charge: serde_json::Value,
}

#[derive(Debug, Deserialize)]
struct NextAction {
    redirect_to_url: Option<RedirectToUrl>,
}

#[derive(Debug, Deserialize)]
struct RedirectToUrl {
    url: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct Refund {
    pub id: String,
    pub status: String,
    pub failure_reason: Option<String>,
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

/// The `error` of an answer.
#[derive(Debug, Deserialize)]
pub struct ApiError {
    #[serde(rename = "type")]
    kind: String,
    code: Option<String>,
    decline_code: Option<String>,
    message: Option<String>,
    payment_intent: Option<Box<Intent>>,
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ApiError,
}

#[derive(Deserialize)]
struct List<T> {
    data: Vec<T>,
    #[serde(default)]
    has_more: bool,
}

impl Api {
    /// Sends a form under a key: Stripe does it once.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        form: &[(&str, &str)],
        key: &str,
    ) -> Result<Reply<T>, NoAnswer> {
        let request = self.client.post(format!("{}{path}", self.url)).form(form);
        self.send(path, request.header("Idempotency-Key", key)).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, NoAnswer> {
        match self.send(path, self.client.get(format!("{}{path}", self.url)).query(query)).await? {
            Reply::Done(answer) => Ok(answer),
            Reply::Refused(ApiError { message, .. }) => {
                error!(path, message, "Stripe does not answer a question");
                Err(NoAnswer)
            }
        }
    }

    async fn send<T: DeserializeOwned>(&self, path: &str, request: RequestBuilder) -> Result<Reply<T>, NoAnswer> {
        let request = request.bearer_auth(self.secret_key.expose()).header("Stripe-Version", VERSION);
        let no_answer = |error: reqwest::Error| {
            warn!(path, error = %error.without_url(), "Stripe gave no answer");
            NoAnswer
        };
        let response = request.send().await.map_err(no_answer)?;
        let status = response.status();
        if status.is_success() {
            return response.json().await.map(Reply::Done).map_err(no_answer);
        }
        let ErrorBody { error } = response.json().await.map_err(no_answer)?;
        let (kind, message) = (&error.kind, error.message.as_deref());
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                error!(path, message, "stripe.secret_key (KONTOR_STRIPE__SECRET_KEY): Stripe does not accept it");
                Err(NoAnswer)
            }
            // Ours: the same key with another form. What the first has led to is still to be found.
            _ if kind == "idempotency_error" => {
                error!(path, message, "Stripe knows the key of an attempt from another request");
                Err(NoAnswer)
            }
            StatusCode::BAD_REQUEST | StatusCode::PAYMENT_REQUIRED | StatusCode::NOT_FOUND => Ok(Reply::Refused(error)),
            _ => {
                warn!(path, status = status.as_u16(), kind, message, "Stripe could not do it");
                Err(NoAnswer)
            }
        }
    }

    pub async fn intent(&self, reference: &ProviderReference) -> Result<Intent, NoAnswer> {
        self.get(&format!("/v1/payment_intents/{reference}"), &[("expand[]", "latest_charge")]).await
    }

    /// The intent that an attempt has made. Stripe finds what is older than about a minute.
    pub async fn find_intent(&self, attempt: &str) -> Result<Option<Intent>, NoAnswer> {
        let query = format!("metadata['attempt']:'{attempt}'");
        let query = [("query", &*query), ("limit", "1"), ("expand[]", "data.latest_charge")];
        let found: List<Intent> = self.get("/v1/payment_intents/search", &query).await?;
        Ok(found.data.into_iter().next())
    }

    /// The refund that an attempt has made.
    pub async fn find_refund(&self, reference: &ProviderReference, attempt: &str) -> Result<Option<Refund>, NoAnswer> {
        let mut after: Option<String> = None;
        loop {
            let mut query = vec![("payment_intent", reference.as_str()), ("limit", "100")];
            query.extend(after.as_deref().map(|id| ("starting_after", id)));
            let List { data, has_more }: List<Refund> = self.get("/v1/refunds", &query).await?;
            let last = data.last().map(|refund| refund.id.clone());
            if let Some(refund) = data.into_iter().find(|refund| is_of(&refund.metadata, attempt)) {
                return Ok(Some(refund));
            }
            match last {
                Some(id) if has_more => after = Some(id),
                _ => return Ok(None),
            }
        }
    }
}

/// Stripe writes a currency's code in small letters.
fn in_small_letters<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Currency, D::Error> {
    let code = String::deserialize(deserializer)?.to_uppercase();
    Currency::from_code(&code).ok_or_else(|| D::Error::custom("no code of ISO 4217"))
}

fn is_of(metadata: &BTreeMap<String, String>, attempt: &str) -> bool {
    metadata.get("attempt").is_some_and(|of| of == attempt)
}

impl Intent {
    pub fn created(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(self.created, 0).unwrap_or_default()
    }

    pub fn redirect_url(&self) -> Option<&str> {
        self.next_action.as_ref()?.redirect_to_url.as_ref()?.url.as_deref()
    }

    pub fn last_error(&self) -> &str {
        self.last_payment_error.as_ref().map_or(&self.status, ApiError::reason)
    }

    /// Until when the card's issuer holds the money.
    pub fn capture_before(&self) -> Option<DateTime<Utc>> {
        let seconds = self.latest_charge.pointer("/payment_method_details/card/capture_before")?.as_i64()?;
        DateTime::from_timestamp(seconds, 0)
    }

    pub fn allows_several_captures(&self) -> bool {
        let status = self.latest_charge.pointer("/payment_method_details/card/multicapture/status");
        status.and_then(|status| status.as_str()) == Some("available")
    }
}

impl ApiError {
    /// The most exact code that it gives.
    pub fn reason(&self) -> &str {
        self.decline_code.as_deref().or(self.code.as_deref()).unwrap_or(&self.kind)
    }

    pub fn is_canceled_already(&self) -> bool {
        self.payment_intent.as_ref().is_some_and(|intent| intent.status == "canceled")
    }
}

//! Tokens: JWTs (RFC 7519) signed with Ed25519 (RFC 8037), sent as `Authorization: Bearer`.

use crate::caller::Caller;
use crate::key::{KeyError, SigningKey};
use crate::policy::Role;
use compact_str::CompactString;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use kontor_domain::CustomerId;
use kontor_settings::{Check, Rule, between};
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Tokens that were verified are remembered, since checking a signature costs more than most commands.
const REMEMBERED_MAX: usize = 10_000;
/// Longer than any token of ours; nothing longer is looked at.
const LENGTH_MAX: usize = 4_096;

/// Who may call: section `identity`, or `KONTOR_IDENTITY__PUBLIC_KEY_FILE` and so on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdentitySettings {
    /// The key that tokens must be signed with: an Ed25519 public key in PEM.
    pub public_key_file: PathBuf,
    /// Who must have issued a token (`iss`).
    pub issuer: String,
    /// Whom a token must be for (`aud`).
    pub audience: String,
    /// How far the issuer's clock may be off, in seconds. 0 to 300.
    pub leeway_s: u64,
}

impl Default for IdentitySettings {
    fn default() -> Self {
        Self {
            public_key_file: "token-public-key.pem".into(),
            issuer: "kontor".into(),
            audience: "kontor".into(),
            leeway_s: 5,
        }
    }
}

impl Check for IdentitySettings {
    fn check(&self) -> Result<(), Rule> {
        between("leeway_s", self.leeway_s, 0, 300)
    }
}

/// What a token says.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: CompactString,
    role: Role,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    customer_id: Option<CustomerId>,
    iat: u64,
    nbf: u64,
    exp: u64,
}

/// Why a caller is not who they say they are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unauthenticated {
    #[error("must be 'Bearer' and a token")]
    Scheme,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    TooEarly,
    #[error("the token is not for this platform: {claim} is another")]
    Elsewhere { claim: &'static str },
    #[error("the token's signature is not ours")]
    Signature,
    #[error("the token cannot be used: {reason}")]
    Unfit { reason: String },
}

/// A token to be made.
#[derive(Debug, Clone)]
pub struct Issue {
    pub subject: CompactString,
    pub role: Role,
    /// The customer that the caller is. Customers must be one, others must not.
    pub customer: Option<CustomerId>,
    pub valid_for: Duration,
}

impl Issue {
    /// Signs the token.
    ///
    /// # Errors
    /// The rule that the request breaks.
    pub fn sign(self, key: &SigningKey, settings: &IdentitySettings) -> Result<String, String> {
        check(self.role, self.customer.as_ref())?;
        let now = seconds_since_epoch();
        let claims = Claims {
            iss: settings.issuer.clone(),
            aud: settings.audience.clone(),
            sub: self.subject,
            role: self.role,
            customer_id: self.customer,
            iat: now,
            nbf: now,
            exp: now.saturating_add(self.valid_for.as_secs()),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, &key.0).map_err(|error| error.to_string())
    }
}

fn check(role: Role, customer: Option<&CustomerId>) -> Result<(), String> {
    match (role, customer) {
        (Role::Customer, None) => Err("customer_id is missing: a customer must be one".into()),
        (Role::Customer, Some(_)) | (_, None) => Ok(()),
        (role, Some(_)) => Err(format!("customer_id is for customers, not for {role}")),
    }
}

/// Tells who calls.
pub struct Verifier {
    key: DecodingKey,
    validation: Validation,
    leeway_s: u64,
    verified: Cache<CompactString, (Caller, u64)>,
}

impl Verifier {
    /// # Errors
    /// The key cannot be read.
    pub fn new(settings: &IdentitySettings) -> Result<Self, KeyError> {
        let path = settings.public_key_file.clone();
        let text = fs::read(&path).map_err(|error| KeyError::File { path: path.clone(), error })?;
        let key =
            DecodingKey::from_ed_pem(&text).map_err(|error| KeyError::Unfit { path, reason: error.to_string() })?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[&settings.issuer]);
        validation.set_audience(&[&settings.audience]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp", "nbf"]);
        validation.validate_nbf = true;
        validation.leeway = settings.leeway_s;
        Ok(Self { key, validation, leeway_s: settings.leeway_s, verified: Cache::new(REMEMBERED_MAX) })
    }

    /// Who calls, by the header `Authorization`; without one, a guest.
    pub fn caller(&self, authorization: Option<&[u8]>) -> Result<Caller, Unauthenticated> {
        let Some(authorization) = authorization else { return Ok(Caller::guest()) };
        let text = std::str::from_utf8(authorization).map_err(|_| Unauthenticated::Scheme)?;
        let (scheme, token) = text.split_once(' ').ok_or(Unauthenticated::Scheme)?;
        if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
            return Err(Unauthenticated::Scheme);
        }
        if token.len() > LENGTH_MAX {
            return Err(Unauthenticated::Unfit { reason: format!("it is longer than {LENGTH_MAX} bytes") });
        }
        if let Some((caller, expires)) = self.verified.get(token)
            && seconds_since_epoch() < expires.saturating_add(self.leeway_s)
        {
            return Ok(caller);
        }
        let (caller, expires) = self.verify(token.trim())?;
        self.verified.insert(token.into(), (caller.clone(), expires));
        Ok(caller)
    }

    fn verify(&self, token: &str) -> Result<(Caller, u64), Unauthenticated> {
        let decoded = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation);
        let Claims { sub, role, customer_id, exp, .. } = decoded.map_err(|error| unauthenticated(&error))?.claims;
        check(role, customer_id.as_ref()).map_err(|reason| Unauthenticated::Unfit { reason })?;
        Ok((Caller::new(sub, role, customer_id), exp))
    }
}

fn unauthenticated(error: &jsonwebtoken::errors::Error) -> Unauthenticated {
    match error.kind() {
        ErrorKind::ExpiredSignature => Unauthenticated::Expired,
        ErrorKind::ImmatureSignature => Unauthenticated::TooEarly,
        ErrorKind::InvalidIssuer => Unauthenticated::Elsewhere { claim: "iss" },
        ErrorKind::InvalidAudience => Unauthenticated::Elsewhere { claim: "aud" },
        ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm => Unauthenticated::Signature,
        _ => Unauthenticated::Unfit { reason: error.to_string() },
    }
}

fn seconds_since_epoch() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::EncodingKey;
    use serde_json::{Value, json};

    struct Platform {
        folder: tempfile::TempDir,
        settings: IdentitySettings,
        key: SigningKey,
        verifier: Verifier,
    }

    fn platform() -> Platform {
        let folder = tempfile::tempdir().expect("a folder");
        let key = SigningKey::find_or_make(folder.path()).expect("a key");
        let public_key_file = SigningKey::public_file(folder.path());
        let settings = IdentitySettings { public_key_file, ..IdentitySettings::default() };
        let verifier = Verifier::new(&settings).expect("the public half");
        Platform { folder, settings, key, verifier }
    }

    impl Platform {
        fn caller(&self, token: &str) -> Result<Caller, Unauthenticated> {
            self.verifier.caller(Some(format!("Bearer {token}").as_bytes()))
        }

        /// A token of the platform's own key that says whatever it likes.
        fn forge(&self, change: impl FnOnce(&mut Value)) -> String {
            let now = seconds_since_epoch();
            let mut claims = json!({
                "iss": "kontor", "aud": "kontor", "sub": "somebody", "role": "staff",
                "iat": now, "nbf": now, "exp": now + 60,
            });
            change(&mut claims);
            jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, &self.key.0).expect("a token")
        }
    }

    fn staff() -> Issue {
        Issue { subject: "ada".into(), role: Role::Staff, customer: None, valid_for: Duration::from_secs(60) }
    }

    #[test]
    fn a_token_says_who_calls() {
        let platform = platform();
        let token = staff().sign(&platform.key, &platform.settings).expect("a token");
        for _ in 0..2 {
            let caller = platform.caller(&token).expect("a caller");
            assert_eq!((caller.subject(), caller.role(), caller.customer()), ("ada", Role::Staff, None));
        }
        let customer: CustomerId = "17".parse().expect("an id");
        let issue = Issue { role: Role::Customer, customer: Some(customer.clone()), ..staff() };
        let token = issue.sign(&platform.key, &platform.settings).expect("a token");
        assert_eq!(platform.caller(&token).expect("a caller").customer(), Some(&customer));
    }

    #[test]
    fn without_a_token_one_is_a_guest() {
        assert_eq!(platform().verifier.caller(None), Ok(Caller::guest()));
    }

    #[test]
    fn the_key_is_found_again() {
        let platform = platform();
        let token = staff().sign(&platform.key, &platform.settings).expect("a token");
        let again = SigningKey::find_or_make(platform.folder.path()).expect("the key");
        assert!(platform.caller(&staff().sign(&again, &platform.settings).expect("a token")).is_ok());
        assert!(
            Verifier::new(&platform.settings)
                .expect("the public half")
                .caller(Some(format!("bearer {token}").as_bytes()))
                .is_ok()
        );
    }

    #[test]
    fn each_claim_is_checked() {
        let platform = platform();
        let now = seconds_since_epoch();
        let refused = |change: fn(&mut Value, u64)| platform.caller(&platform.forge(|claims| change(claims, now)));
        assert!(refused(|_, _| ()).is_ok());
        assert_eq!(refused(|claims, now| claims["exp"] = json!(now - 60)), Err(Unauthenticated::Expired));
        assert_eq!(refused(|claims, now| claims["nbf"] = json!(now + 60)), Err(Unauthenticated::TooEarly));
        assert_eq!(
            refused(|claims, _| claims["iss"] = json!("other")),
            Err(Unauthenticated::Elsewhere { claim: "iss" })
        );
        assert_eq!(
            refused(|claims, _| claims["aud"] = json!("other")),
            Err(Unauthenticated::Elsewhere { claim: "aud" })
        );
        let unfit = |result| matches!(result, Err(Unauthenticated::Unfit { .. }));
        assert!(unfit(refused(|claims, _| claims["role"] = json!("guest"))));
        assert!(unfit(refused(|claims, _| claims["role"] = json!("king"))));
        assert!(unfit(refused(|claims, _| claims["role"] = json!("customer"))));
        assert!(unfit(refused(|claims, _| claims["customer_id"] = json!("17"))));
        for claim in ["iss", "aud", "sub", "exp", "nbf", "role"] {
            let without = platform.forge(|claims| drop(claims.as_object_mut().and_then(|claims| claims.remove(claim))));
            assert!(platform.caller(&without).is_err(), "{claim} is needed");
        }
    }

    #[test]
    fn a_token_of_another_key_or_algorithm_is_refused() {
        let (ours, theirs) = (platform(), platform());
        let token = staff().sign(&theirs.key, &theirs.settings).expect("a token");
        assert_eq!(ours.caller(&token), Err(Unauthenticated::Signature));
        // The public half as the secret of a symmetric signature: the classic confusion.
        let public = fs::read(&ours.settings.public_key_file).expect("the public half");
        let claims = json!({ "iss": "kontor", "aud": "kontor", "sub": "x", "role": "admin", "nbf": 0, "iat": 0, "exp": u32::MAX });
        let confused =
            jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(&public));
        assert_eq!(ours.caller(&confused.expect("a token")), Err(Unauthenticated::Signature));
        assert!(ours.caller("eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.").is_err());
    }

    #[test]
    fn what_is_no_bearer_token_is_refused() {
        let platform = platform();
        for header in ["", "Bearer", "Bearer ", "Basic YTpi", "token"] {
            assert_eq!(platform.verifier.caller(Some(header.as_bytes())), Err(Unauthenticated::Scheme), "{header}");
        }
        assert!(platform.caller(&"x".repeat(LENGTH_MAX + 1)).is_err());
    }
}

//! Signatures of webhooks: `t=<seconds>,v1=<hex>`, HMAC-SHA256 over `<seconds>.<body>`, as Stripe has it. Its
//! documentation: "Verify webhook signatures manually". A header may hold several `v1`, while a secret is changed.

use super::provider::Forged;
use actix_web::http::header::HeaderMap;
use chrono::{DateTime, Utc};
use kontor_settings::Secret;
use ring::hmac;

/// How old a signature may be, in seconds, so that a webhook that somebody overheard is soon worthless.
pub const TOLERANCE_S: i64 = 300;

fn signed(secret: &Secret, seconds: i64, body: &[u8]) -> (hmac::Key, Vec<u8>) {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    (key, [seconds.to_string().as_bytes(), b".", body].concat())
}

/// The header's value for `body`, signed `at`.
pub fn sign(secret: &Secret, at: DateTime<Utc>, body: &[u8]) -> String {
    let (key, message) = signed(secret, at.timestamp(), body);
    format!("t={},v1={}", at.timestamp(), hex::encode(hmac::sign(&key, &message)))
}

/// Whether `body` came with a signature of ours in the header of this name. Compares in constant time.
///
/// # Errors
/// [`Forged`], if it did not.
pub fn verify(
    secret: &Secret,
    headers: &HeaderMap,
    header: &'static str,
    body: &[u8],
    now: DateTime<Utc>,
) -> Result<(), Forged> {
    let missing = Forged::NoSignature { header };
    let text = headers.get(header).and_then(|value| value.to_str().ok()).ok_or(missing)?;
    let parts = || text.split(',').filter_map(|part| part.trim().split_once('='));
    let seconds: i64 = parts().find(|(name, _)| *name == "t").and_then(|(_, t)| t.parse().ok()).ok_or(missing)?;
    let (key, message) = signed(secret, seconds, body);
    let mut tags = parts().filter(|(name, _)| *name == "v1").filter_map(|(_, tag)| hex::decode(tag).ok());
    if !tags.any(|tag| hmac::verify(&key, &message, &tag).is_ok()) {
        return Err(Forged::Mismatch);
    }
    let age_s = now.timestamp() - seconds;
    if age_s.abs() > TOLERANCE_S {
        return Err(Forged::TooOld { age_s, tolerance_s: TOLERANCE_S });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{HeaderName, HeaderValue};

    const HEADER: &str = "Stripe-Signature";

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("a time")
    }

    fn check(signature: &str, body: &[u8], now: i64) -> Result<(), Forged> {
        let mut headers = HeaderMap::new();
        headers.insert(
            HeaderName::from_static("stripe-signature"),
            HeaderValue::from_str(signature).expect("a header's value"),
        );
        verify(&Secret::new("whsec_test"), &headers, HEADER, body, at(now))
    }

    /// Worked out with `printf '1700000000.{}' | openssl dgst -sha256 -hmac whsec_test`.
    #[test]
    fn a_signature_is_the_one_that_openssl_works_out() {
        let expected = "t=1700000000,v1=35495024f4ef3f94e5a93e22221544c4b75e9a42300cd965ab81cb85cd994e91";
        assert_eq!(sign(&Secret::new("whsec_test"), at(1_700_000_000), b"{}"), expected);
    }

    #[test]
    fn what_was_signed_is_believed_for_five_minutes_either_way() {
        let signature = sign(&Secret::new("whsec_test"), at(1_700_000_000), b"{}");
        for now in [1_700_000_000, 1_700_000_300, 1_699_999_700] {
            assert_eq!(check(&signature, b"{}", now), Ok(()));
        }
        let too_old = |age_s| Err(Forged::TooOld { age_s, tolerance_s: TOLERANCE_S });
        assert_eq!(check(&signature, b"{}", 1_700_000_301), too_old(301));
        assert_eq!(check(&signature, b"{}", 1_699_999_699), too_old(-301));
    }

    #[test]
    fn one_of_several_signatures_will_do() {
        let [ours, others] = ["whsec_test", "whsec_old"].map(|secret| sign(&Secret::new(secret), at(9), b"{}"));
        let tag = others.split_once(",v1=").expect("it has one").1;
        assert_eq!(check(&ours.replace(",v1", &format!(",v1={tag},v1")), b"{}", 9), Ok(()));
        assert_eq!(check(&others, b"{}", 9), Err(Forged::Mismatch));
    }

    #[test]
    fn what_was_changed_on_the_way_is_not_believed() {
        let signature = sign(&Secret::new("whsec_test"), at(9), b"{}");
        assert_eq!(check(&signature, b"{ }", 9), Err(Forged::Mismatch));
        assert_eq!(check(&signature.replace("t=9", "t=10"), b"{}", 9), Err(Forged::Mismatch));
        for nonsense in ["", "v1=00", "t=soon,v1=00"] {
            assert_eq!(check(nonsense, b"{}", 9), Err(Forged::NoSignature { header: HEADER }), "{nonsense}");
        }
        assert_eq!(check("t=9,v1=zz", b"{}", 9), Err(Forged::Mismatch));
        assert_eq!(check("t=9", b"{}", 9), Err(Forged::Mismatch));
    }
}

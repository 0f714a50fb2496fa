//! What the sink asks of those who bring mail: encryption, and who they are.

use crate::Error;
use mail_parser::decoders::base64::base64_decode;
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// How the sink takes mail. By default in the clear, from anybody.
#[derive(Debug, Clone, Default)]
pub struct Security {
    pub encryption: Encryption,
    /// Who may bring mail, over an encrypted connection. `None`: anybody.
    pub account: Option<Account>,
}

#[derive(Clone, Default)]
pub enum Encryption {
    #[default]
    None,
    /// Begun in the clear; no mail is taken before STARTTLS (RFC 3207).
    Starttls(TlsAcceptor),
    /// From the first byte (RFC 8314).
    Implicit(TlsAcceptor),
}

/// Someone who may bring mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub user: String,
    pub password: String,
    pub mechanism: Mechanism,
}

/// The one way of saying who one is that the sink offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// Never a standard, and what many servers still ask for.
    Login,
}

impl std::fmt::Debug for Encryption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Encryption::None => "None",
            Encryption::Starttls(_) => "Starttls",
            Encryption::Implicit(_) => "Implicit",
        })
    }
}

/// What a server with this certificate and its key, both DER (PKCS #8), needs to encrypt.
pub fn acceptor(certificate: Vec<u8>, key: Vec<u8>) -> Result<TlsAcceptor, Error> {
    let unfit = |what: &'static str| Error::io(format!("the certificate of the mail sink is {what}"));
    let key = PrivateKeyDer::try_from(key).map_err(|reason| unfit("without a key")(std::io::Error::other(reason)))?;
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder.with_no_client_auth().with_single_cert(vec![CertificateDer::from(certificate)], key)
        })
        .map_err(|reason| unfit("unfit")(std::io::Error::other(reason)))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// How far somebody has come with saying who they are.
#[derive(Debug)]
pub enum Asked {
    Response,
    User,
    Password { user: String },
}

/// What to answer to one line of it.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// Whether they are who may bring mail.
    Known(bool),
    /// In base64, as it goes over the line.
    Challenge(&'static str),
}

impl Account {
    /// What is asked first, when nothing came with the request.
    pub fn begin(&self) -> (Asked, Answer) {
        match self.mechanism {
            Mechanism::Plain => (Asked::Response, Answer::Challenge("")),
            Mechanism::Login => (Asked::User, Answer::Challenge("VXNlcm5hbWU6")),
        }
    }

    /// Takes a line. With a challenge, what is asked next.
    pub fn hear(&self, asked: Asked, line: &str) -> (Option<Asked>, Answer) {
        let Some(said) = base64_decode(line.as_bytes()).and_then(|said| String::from_utf8(said).ok()) else {
            return (None, Answer::Known(false));
        };
        match asked {
            Asked::Response => {
                let mut parts = said.split('\0').skip(1); // Whom they act for comes first, and is nobody else.
                (None, Answer::Known(self.is(parts.next(), parts.next())))
            }
            Asked::User => (Some(Asked::Password { user: said }), Answer::Challenge("UGFzc3dvcmQ6")),
            Asked::Password { user } => (None, Answer::Known(self.is(Some(&user), Some(&said)))),
        }
    }

    fn is(&self, user: Option<&str>, password: Option<&str>) -> bool {
        (user, password) == (Some(&self.user), Some(&self.password))
    }
}

impl Mechanism {
    /// Whether smtp-proto calls it so.
    pub fn is(self, mechanism: u64) -> bool {
        match self {
            Mechanism::Plain => mechanism == smtp_proto::AUTH_PLAIN,
            Mechanism::Login => mechanism == smtp_proto::AUTH_LOGIN,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::Login => "LOGIN",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(mechanism: Mechanism) -> Account {
        Account { user: "shop".into(), password: "secret".into(), mechanism }
    }

    #[test]
    fn plain_is_said_in_one_line() {
        let hear = |line| account(Mechanism::Plain).hear(Asked::Response, line).1;
        assert_eq!(hear("AHNob3AAc2VjcmV0"), Answer::Known(true)); // \0shop\0secret
        assert_eq!(hear("AHNob3AAc2VjcmV1"), Answer::Known(false));
        assert_eq!(hear("c2hvcA=="), Answer::Known(false));
        assert_eq!(hear("*"), Answer::Known(false));
    }

    #[test]
    fn login_is_said_in_two() {
        let account = account(Mechanism::Login);
        let (asked, _) = account.begin();
        let (asked, answer) = account.hear(asked, "c2hvcA==");
        assert_eq!(answer, Answer::Challenge("UGFzc3dvcmQ6"));
        assert_eq!(account.hear(asked.expect("a password"), "c2VjcmV0").1, Answer::Known(true));
    }
}

//! The way to the SMTP server: a message of text and HTML, sent on a connection that is kept for the next.
//!
//! The connections are kept here and not in lettre's pool: that one takes back a connection whose sender has given up
//! waiting, and the late answer to one mail would then be read as the answer to the next.

use super::settings::{MailSettings, Tls};
use super::templates::Rendered;
use anyhow::{Context, Result, anyhow};
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, Message};
use parking_lot::Mutex;
use std::fs;
use std::time::{Duration, Instant};
use tokio::time::timeout;
use uuid::Uuid;

/// A connection that has been idle for longer is asked whether it still stands.
const TRUSTED_FOR: Duration = Duration::from_secs(1);
/// A connection that has been idle for longer is not used any more: servers close them after a few minutes.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// Why a mail was not sent. The texts name no recipient.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Trying again would change nothing.
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Failed(String),
}

/// Sends mails, each on a connection of its own.
pub struct Mailer {
    server: (String, u16),
    wrapper: Option<TlsParameters>,
    starttls: Option<TlsParameters>,
    credentials: Option<Credentials>,
    hello: ClientId,
    from: Mailbox,
    timeout: Duration,
    idle: Mutex<Vec<(AsyncSmtpConnection, Instant)>>,
}

impl Mailer {
    /// Connects only when there is something to send.
    pub fn new(settings: &MailSettings) -> Result<Self> {
        let from = settings.sender().map_err(|rule| anyhow!("mail.{rule}"))?;
        let (wrapper, starttls) = match settings.tls {
            Tls::None => (None, None),
            Tls::Starttls => (None, Some(tls_parameters(settings)?)),
            Tls::Implicit => (Some(tls_parameters(settings)?), None),
        };
        let secrets = settings.user.as_ref().zip(settings.password.as_ref());
        Ok(Self {
            server: (settings.host.clone(), settings.port),
            wrapper,
            starttls,
            credentials: secrets.map(|(user, password)| Credentials::new(user.clone(), password.expose().to_owned())),
            hello: ClientId::Domain(from.email.domain().to_owned()),
            from,
            timeout: Duration::from_millis(settings.timeout_ms),
            idle: Mutex::default(),
        })
    }

    /// Sends `rendered` to one recipient and waits until the server has taken it. `id` gives the Message-ID, always the same,
    /// so that who gets a mail twice can see that it is one.
    pub async fn send(&self, id: Uuid, to: &str, rendered: Rendered) -> Result<(), SendError> {
        let address: Address = to.parse().map_err(|_| refused("the customer's e-mail address is not one"))?;
        let message = self.message(id, address, rendered)?;
        let sending = async {
            let mut connection = self.connection().await?;
            connection.send(message.envelope(), &message.formatted()).await?;
            Ok(connection)
        };
        // Who is cut off here drops the connection.
        match timeout(self.timeout, sending).await {
            Ok(Ok(connection)) => {
                self.idle.lock().push((connection, Instant::now()));
                Ok(())
            }
            Ok(Err(error)) => Err(told(&error, to)),
            Err(_) => Err(SendError::Failed(format!("not sent within {} ms", self.timeout.as_millis()))),
        }
    }

    fn message(&self, id: Uuid, to: Address, rendered: Rendered) -> Result<Message, SendError> {
        // RFC 3834: whoever is away need not answer.
        let automatic = HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
        Message::builder()
            .message_id(Some(format!("<{id}@{}>", self.from.email.domain())))
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(rendered.subject)
            .raw_header(automatic)
            .multipart(MultiPart::alternative_plain_html(rendered.text, rendered.html))
            .map_err(|error| refused(&format!("the mail cannot be put together: {error}")))
    }

    async fn connection(&self) -> Result<AsyncSmtpConnection, lettre::transport::smtp::Error> {
        while let Some((mut connection, idle_since)) = self.idle_connection() {
            if idle_since.elapsed() < TRUSTED_FOR || connection.test_connected().await {
                return Ok(connection);
            }
        }
        let server = (self.server.0.as_str(), self.server.1);
        let connect = AsyncSmtpConnection::connect_tokio1(server, None, &self.hello, self.wrapper.clone(), None);
        let mut connection = connect.await?;
        if let Some(parameters) = &self.starttls {
            connection.starttls(parameters.clone(), &self.hello).await?;
        }
        if let Some(credentials) = &self.credentials {
            connection.auth(DEFAULT_MECHANISMS, credentials).await?;
        }
        Ok(connection)
    }

    /// The one used last; so those that a quiet hour does not need grow old.
    fn idle_connection(&self) -> Option<(AsyncSmtpConnection, Instant)> {
        let mut idle = self.idle.lock();
        idle.retain(|(_, since)| since.elapsed() < KEPT_FOR);
        idle.pop()
    }
}

/// Whom we trust to be the server.
fn tls_parameters(settings: &MailSettings) -> Result<TlsParameters> {
    let mut builder = TlsParameters::builder(settings.host.clone());
    if let Some(path) = &settings.ca_file {
        let pem = fs::read(path).with_context(|| format!("mail.ca_file: {} cannot be read", path.display()))?;
        let authority = Certificate::from_pem(&pem);
        let authority = authority.with_context(|| format!("mail.ca_file: {} is no PEM", path.display()))?;
        builder = builder.certificate_store(CertificateStore::None).add_root_certificate(authority);
    }
    builder.build().context("mail.tls: TLS cannot be set up")
}

fn refused(reason: &str) -> SendError {
    SendError::Refused(reason.to_owned())
}

/// The server's answer, without the recipient's address, which many servers repeat.
fn told(error: &lettre::transport::smtp::Error, to: &str) -> SendError {
    let text = without_addresses(&error.to_string(), to);
    let code = error.status().map(u16::from);
    match code {
        // 5xx is for good, unless it is we who are refused: that is to be mended, and then the mail goes out.
        Some(500..=599) if !matches!(code, Some(530 | 534 | 535 | 538)) => SendError::Refused(text),
        _ => SendError::Failed(text),
    }
}

/// In place of what may be somebody's address, `(address)`.
fn without_addresses(text: &str, to: &str) -> String {
    let user = to.rsplit_once('@').map_or(to, |(user, _)| user);
    let is_address = |word: &&str| word.contains('@') || (user.len() > 2 && word.contains(user));
    text.split_whitespace().map(|word| if is_address(&word) { "(address)" } else { word }).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailer() -> Mailer {
        Mailer::new(&MailSettings { from: "Shop <orders@example.org>".into(), ..Default::default() }).expect("a mailer")
    }

    fn rendered() -> Rendered {
        Rendered { subject: "Your order".into(), text: "Thank you".into(), html: "<p>Thank you".into() }
    }

    #[test]
    fn a_mail_has_the_same_message_id_whenever_it_is_sent() {
        let id = Uuid::from_u128(7);
        for _ in 0..2 {
            let to = "ada@example.com".parse().expect("an address");
            let message = mailer().message(id, to, rendered()).expect("a message").formatted();
            let text = String::from_utf8(message).expect("ASCII");
            assert!(text.contains("Message-ID: <00000000-0000-0000-0000-000000000007@example.org>\r\n"), "{text}");
            assert!(text.contains("Auto-Submitted: auto-generated\r\n"), "{text}");
        }
    }

    #[test]
    fn no_address_is_kept_from_what_a_server_says() {
        let said = "permanent error (550): <Ada.L@example.com>... User ada.l unknown; try RFC 5321";
        let kept = without_addresses(said, "ada.l@example.com");
        assert_eq!(kept, "permanent error (550): (address) User (address) unknown; try RFC 5321");
    }

    #[tokio::test]
    async fn what_is_no_address_is_refused_for_good() {
        let error = mailer().send(Uuid::nil(), "ada at home", rendered()).await.expect_err("no address");
        assert_eq!(error, refused("the customer's e-mail address is not one"));
    }
}

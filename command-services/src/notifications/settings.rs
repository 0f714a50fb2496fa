use kontor_settings::{Check, Rule, Secret, at_least, between};
use lettre::message::Mailbox;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Mail to customers: section `mail`, or `KONTOR_MAIL__HOST` and so on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MailSettings {
    /// The SMTP server that takes our mail.
    pub host: String,
    pub port: u16,
    /// `none`, `starttls` (required, not merely tried) or `implicit`. `none` is for a server on this machine.
    pub tls: Tls,
    /// Certificates, in PEM, one of which must have signed the server's. Without the file: those that the machine trusts.
    pub ca_file: Option<PathBuf>,
    /// Who we are to the server. Needs a password, and TLS to keep it.
    pub user: Option<String>,
    pub password: Option<Secret>,
    /// Sender, such as `Kontor <orders@example.org>`. Its domain is that of the Message-IDs, so a retry after a change of
    /// domain is not recognised as one.
    pub from: String,
    /// What the shop is called.
    pub shop_name: String,
    /// Where the shop is: links in mails begin with it. Without a slash at its end.
    pub base_url: String,
    /// Templates that replace those built in, each under the same name (`order-confirmed.html`).
    pub templates_folder: Option<PathBuf>,
    /// How long sending one mail may take, in milliseconds. At least 100.
    pub timeout_ms: u64,
    /// How often a mail is tried before it is given up as dead. At least 1.
    pub attempts_max: u32,
    /// How long a mail waits after its first failure, in milliseconds; twice as long after each further one. At least 1.
    pub backoff_base_ms: u64,
    /// The longest wait, in milliseconds. At least `backoff_base_ms`.
    pub backoff_max_ms: u64,
    /// Mails that are sent at the same time, each on a connection of its own. 1 to 1,000.
    pub in_flight_max: usize,
    /// How long to wait before asking an idle log and outbox again, in milliseconds. At least 1.
    pub poll_interval_ms: u64,
}

/// How the connection to the SMTP server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    None,
    Starttls,
    Implicit,
}

impl Default for MailSettings {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".into(),
            port: 25,
            tls: Tls::None,
            ca_file: None,
            user: None,
            password: None,
            from: "Kontor <orders@localhost>".into(),
            shop_name: "Kontor".into(),
            base_url: "http://127.0.0.1:8080".into(),
            templates_folder: None,
            timeout_ms: 30_000,
            attempts_max: 15, // With the waits below, about half a day.
            backoff_base_ms: 5_000,
            backoff_max_ms: 4 * 3_600_000,
            in_flight_max: 32,
            poll_interval_ms: 200,
        }
    }
}

impl MailSettings {
    /// # Errors
    /// If `from` is no mailbox.
    pub fn sender(&self) -> Result<Mailbox, Rule> {
        self.from.parse().map_err(|_| Rule::new("from", "must be an address such as Kontor <orders@example.org>"))
    }
}

impl Check for MailSettings {
    fn check(&self) -> Result<(), Rule> {
        self.sender()?;
        if self.user.is_some() != self.password.is_some() {
            return Err(Rule::new("user", "must be set together with password"));
        }
        if self.user.is_some() && self.tls == Tls::None {
            return Err(Rule::new("tls", "must be starttls or implicit when there is a password to keep"));
        }
        if self.ca_file.is_some() && self.tls == Tls::None {
            return Err(Rule::new("tls", "must be starttls or implicit when there is a ca_file"));
        }
        if self.base_url.ends_with('/') {
            return Err(Rule::new("base_url", "must not end with a slash"));
        }
        at_least("timeout_ms", self.timeout_ms, 100)?;
        at_least("attempts_max", self.attempts_max, 1)?;
        at_least("backoff_base_ms", self.backoff_base_ms, 1)?;
        at_least("backoff_max_ms", self.backoff_max_ms, self.backoff_base_ms)?;
        between("in_flight_max", self.in_flight_max, 1, 1_000)?;
        at_least("poll_interval_ms", self.poll_interval_ms, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(change: impl FnOnce(&mut MailSettings)) -> String {
        let mut settings = MailSettings::default();
        change(&mut settings);
        settings.check().expect_err("it breaks a rule").to_string()
    }

    #[test]
    fn the_defaults_keep_the_rules() {
        assert_eq!(MailSettings::default().check(), Ok(()));
    }

    #[test]
    fn a_password_does_not_travel_in_the_clear() {
        let user = |settings: &mut MailSettings| {
            (settings.user, settings.password) = (Some("shop".into()), Some(Secret::new("secret")));
        };
        assert_eq!(rule(user), "tls must be starttls or implicit when there is a password to keep");
        assert_eq!(rule(|settings| settings.user = Some("shop".into())), "user must be set together with password");
    }

    #[test]
    fn a_certificate_is_of_use_where_there_is_encryption() {
        let file = |settings: &mut MailSettings| settings.ca_file = Some("ca.pem".into());
        assert_eq!(rule(file), "tls must be starttls or implicit when there is a ca_file");
    }

    #[test]
    fn a_sender_is_an_address() {
        assert!(rule(|settings| settings.from = "the shop".into()).starts_with("from must be an address"));
    }
}

//! Mail over TLS, to a server that wants to know who brings it.

use crate::shop::Shop;
use kontor_command_services::notifications::Tls;
use kontor_command_services::notifications::outbox::Status;
use kontor_command_services::service::Role;
use kontor_command_services::settings::Settings;
use kontor_local::mail_sink::{Account, Encryption, Mechanism, Security, acceptor};
use kontor_settings::Secret;
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use std::fs;

/// A server's certificate, signed by itself, made for this test.
struct Certificate(CertifiedKey<KeyPair>);

impl Certificate {
    fn of(host: &str) -> Self {
        Self(generate_simple_self_signed([host.to_owned()]).expect("a certificate"))
    }

    fn security(&self, tls: Tls, mechanism: Mechanism) -> Security {
        let acceptor = acceptor(self.0.cert.der().to_vec(), self.0.signing_key.serialize_der()).expect("it fits");
        let encryption = match tls {
            Tls::None => Encryption::None,
            Tls::Starttls => Encryption::Starttls(acceptor),
            Tls::Implicit => Encryption::Implicit(acceptor),
        };
        let account = Account { user: "shop".into(), password: "secret".into(), mechanism };
        Security { encryption, account: Some(account) }
    }

    /// Has the shop trust this server, and say who it is.
    fn trust(&self, shop: &Shop, settings: &mut Settings, tls: Tls, password: &str) {
        let path = shop.servers.folder().join("mail-ca.pem");
        fs::write(&path, self.0.cert.pem()).expect("the folder can be written to");
        settings.mail.tls = tls;
        settings.mail.ca_file = Some(path);
        settings.mail.user = Some("shop".into());
        settings.mail.password = Some(Secret::new(password));
        settings.mail.attempts_max = 3;
    }
}

#[tokio::test]
async fn mail_goes_out_encrypted_to_a_server_that_knows_us() {
    for (tls, mechanism) in [
        (Tls::Starttls, Mechanism::Plain),
        (Tls::Starttls, Mechanism::Login),
        (Tls::Implicit, Mechanism::Plain),
        (Tls::Implicit, Mechanism::Login),
    ] {
        let certificate = Certificate::of("127.0.0.1");
        let shop = Shop::open_with(certificate.security(tls, mechanism)).await;
        let trust = |settings: &mut Settings| certificate.trust(&shop, settings, tls, "secret");
        let _sender = shop.sender_with(&[Role::Notifications], trust).await;
        for buyer in ["ada@example.com", "bob@example.com"] {
            shop.sell(buyer).await;
        }
        shop.until_mailed(2).await;
        let sent = shop.until_settled(2).await;
        let told = sent.iter().map(|mail| (mail.status, mail.attempts)).collect::<Vec<_>>();
        assert_eq!(told, [(Status::Sent, 1); 2], "{tls:?} {mechanism:?}: {sent:?}");
    }
}

/// What the one mail came to that a shop with these settings could not send.
async fn given_up(shop: &Shop, adjust: impl FnOnce(&mut Settings)) -> String {
    let _sender = shop.sender_with(&[Role::Notifications], adjust).await;
    shop.sell("ada@example.com").await;
    let dead = shop.until_settled(1).await.remove(0);
    assert_eq!((dead.status, dead.attempts), (Status::Dead, 3), "{dead:?}");
    shop.until_mailed(0).await;
    dead.last_error.expect("a reason")
}

/// It is we who are refused, which a person can mend: so it is tried again, and only then given up.
#[tokio::test]
async fn a_wrong_password_is_tried_again_and_then_given_up() {
    for (tls, mechanism) in [(Tls::Starttls, Mechanism::Login), (Tls::Implicit, Mechanism::Plain)] {
        let certificate = Certificate::of("127.0.0.1");
        let shop = Shop::open_with(certificate.security(tls, mechanism)).await;
        let error = given_up(&shop, |settings| certificate.trust(&shop, settings, tls, "guessed")).await;
        assert!(error.contains("535") && !error.contains("guessed"), "{error}");
    }
}

#[tokio::test]
async fn nothing_is_told_to_a_server_whose_certificate_is_not_trusted() {
    for tls in [Tls::Starttls, Tls::Implicit] {
        // Signed by somebody whom we do not know.
        let certificate = Certificate::of("127.0.0.1");
        let shop = Shop::open_with(certificate.security(tls, Mechanism::Plain)).await;
        let error =
            given_up(&shop, |settings| Certificate::of("127.0.0.1").trust(&shop, settings, tls, "secret")).await;
        assert!(error.contains("certificate"), "{tls:?}: {error}");
        // Nor does the machine know them.
        let shop = Shop::open_with(certificate.security(tls, Mechanism::Plain)).await;
        let error = given_up(&shop, |settings| {
            certificate.trust(&shop, settings, tls, "secret");
            settings.mail.ca_file = None;
        })
        .await;
        assert!(error.contains("certificate"), "{tls:?}: {error}");
        // That of another server.
        let certificate = Certificate::of("mail.example");
        let shop = Shop::open_with(certificate.security(tls, Mechanism::Plain)).await;
        let error = given_up(&shop, |settings| certificate.trust(&shop, settings, tls, "secret")).await;
        assert!(error.contains("certificate"), "{tls:?}: {error}");
    }
}

/// Somebody between us and the server may take the offer of STARTTLS away.
#[tokio::test]
async fn nothing_is_told_in_the_clear_to_a_server_that_does_not_encrypt() {
    let shop = Shop::open().await;
    let certificate = Certificate::of("127.0.0.1");
    let error = given_up(&shop, |settings| certificate.trust(&shop, settings, Tls::Starttls, "secret")).await;
    assert!(error.contains("STARTTLS"), "{error}");
}

//! A mail server that delivers nothing: it keeps what it is sent in a folder and shows it on a page.
//!
//! For tests and for `infra/up`, never for a network: unless a test wants it otherwise, it asks nobody who they are.

mod behaviour;
mod page;
mod security;
mod smtp;
mod store;

pub use behaviour::Behaviour;
pub use security::{Account, Encryption, Mechanism, Security, acceptor};
pub use store::Mail;

use crate::Error;
use actix_web::dev::ServerHandle;
use behaviour::Behaviours;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use store::Store;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A sink at work on 127.0.0.1. It ends when dropped; the mails stay in its folder.
#[derive(Debug)]
pub struct MailSink {
    smtp_port: u16,
    page_port: u16,
    store: Arc<Store>,
    behaviours: Arc<Behaviours>,
    smtp: JoinHandle<()>,
    page: ServerHandle,
}

impl MailSink {
    /// Starts it with what is in `folder` already, of which, and of what comes, the newest `keep_max` mails are kept. Port 0:
    /// any that is free.
    pub async fn start(folder: &Path, smtp_port: u16, page_port: u16, keep_max: usize) -> Result<MailSink, Error> {
        Self::start_secure(folder, smtp_port, page_port, keep_max, Security::default()).await
    }

    /// The same, for those who keep to `security`.
    pub async fn start_secure(
        folder: &Path,
        smtp_port: u16,
        page_port: u16,
        keep_max: usize,
        security: Security,
    ) -> Result<MailSink, Error> {
        let at_folder = Error::io(format!("cannot keep mails in {}", folder.display()));
        let store = Arc::new(Store::open(folder, keep_max).map_err(at_folder)?);
        let behaviours = Arc::new(Behaviours::default());
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, smtp_port));
        let listener = TcpListener::bind(address).await.map_err(Error::io(format!("cannot listen at {address}")))?;
        let smtp_port = listener.local_addr().map_err(Error::io("cannot find the port"))?.port();
        let (page, page_port) = page::serve(store.clone(), behaviours.clone(), page_port)?;
        let smtp = tokio::spawn(smtp::serve(listener, store.clone(), behaviours.clone(), security));
        Ok(MailSink { smtp_port, page_port, store, behaviours, smtp, page })
    }

    pub fn smtp_port(&self) -> u16 {
        self.smtp_port
    }

    /// `http://127.0.0.1:<port>`: where a person reads the mails, and `/mails` has them as JSON.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.page_port)
    }

    /// All that are kept, the newest first.
    pub fn mails(&self) -> Vec<Mail> {
        self.store.mails(usize::MAX)
    }

    /// How many are kept.
    pub fn count(&self) -> usize {
        self.store.count()
    }

    /// What the sink does with mail for `recipient` from now on, or, with `*`, for everyone without a rule of their own.
    pub fn behave(&self, recipient: &str, behaviour: Behaviour) {
        self.behaviours.set(recipient, behaviour);
    }

    /// Takes all mail again.
    pub fn behave_well(&self) {
        self.behaviours.clear();
    }
}

impl Drop for MailSink {
    fn drop(&mut self) {
        self.smtp.abort();
        drop(self.page.stop(false)); // Told at once; nobody waits for it.
    }
}

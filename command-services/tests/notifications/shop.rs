//! A shop with orders from the check-out, a process that mails about them, and the sink that the mails end in.

use crate::support::{self, App};
use chrono::{DateTime, TimeDelta, Utc};
use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use kontor_command_services::notifications::MailSettings;
use kontor_command_services::notifications::outbox::{Notification, Outbox, Wanted};
use kontor_command_services::service::Role;
use kontor_command_services::settings::Settings;
use kontor_domain::order::{Checkout, Fulfilment, Line, Order, OrderCommand, OrderNumber, total};
use kontor_domain::personal::{Address, CountryCode};
use kontor_domain::pricing::{BasisPoints, Breakdown, PricedLine, ShippingCharge, TaxShare};
use kontor_domain::product::{Product, ProductCommand};
use kontor_domain::text::{Country, Name, PaymentMethod};
use kontor_domain::{CartId, Currency, Money, OrderId, PaymentId, Quantity, SubjectId};
use kontor_event_store::{Append, Key, Log, LogSettings, NewEvent, StreamAppend, StreamId};
use kontor_local::mail_sink::Security;
use kontor_local::{Mail, MailSink, Need, Role as DbRole, Servers};
use kontor_privacy::{Keyring, MasterKey, PrivacySettings};
use sqlx::PgPool;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

pub struct Shop {
    pub servers: Arc<Servers>,
    pub sink: MailSink,
    pub log: Arc<Log>,
    pub keyring: Keyring,
    pub outbox: Outbox,
}

pub fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_764_590_400, 0).expect("a time in 2025")
}

pub fn pence(amount_minor: i64) -> Money {
    Money::new(amount_minor, Currency::GBP)
}

pub fn units(n: u64) -> Quantity {
    Quantity::new(n).expect("few units")
}

impl Shop {
    pub async fn open() -> Self {
        Self::open_with(Security::default()).await
    }

    /// With a sink that wants to be spoken to like this.
    pub async fn open_with(security: Security) -> Self {
        let servers = Arc::new(Servers::start(&[Need::Postgres]).await.expect("Postgres starts"));
        support::migrate(&servers).await;
        let sink = MailSink::start_secure(&servers.folder().join("mails"), 0, 0, 10_000, security).await;
        let url = servers.postgres().url(DbRole::Command);
        let log = Log::open(url.parse().expect("a URL"), LogSettings::default(), Default::default()).await;
        let pool = PgPool::connect(&url).await.expect("it takes connections");
        let master = MasterKey::read(servers.master_key_file()).expect("the master key");
        let keyring = Keyring::new(pool.clone(), master, &PrivacySettings::default());
        let sink = sink.expect("the sink starts");
        Self { servers, sink, log: log.expect("the log"), keyring, outbox: Outbox::new(pool) }
    }

    /// A process that sends mail to the sink and does not wait long.
    pub async fn sender(&self) -> App {
        self.sender_with(&[Role::Notifications], |_| {}).await
    }

    pub async fn sender_with(&self, roles: &[Role], adjust: impl FnOnce(&mut Settings)) -> App {
        let mail = MailSettings {
            port: self.sink.smtp_port(),
            from: "Mugs <orders@mugs.example>".into(),
            backoff_base_ms: 10,
            backoff_max_ms: 40,
            poll_interval_ms: 10,
            ..MailSettings::default()
        };
        let adjust = |settings: &mut Settings| {
            settings.mail = mail;
            adjust(settings);
        };
        support::join(self.servers.clone(), roles, adjust).await
    }

    /// Has the aggregate handle commands, none of which may be refused, and appends their events. Returns their ids.
    pub async fn append<A: Aggregate<Services = ()>>(
        &self,
        id: &str,
        commands: impl IntoIterator<Item = A::Command>,
    ) -> Vec<Uuid>
    where
        A::Error: std::fmt::Debug,
    {
        let lineage = self.log.new_lineage();
        let mut loaded = self.log.load::<A>(id).await.expect("the stream");
        let (mut events, mut ids) = (Vec::new(), Vec::new());
        for command in commands {
            let sink = EventSink::default();
            loaded.aggregate.handle(command, &(), &sink).await.expect("the rules allow it");
            for event in sink.collect().await {
                let event_id = Uuid::now_v7();
                ids.push(event_id);
                events.push(NewEvent {
                    event_type: event.event_type(),
                    event_version: event.event_version(),
                    payload: serde_json::to_string(&event).expect("JSON"),
                    metadata: format!(
                        r#"{{"event_id":"{event_id}","correlation_id":"{0}","causation_id":"{0}","actor":"test","traceparent":""}}"#,
                        Uuid::nil()
                    ),
                });
            }
        }
        let stream = StreamId { aggregate_type: A::TYPE, aggregate_id: id.into() };
        let streams = vec![StreamAppend { stream, expected_version: loaded.version, lineage, events }];
        self.log.append(Append { key: Key::unique(), streams }).await.expect("appended");
        ids
    }

    pub async fn call(&self, sku: &str, name: &str) {
        let name = Name::new(name).expect("a name");
        self.append::<Product>(sku, [ProductCommand::Register { name, description: None, draft: false }]).await;
    }

    /// An order of two mugs from the check-out, confirmed. The buyer is a subject of their own, named after their address.
    pub async fn sell(&self, email: &str) -> OrderId {
        let id = OrderId(Uuid::now_v7());
        let (place, payment_id) = self.place(id, email).await;
        let authorise = OrderCommand::Authorise { payment_id, amount: pence(2_895), authorised_at: now() };
        let confirm = OrderCommand::Confirm { confirmed_at: now() };
        self.append::<Order>(&id.to_string(), [place, authorise, confirm]).await;
        id
    }

    async fn place(&self, order_id: OrderId, email: &str) -> (OrderCommand, PaymentId) {
        let (sku, quantity, unit_price) = ("MUG".parse().expect("a SKU"), units(2), pence(1_200));
        let subject = subject(email);
        let seal = async |text: &str| self.keyring.seal(&subject, text).await.expect("it is sealed");
        let addressee =
            seal(r#"{"name":"Ada Lovelace","street":"12 St James's Square","town":"London","postcode":"SW1Y 4JH"}"#)
                .await;
        let address = Address { country: CountryCode::from_code("GB").expect("a country"), addressee };
        let tax_rate = BasisPoints(2_000);
        let goods =
            PricedLine { sku, quantity, unit_price, tax_rate, net: pence(2_000), tax: pence(400), total: pence(2_400) };
        let shipping = ShippingCharge {
            method: "standard".parse().expect("a method"),
            tax_rate,
            net: pence(412),
            tax: pence(83),
            total: pence(495),
        };
        let payment_id = PaymentId(Uuid::now_v7());
        let checkout = Checkout {
            cart_id: CartId(Uuid::now_v7()),
            number: OrderNumber::of(order_id),
            email: seal(email).await,
            shipping_address: address.clone(),
            billing_address: address,
            breakdown: Breakdown {
                currency: Currency::GBP,
                lines: vec![goods],
                shipping: Some(shipping),
                taxes: vec![TaxShare { rate: tax_rate, net: pence(2_412), tax: pence(483) }],
                total: pence(2_895),
            },
            payment_id,
            payment_method: PaymentMethod::new("tok_success").expect("a token"),
            pay_by: now() + TimeDelta::minutes(15),
        };
        (order(order_id, Fulfilment::Checkout, Some(Box::new(checkout))), payment_id)
    }

    /// All mails that the outbox knows.
    pub async fn notifications(&self) -> Vec<Notification> {
        self.outbox.list(&Wanted { limit: 10_000, ..Wanted::default() }).await.expect("the outbox")
    }

    pub async fn of_order(&self, id: OrderId) -> Vec<Notification> {
        let wanted = Wanted { order_id: Some(id), limit: 100, ..Wanted::default() };
        self.outbox.list(&wanted).await.expect("the outbox")
    }

    /// Waits until the sink has `count` mails, and no more; the newest first.
    pub async fn until_mailed(&self, count: usize) -> Vec<Mail> {
        until(&format!("{count} mails"), async || self.sink.mails().len() >= count).await;
        let mails = self.sink.mails();
        assert_eq!(mails.len(), count, "{mails:?}");
        mails
    }

    /// All mails that have arrived so far.
    pub fn mails(&self) -> Vec<Mail> {
        self.sink.mails()
    }

    /// Waits until no mail is due or being sent, and `count` are known.
    pub async fn until_settled(&self, count: usize) -> Vec<Notification> {
        until(&format!("{count} settled mails"), async || {
            let known = self.notifications().await;
            known.len() >= count && known.iter().all(|mail| mail.settled_at.is_some())
        })
        .await;
        let known = self.notifications().await;
        assert_eq!(known.len(), count, "{known:?}");
        known
    }
}

/// An order of two mugs at 12.00.
pub fn order(order_id: OrderId, fulfilment: Fulfilment, checkout: Option<Box<Checkout>>) -> OrderCommand {
    let lines = vec![Line { sku: "MUG".parse().expect("a SKU"), quantity: units(2), unit_price: pence(1_200) }];
    assert_eq!(total(&lines), Ok(pence(2_400)));
    OrderCommand::Place {
        order_id,
        reference: None,
        customer_id: None,
        country: Country::new("United Kingdom").expect("a country"),
        lines,
        fulfilment,
        placed_at: now(),
        checkout,
    }
}

pub fn subject(email: &str) -> SubjectId {
    email.replace('@', "-at-").parse().expect("a subject")
}

/// Message-IDs, each once.
pub fn distinct(mails: &[Mail]) -> usize {
    mails.iter().map(|mail| &mail.message_id).collect::<std::collections::BTreeSet<_>>().len()
}

pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(Instant::now() < patience, "still waiting for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

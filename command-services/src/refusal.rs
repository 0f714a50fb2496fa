//! Why the rules refuse a command, whichever aggregate said so.

use kontor_domain::cancellation::CancellationError;
use kontor_domain::cart::CartError;
use kontor_domain::category::CategoryError;
use kontor_domain::order::OrderError;
use kontor_domain::payment::PaymentError;
use kontor_domain::pricing::PricingError;
use kontor_domain::product::ProductError;
use kontor_domain::sku::SkuError;
use kontor_domain::slug::SlugError;
use kontor_domain::stock::StockError;
use kontor_domain::timer::TimerError;
use kontor_domain::{Sku, Slug, SubjectId};

/// The refusal of one aggregate, with the id that the client needs to know which.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// `None`: any that exists.
    #[error("If-Match asks for {}, it is at version {actual}", expected.map_or("one that exists".to_owned(), |version| format!("version {version}")))]
    Stale { expected: Option<i64>, actual: i64 },
    #[error(transparent)]
    Product(#[from] ProductError),
    #[error("{sku}: {error}")]
    Sku { sku: Sku, error: SkuError },
    #[error("{slug}: {error}")]
    Slug { slug: Slug, error: SlugError },
    #[error(transparent)]
    Category(#[from] CategoryError),
    #[error("{sku}: {error}")]
    Stock { sku: Sku, error: StockError },
    #[error(transparent)]
    Order(#[from] OrderError),
    #[error(transparent)]
    Cancellation(#[from] CancellationError),
    #[error(transparent)]
    Cart(#[from] CartError),
    #[error(transparent)]
    Pricing(#[from] PricingError),
    #[error("{sku} is not on sale")]
    NotOnSale { sku: Sku },
    #[error(transparent)]
    Payment(#[from] PaymentError),
    #[error(transparent)]
    Timer(#[from] TimerError),
    #[error("the personal data of {subject} has been erased")]
    Erased { subject: SubjectId },
    #[error("no customer is named")]
    NoCustomer,
    #[error("line {line} is named twice")]
    LineTwice { line: u32 },
}

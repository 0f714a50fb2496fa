//! Why the rules refuse a command, whichever aggregate said so.

use kontor_domain::Sku;
use kontor_domain::cancellation::CancellationError;
use kontor_domain::order::OrderError;
use kontor_domain::product::ProductError;
use kontor_domain::stock::StockError;

/// The refusal of one aggregate, with the id that the client needs to know which.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    #[error(transparent)]
    Product(#[from] ProductError),
    #[error("{sku}: {error}")]
    Stock { sku: Sku, error: StockError },
    #[error(transparent)]
    Order(#[from] OrderError),
    #[error(transparent)]
    Cancellation(#[from] CancellationError),
}

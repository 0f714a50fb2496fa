//! Every command there is: its name in a bulk, its form, its decision.

use crate::executor::{Decision, Stop, Unit};
use crate::http::fields::{Fields, InvalidField};
use crate::orders::{BookCancellation, CancelOrder, PlaceOrder};
use crate::products::{DescribeProduct, PriceProduct, RegisterProduct, WithdrawProduct};
use crate::stock::{ReceiveStock, ReleaseStock, ReserveStock, ShipStock};

/// One list for all doors: `name => Form`.
macro_rules! commands {
    ($($name:literal => $form:ident,)*) => {
        /// A command as it came in, well-formed.
        #[derive(Debug)]
        pub enum Command {
            $($form($form),)*
        }

        /// The names of all commands.
        pub const NAMES: &[&str] = &[$($name),*];

        impl Command {
            /// Reads the command called `name` from its fields. `None`: no command is called so.
            pub fn read(name: &str, fields: &Fields<'_>) -> Option<Result<Self, InvalidField>> {
                Some(match name {
                    $($name => fields.read().map(Command::$form),)*
                    _ => return None,
                })
            }
        }

        impl Decision for Command {
            async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
                match self {
                    $(Command::$form(command) => command.decide(unit).await,)*
                }
            }
        }
    };
}

commands! {
    "register-product" => RegisterProduct,
    "describe-product" => DescribeProduct,
    "price-product" => PriceProduct,
    "withdraw-product" => WithdrawProduct,
    "receive-stock" => ReceiveStock,
    "reserve-stock" => ReserveStock,
    "release-stock" => ReleaseStock,
    "ship-stock" => ShipStock,
    "place-order" => PlaceOrder,
    "cancel-order" => CancelOrder,
    "book-cancellation" => BookCancellation,
}

//! Every command there is: its name in a bulk, its form, who may give it, its decision.

use crate::executor::{Decision, Stop, Unit};
use crate::http::fields::{Fields, InvalidField};
use crate::orders::{BookCancellation, CancelOrder, PlaceOrder};
use crate::products::{DescribeProduct, PriceProduct, RegisterProduct, WithdrawProduct};
use crate::stock::{
    AdjustStock, ConfirmStock, CountStock, ExpireStock, LimitBackOrders, ReceiveStock, ReleaseStock, ReserveStock,
    ReturnStock, ShipStock, TransferStock,
};
use kontor_identity::Permission;

/// One list for all doors: `name => Form, Permission`.
macro_rules! commands {
    ($($name:literal => $form:ident, $permission:ident;)*) => {
        /// A command as it came in, well-formed.
        #[derive(Debug)]
        pub enum Command {
            $($form($form),)*
        }

        /// The names of all commands.
        pub const NAMES: &[&str] = &[$($name),*];

        impl Command {
            /// What the one who gives the command called `name` must be allowed to do. `None`: no command is called so.
            pub fn permission(name: &str) -> Option<Permission> {
                Some(match name {
                    $($name => Permission::$permission,)*
                    _ => return None,
                })
            }

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
    "register-product" => RegisterProduct, EditCatalogue;
    "describe-product" => DescribeProduct, EditCatalogue;
    "price-product" => PriceProduct, EditCatalogue;
    "withdraw-product" => WithdrawProduct, EditCatalogue;
    "receive-stock" => ReceiveStock, MoveStock;
    "adjust-stock" => AdjustStock, MoveStock;
    "count-stock" => CountStock, MoveStock;
    "transfer-stock" => TransferStock, MoveStock;
    "reserve-stock" => ReserveStock, MoveStock;
    "confirm-stock" => ConfirmStock, MoveStock;
    "release-stock" => ReleaseStock, MoveStock;
    "expire-stock" => ExpireStock, MoveStock;
    "ship-stock" => ShipStock, MoveStock;
    "return-stock" => ReturnStock, MoveStock;
    "limit-back-orders" => LimitBackOrders, MoveStock;
    "place-order" => PlaceOrder, BookTrade;
    "cancel-order" => CancelOrder, CancelOrder;
    "book-cancellation" => BookCancellation, BookTrade;
}

//! Every command there is: its name in a bulk, its form, who may give it, its path, its refusals, its decision.

use crate::carts::check_out::CheckOutCart;
use crate::carts::{
    AssignCart, ChooseCartShipping, MergeCart, OpenCart, SetCartBillingAddress, SetCartDetails, SetCartEmail,
    SetCartQuantity, SetCartShippingAddress,
};
use crate::categories::{CreateCategory, ImportCategory, MoveCategory, RemoveCategory, RenameCategory};
use crate::executor::{Decision, Stop, Unit};
use crate::http::fields::{Fields, InvalidField};
use crate::http::problem::{self, Kind};
use crate::orders::returns::{ReceiveReturn, RequestReturn};
use crate::orders::shipping::{DeliverShipment, ShipOrder};
use crate::orders::{BookCancellation, CancelOrder, PlaceOrder};
use crate::payments::commands::{CapturePayment, RefundPayment, VoidPayment};
use crate::products::{
    AddVariant, CategoriseProduct, DescribeProduct, ImportProduct, PriceProduct, PublishProduct, RegisterProduct,
    RemoveVariant, RemoveVariantPrice, SetAttributes, SetMedia, SetSlug, SetTaxClass, WithdrawProduct,
};
use crate::stock::{
    AdjustStock, ConfirmStock, CountStock, ExpireStock, LimitBackOrders, ReceiveStock, ReleaseStock, ReserveStock,
    ReturnStock, ShipStock, TransferStock,
};
use kontor_identity::Permission;
use schemars::{Schema, SchemaGenerator};

/// What is known of a command before one comes in.
pub struct Spec {
    /// Its name in a bulk.
    pub name: &'static str,
    /// What the one who gives it must be allowed to do.
    pub permission: Permission,
    /// Where it is posted by itself. What is in braces is a field of its form, which the path gives.
    pub path: &'static str,
    /// How the rules may refuse it.
    pub refusals: &'static [&'static [&'static Kind]],
    /// Its form.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
}

impl Spec {
    /// The command called `name`, if there is one.
    pub fn of(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|spec| spec.name == name)
    }

    /// The fields that the path gives.
    pub fn path_fields(&self) -> impl Iterator<Item = &'static str> {
        path_fields(self.path)
    }
}

/// What is in braces.
pub fn path_fields(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

/// One table for all doors: `name => Form, Permission, path, [problem files with its refusals]`. The routes, bulks and the
/// OpenAPI document follow from it.
macro_rules! commands {
    ($($name:literal => $form:ident, $permission:ident, $path:literal, [$($refusals:ident),*];)*) => {
        /// A command as it came in, well-formed.
        #[derive(Debug)]
        pub enum Command {
            $($form($form),)*
        }

        /// All commands.
        pub const ALL: &[Spec] = &[$(Spec {
            name: $name,
            permission: Permission::$permission,
            path: $path,
            refusals: &[$(problem::$refusals::ALL),*],
            schema: SchemaGenerator::subschema_for::<$form>,
        }),*];

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
    "register-product" => RegisterProduct, EditCatalogue, "/v1/products", [product];
    "describe-product" => DescribeProduct, EditCatalogue, "/v1/products/{sku}/describe", [product];
    "price-product" => PriceProduct, EditCatalogue, "/v1/products/{sku}/price", [product];
    "publish-product" => PublishProduct, EditCatalogue, "/v1/products/{sku}/publish", [product];
    "withdraw-product" => WithdrawProduct, EditCatalogue, "/v1/products/{sku}/withdraw", [product];
    "add-variant" => AddVariant, EditCatalogue, "/v1/products/{sku}/variants", [product];
    "remove-variant" => RemoveVariant, EditCatalogue, "/v1/products/{sku}/variants/remove", [product];
    "remove-variant-price" => RemoveVariantPrice, EditCatalogue, "/v1/products/{sku}/price/remove", [product];
    "set-slug" => SetSlug, EditCatalogue, "/v1/products/{sku}/slug", [product];
    "set-tax-class" => SetTaxClass, EditCatalogue, "/v1/products/{sku}/tax-class", [product];
    "set-attributes" => SetAttributes, EditCatalogue, "/v1/products/{sku}/attributes", [product];
    "set-media" => SetMedia, EditCatalogue, "/v1/products/{sku}/media", [product];
    "categorise-product" => CategoriseProduct, EditCatalogue, "/v1/products/{sku}/categories", [product, category];
    "import-product" => ImportProduct, EditCatalogue, "/v1/products/{sku}/import", [product, category];
    "create-category" => CreateCategory, EditCatalogue, "/v1/categories", [category];
    "rename-category" => RenameCategory, EditCatalogue, "/v1/categories/{category}/rename", [category];
    "move-category" => MoveCategory, EditCatalogue, "/v1/categories/{category}/move", [category];
    "remove-category" => RemoveCategory, EditCatalogue, "/v1/categories/{category}/remove", [category];
    "import-category" => ImportCategory, EditCatalogue, "/v1/categories/{category}/import", [category];
    "receive-stock" => ReceiveStock, MoveStock, "/v1/stock/{sku}/receive", [stock];
    "adjust-stock" => AdjustStock, MoveStock, "/v1/stock/{sku}/adjust", [stock];
    "count-stock" => CountStock, MoveStock, "/v1/stock/{sku}/count", [stock];
    "transfer-stock" => TransferStock, MoveStock, "/v1/stock/{sku}/transfer", [stock];
    "reserve-stock" => ReserveStock, MoveStock, "/v1/stock/{sku}/reserve", [stock];
    "confirm-stock" => ConfirmStock, MoveStock, "/v1/stock/{sku}/confirm", [stock];
    "release-stock" => ReleaseStock, MoveStock, "/v1/stock/{sku}/release", [stock];
    "expire-stock" => ExpireStock, MoveStock, "/v1/stock/{sku}/expire", [stock];
    "ship-stock" => ShipStock, MoveStock, "/v1/stock/{sku}/ship", [stock];
    "return-stock" => ReturnStock, MoveStock, "/v1/stock/{sku}/return", [stock];
    "limit-back-orders" => LimitBackOrders, MoveStock, "/v1/stock/{sku}/back-orders", [stock];
    "open-cart" => OpenCart, Shop, "/v1/carts", [cart];
    "set-cart-quantity" => SetCartQuantity, Shop, "/v1/carts/{cart_id}/lines", [cart];
    "set-cart-email" => SetCartEmail, Shop, "/v1/carts/{cart_id}/email", [cart];
    "set-cart-shipping-address" => SetCartShippingAddress, Shop, "/v1/carts/{cart_id}/shipping-address", [cart];
    "set-cart-billing-address" => SetCartBillingAddress, Shop, "/v1/carts/{cart_id}/billing-address", [cart];
    "choose-cart-shipping" => ChooseCartShipping, Shop, "/v1/carts/{cart_id}/shipping-method", [cart];
    "set-cart-details" => SetCartDetails, Shop, "/v1/carts/{cart_id}/details", [cart];
    "assign-cart" => AssignCart, AssignCart, "/v1/carts/{cart_id}/assign", [cart];
    "merge-cart" => MergeCart, Shop, "/v1/carts/{cart_id}/merge", [cart];
    "check-out-cart" => CheckOutCart, Shop, "/v1/carts/{cart_id}/check-out", [cart, order, stock];
    "place-order" => PlaceOrder, BookTrade, "/v1/orders", [order, stock];
    "cancel-order" => CancelOrder, CancelOrder, "/v1/orders/{order_id}/cancel", [order, stock];
    "ship-order" => ShipOrder, MoveStock, "/v1/orders/{order_id}/ship", [order, stock];
    "deliver-shipment" => DeliverShipment, MoveStock, "/v1/orders/{order_id}/deliver", [order];
    "request-return" => RequestReturn, ReturnGoods, "/v1/orders/{order_id}/returns", [order];
    "receive-return" => ReceiveReturn, MoveStock, "/v1/orders/{order_id}/returns/receive", [order];
    "book-cancellation" => BookCancellation, BookTrade, "/v1/cancellations", [order, stock];
    "capture-payment" => CapturePayment, MovePayments, "/v1/payments/{payment_id}/capture", [payment];
    "void-payment" => VoidPayment, MovePayments, "/v1/payments/{payment_id}/void", [payment];
    "refund-payment" => RefundPayment, MovePayments, "/v1/payments/{payment_id}/refund", [payment];
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_path_is_for_one_command() {
        let paths: HashSet<_> = ALL.iter().map(|spec| spec.path).collect();
        assert_eq!(paths.len(), ALL.len());
    }
}

//! The one table of who may do what.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a caller is to the shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Runs the shop.
    Admin,
    /// Looks after catalogue, orders and customers.
    Staff,
    /// Moves goods.
    Warehouse,
    /// Reads reports.
    Analyst,
    /// Buys, and has orders of their own.
    Customer,
    /// Has not said who they are. No token names this role.
    #[serde(skip)]
    Guest,
}

impl Role {
    /// Those that a token may name.
    pub const OF_TOKENS: [Role; 5] = [Role::Admin, Role::Staff, Role::Warehouse, Role::Analyst, Role::Customer];

    pub fn name(self) -> &'static str {
        match self {
            Role::Admin => "admin",
            Role::Staff => "staff",
            Role::Warehouse => "warehouse",
            Role::Analyst => "analyst",
            Role::Customer => "customer",
            Role::Guest => "guest",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

macro_rules! policy {
    ($($(#[$doc:meta])* $permission:ident, $name:literal => [$($role:ident),+];)*) => {
        /// Something that a caller may be allowed to do.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Permission {
            $($(#[$doc])* $permission,)*
        }

        impl Permission {
            pub const ALL: &[Permission] = &[$(Permission::$permission),*];

            /// As problems and documents name it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Permission::$permission => $name,)*
                }
            }

            /// Whose it is.
            pub fn roles(self) -> &'static [Role] {
                match self {
                    $(Permission::$permission => &[$(Role::$role),+],)*
                }
            }
        }
    };
}

policy! {
    /// Products as customers see them.
    ReadCatalogue, "read-catalogue" => [Guest, Customer, Analyst, Warehouse, Staff, Admin];
    /// Register, describe, price, categorise and withdraw products; plant the tree of categories.
    EditCatalogue, "edit-catalogue" => [Staff, Admin];
    /// Receive, reserve, release and ship goods.
    MoveStock, "move-stock" => [Warehouse, Staff, Admin];
    /// Book orders and cancellations at any price and time, for any customer: trade that was made elsewhere.
    BookTrade, "book-trade" => [Staff, Admin];
    /// Fill carts and check them out: for customers, their own; for guests, those whose id they know.
    Shop, "shop" => [Guest, Customer, Staff, Admin];
    /// Make a guest's cart a customer's: for customers, their own.
    AssignCart, "assign-cart" => [Customer, Staff, Admin];
    /// Send goods back: for customers, those of an order of their own.
    ReturnGoods, "return-goods" => [Customer, Warehouse, Staff, Admin];
    /// Take an order back: for customers, one of their own.
    CancelOrder, "cancel-order" => [Customer, Staff, Admin];
    /// See orders: for customers, their own.
    ReadOrders, "read-orders" => [Customer, Warehouse, Staff, Admin];
    /// See where an order goes, in plain words: for customers, their own.
    ReadShippingAddress, "read-shipping-address" => [Customer, Warehouse, Staff, Admin];
    /// See who pays for an order and how to reach them, in plain words: for customers, their own.
    ReadBuyer, "read-buyer" => [Customer, Staff, Admin];
    /// See which mails to customers were sent, and retry or drop those that were not.
    ManageNotifications, "manage-notifications" => [Staff, Admin];
    /// Capture, void and refund what customers pay, and see what the payment simulator has done.
    MovePayments, "move-payments" => [Staff, Admin];
    /// See payments: for customers, those of their own orders.
    ReadPayments, "read-payments" => [Customer, Staff, Admin];
    /// See where which units are, and which orders hold them.
    ReadStock, "read-stock" => [Warehouse, Staff, Admin];
    /// See who the customers are.
    ListCustomers, "list-customers" => [Staff, Admin];
    /// See what is known of a customer: for customers, of themselves.
    ReadCustomer, "read-customer" => [Customer, Staff, Admin];
    /// See what products, orders and stock were, at any time.
    ReadHistory, "read-history" => [Analyst, Staff, Admin];
    /// Totals of the whole shop.
    ReadReports, "read-reports" => [Analyst, Staff, Admin];
    /// Send many commands at once. Each still needs its own permission.
    SendBulk, "send-bulk" => [Warehouse, Staff, Admin];
    /// Ask what became of one's own command.
    ReadOutcomes, "read-outcomes" => [Customer, Warehouse, Staff, Admin];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_may_look_at_products_and_buy_and_nothing_else() {
        let allowed: Vec<_> =
            Permission::ALL.iter().filter(|permission| permission.roles().contains(&Role::Guest)).collect();
        assert_eq!(allowed, [&Permission::ReadCatalogue, &Permission::Shop]);
    }

    #[test]
    fn customers_change_nothing_but_what_is_theirs() {
        for permission in [
            Permission::EditCatalogue,
            Permission::MoveStock,
            Permission::BookTrade,
            Permission::ManageNotifications,
            Permission::MovePayments,
            Permission::SendBulk,
        ] {
            assert!(!permission.roles().contains(&Role::Customer), "{}", permission.name());
        }
    }

    #[test]
    fn a_role_in_a_token_is_spelt_like_its_name() {
        for role in Role::OF_TOKENS {
            assert_eq!(serde_json::to_value(role).ok(), Some(role.name().into()));
        }
        assert!(serde_json::from_str::<Role>("\"guest\"").is_err());
    }
}

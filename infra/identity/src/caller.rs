//! The one who asks.

use crate::policy::{Permission, Role};
use compact_str::CompactString;
use kontor_domain::CustomerId;

/// Who asks for something, as their token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    subject: CompactString,
    role: Role,
    customer: Option<CustomerId>,
}

/// The caller's role does not allow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{role} may not {}", permission.name())]
pub struct Denied {
    pub role: Role,
    pub permission: Permission,
}

impl Caller {
    /// Somebody without a token.
    pub fn guest() -> Self {
        Self { subject: Role::Guest.name().into(), role: Role::Guest, customer: None }
    }

    /// One of our own, who acts for nobody: a process manager.
    pub fn internal(name: &str) -> Self {
        Self { subject: name.into(), role: Role::Admin, customer: None }
    }

    pub(crate) fn new(subject: CompactString, role: Role, customer: Option<CustomerId>) -> Self {
        Self { subject, role, customer }
    }

    /// The name that events keep as their actor, and that idempotency keys belong to.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    pub fn role(&self) -> Role {
        self.role
    }

    /// The customer that the caller is, if they are one.
    pub fn customer(&self) -> Option<&CustomerId> {
        self.customer.as_ref()
    }

    pub fn may(&self, permission: Permission) -> Result<(), Denied> {
        if permission.roles().contains(&self.role) { Ok(()) } else { Err(Denied { role: self.role, permission }) }
    }

    /// Whether something that belongs to `owner` concerns the caller: customers see their own things only.
    pub fn concerns(&self, owner: Option<&CustomerId>) -> bool {
        match self.role {
            Role::Customer => self.customer.is_some() && self.customer.as_ref() == owner,
            Role::Guest => false,
            Role::Admin | Role::Staff | Role::Warehouse | Role::Analyst => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn customer(id: &str) -> CustomerId {
        id.parse().expect("a valid id")
    }

    #[test]
    fn customers_see_their_own_things_only() {
        let caller = Caller::new("c-17".into(), Role::Customer, Some(customer("17")));
        assert!(caller.concerns(Some(&customer("17"))));
        assert!(!caller.concerns(Some(&customer("18"))));
        assert!(!caller.concerns(None));
        assert!(!Caller::guest().concerns(None));
        assert!(Caller::internal("relay").concerns(None));
    }

    #[test]
    fn what_no_row_allows_is_denied() {
        let denied = Denied { role: Role::Guest, permission: Permission::MoveStock };
        assert_eq!(Caller::guest().may(Permission::MoveStock), Err(denied));
        assert_eq!(denied.to_string(), "guest may not move-stock");
        assert_eq!(Caller::guest().may(Permission::ReadCatalogue), Ok(()));
    }
}

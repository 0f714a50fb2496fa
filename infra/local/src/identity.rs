//! Who may call the local platform: a key of its own, until there is an identity service, and tokens made with it.

use crate::Error;
use kontor_identity::{IdentitySettings, Issue, Role, SigningKey};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// The tiers' settings know the key by its public half only.
pub struct Identity {
    key: SigningKey,
    settings: IdentitySettings,
}

impl Identity {
    /// The key in `folder`, which is made if it is not there.
    pub fn in_folder(folder: &Path) -> Result<Identity, Error> {
        fs::create_dir_all(folder).map_err(Error::io(format!("cannot make {}", folder.display())))?;
        let key = SigningKey::find_or_make(folder).map_err(Error::Key)?;
        let settings =
            IdentitySettings { public_key_file: SigningKey::public_file(folder), ..IdentitySettings::default() };
        Ok(Identity { key, settings })
    }

    /// What a tier must be told to trust the key.
    pub fn settings(&self) -> &IdentitySettings {
        &self.settings
    }

    /// A token for a day. Panics on a customer that is none.
    pub fn token(&self, subject: &str, role: Role, customer: Option<&str>) -> String {
        let customer = customer.map(|id| id.parse().expect("a customer's id"));
        let issue = Issue { subject: subject.into(), role, customer, valid_for: Duration::from_secs(86_400) };
        issue.sign(&self.key, &self.settings).expect("the role fits the customer")
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

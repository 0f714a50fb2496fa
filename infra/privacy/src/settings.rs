use kontor_settings::{Check, Rule, at_least, between};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The keys of personal data: section `privacy`, or `KONTOR_PRIVACY__MASTER_KEY_FILE` and so on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrivacySettings {
    /// What the subjects' keys are wrapped with: 32 bytes in base64 (RFC 4648), one key a line. The first wraps, all open.
    pub master_key_file: PathBuf,
    /// Subjects whose keys are remembered. At least 1.
    pub keys_cached_max: usize,
    /// For how long a key is remembered, in seconds: so long may this process read what another has erased. 0 to 3,600;
    /// 0 asks the database every time.
    pub keys_cached_s: u64,
}

impl Default for PrivacySettings {
    fn default() -> Self {
        Self { master_key_file: "master-key".into(), keys_cached_max: 10_000, keys_cached_s: 30 }
    }
}

impl Check for PrivacySettings {
    fn check(&self) -> Result<(), Rule> {
        at_least("keys_cached_max", self.keys_cached_max, 1)?;
        between("keys_cached_s", self.keys_cached_s, 0, 3_600)
    }
}

//! Configuration of every tier: one file, overridden by the environment.
//!
//! A tier declares one struct with a field for each of its sections, and each section is a struct whose fields are the
//! settings, documented there and with their values in `Default`. [`load`] fills it from an optional TOML file and then
//! from `KONTOR_SECTION__FIELD` variables. All tiers may share one file and one environment: a tier passes over the
//! sections of the others, but a name that belongs to nobody is refused, because it is somebody's typing error.

mod check;
mod error;
mod secret;
mod source;
mod value;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

pub use check::{Check, Rule, at_least, between, section};
pub use error::SettingsError;
pub use secret::{InvalidUrl, Secret, SecretUrl};
use serde::{Serialize, de::DeserializeOwned};

/// Every section that some tier reads. A section outside of this list (and of the tier's own) is refused.
pub const KNOWN_SECTIONS: &[&str] = &[
    "executor",
    "http",
    "identity",
    "live",
    "log",
    "mail",
    "nats",
    "ops",
    "payments",
    "privacy",
    "processes",
    "projections",
    "query",
    "recommendations",
    "redis",
    "relay",
    "replica",
    "search",
    "shop",
    "simulator",
    "stripe",
    "telemetry",
    "vectors",
];

/// Names the file when the command line does not.
pub const CONFIG_VARIABLE: &str = "KONTOR_CONFIG";

/// Reads the settings of a tier from `file` (or the file that `KONTOR_CONFIG` names, or none) and the environment, which
/// wins. What neither sets has the value of `Default`: sections need `#[serde(default)]` for that. A variable that is
/// set to nothing counts as not set. Lists are comma-separated in a variable.
///
/// # Errors
/// One line that names the first setting that is unknown, of the wrong kind, or refused by [`Check`], with the rule.
pub fn load<T>(file: Option<&Path>) -> Result<T, SettingsError>
where
    T: DeserializeOwned + Serialize + Default + Check,
{
    load_from(file, std::env::vars_os())
}

/// [`load`] with the environment given.
///
/// # Errors
/// As [`load`].
pub fn load_from<T>(
    file: Option<&Path>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<T, SettingsError>
where
    T: DeserializeOwned + Serialize + Default + Check,
{
    let environment = source::Environment::read(variables)?;
    let file: Option<PathBuf> = file.map(Path::to_owned).or_else(|| environment.config.clone());
    let declared = serde_json::to_value(T::default()).expect("settings are plain structs with text keys");
    let given = source::merge(&declared, file.as_deref(), environment)?;
    let settings: T = value::read(given)?;
    settings.check().map_err(|rule| rule.broken_in(&settings))?;
    Ok(settings)
}

#[cfg(test)]
mod tests;

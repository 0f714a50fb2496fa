use serde::Serialize;

use crate::error::{Setting, SettingsError};

/// What the type of a setting cannot say. Implemented by a section, and by a tier's settings by calling [`section`] for
/// each of its sections.
///
/// ```
/// use kontor_settings::{Check, Rule, at_least};
///
/// struct RelaySettings {
///     poll_interval_ms: u64,
/// }
///
/// impl Check for RelaySettings {
///     fn check(&self) -> Result<(), Rule> {
///         at_least("poll_interval_ms", self.poll_interval_ms, 1)
///     }
/// }
/// ```
pub trait Check {
    /// # Errors
    /// The first rule that is broken.
    fn check(&self) -> Result<(), Rule>;
}

/// A broken rule: which field, and what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    path: Vec<String>,
    must: String,
}

impl Rule {
    /// `field`: its name in the struct that checks. `must` follows it, as in `must be at least 1`.
    pub fn new(field: &str, must: impl Into<String>) -> Self {
        Rule { path: vec![field.to_owned()], must: must.into() }
    }

    fn within(mut self, section: &str) -> Self {
        self.path.insert(0, section.to_owned());
        self
    }

    /// The error for it, with the value as `settings` serialises it: secrets mask themselves.
    pub(crate) fn broken_in(self, settings: &impl Serialize) -> SettingsError {
        let settings = serde_json::to_value(settings).expect("settings are plain structs with text keys");
        let value = settings.pointer(&format!("/{}", self.path.join("/"))).filter(|value| !value.is_null());
        SettingsError::Refused {
            setting: Setting(self.path),
            given: value.map(ToString::to_string),
            origin: None,
            rule: self.must,
        }
    }
}

impl std::fmt::Display for Rule {
    /// `poll_interval_ms must be at least 1`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.path.join("."), self.must)
    }
}

/// Checks a section of a tier's settings; `name` is the field that holds it.
///
/// # Errors
/// The section's broken rule, under its name.
pub fn section(name: &str, section: &impl Check) -> Result<(), Rule> {
    section.check().map_err(|rule| rule.within(name))
}

/// # Errors
/// If `value` is below `min`, or not a number.
pub fn at_least<N: PartialOrd + std::fmt::Display>(field: &str, value: N, min: N) -> Result<(), Rule> {
    if value >= min { Ok(()) } else { Err(Rule::new(field, format!("must be at least {min}"))) }
}

/// # Errors
/// If `value` is not from `min` to `max`, both allowed, or not a number.
pub fn between<N: PartialOrd + std::fmt::Display>(field: &str, value: N, min: N, max: N) -> Result<(), Rule> {
    if value >= min && value <= max { Ok(()) } else { Err(Rule::new(field, format!("must be from {min} to {max}"))) }
}

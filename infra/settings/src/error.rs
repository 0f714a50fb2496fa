use std::fmt;
use std::path::PathBuf;

/// Why the settings cannot be used. Displays as one line that names the setting both ways and the rule; never a secret.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file is not there, or not readable by us.
    #[error("settings file {} cannot be read: {reason}", path.display())]
    Unreadable { path: PathBuf, reason: std::io::ErrorKind },
    /// The file is not TOML. `message` quotes nothing of the file, as the line may hold a password.
    #[error("settings file {} is not TOML, line {line}, column {column}: {message}", path.display())]
    Syntax { path: PathBuf, line: usize, column: usize, message: String },
    /// No tier has this section, or this section has no such setting.
    #[error("{given} is no setting: {reason}")]
    Unknown { given: String, reason: String },
    /// The value has the wrong kind, is out of its range, or is missing.
    #[error("{setting}{}{}: {rule}", given.as_ref().map(|value| format!(" is {value}")).unwrap_or_default(), origin.as_ref().map(|origin| format!(", from {origin}")).unwrap_or_default())]
    Refused { setting: Setting, given: Option<String>, origin: Option<String>, rule: String },
}

/// The two names of a setting: `relay.poll_interval_ms (KONTOR_RELAY__POLL_INTERVAL_MS)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting(pub Vec<String>);

impl Setting {
    /// `KONTOR_RELAY__POLL_INTERVAL_MS`.
    pub fn variable(&self) -> String {
        format!("KONTOR_{}", self.0.join("__").to_uppercase())
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0.join("."), self.variable())
    }
}

//! Words that mean the same.

use serde::{Deserialize, Serialize};

/// One group of words or phrases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Synonym {
    /// Who looks for one of them finds the others, too.
    Equal(Vec<String>),
    /// Who looks for `word` finds those, too; who looks for one of those does not find `word`.
    OneWay { word: String, finds: Vec<String> },
}

//! Words that mean the same.

use crate::engine::SearchError;
use serde::{Deserialize, Serialize};

/// Groups of synonyms at most.
pub const SYNONYMS_MAX: usize = 5_000;
/// Characters of a word or phrase at most.
const PHRASE_CHARACTERS_MAX: usize = 100;

/// One group of words or phrases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Synonym {
    /// Who looks for one of them finds the others, too.
    Equal(Vec<String>),
    /// Who looks for `word` finds those, too; who looks for one of those does not find `word`.
    OneWay { word: String, finds: Vec<String> },
}

impl Synonym {
    /// All that it is about.
    pub fn phrases(&self) -> impl Iterator<Item = &String> {
        let (first, others) = match self {
            Synonym::Equal(all) => (None, all),
            Synonym::OneWay { word, finds } => (Some(word), finds),
        };
        first.into_iter().chain(others)
    }
}

/// # Errors
/// [`SearchError::Refused`] with the first rule that is broken.
pub fn check(synonyms: &[Synonym]) -> Result<(), SearchError> {
    let refused = |must: String| Err(SearchError::Refused { field: "synonyms", must });
    if synonyms.len() > SYNONYMS_MAX {
        return refused(format!("must be at most {SYNONYMS_MAX} groups"));
    }
    for synonym in synonyms {
        if synonym.phrases().count() < 2 {
            return refused("must have two words or phrases each, at least".to_owned());
        }
        let is_wrong = |phrase: &&String| {
            phrase.chars().count() > PHRASE_CHARACTERS_MAX || !phrase.contains(char::is_alphanumeric)
        };
        if let Some(phrase) = synonym.phrases().find(is_wrong) {
            let phrase: String = phrase.chars().take(PHRASE_CHARACTERS_MAX).collect();
            return refused(format!(
                "must be of letters or digits, at most {PHRASE_CHARACTERS_MAX} characters, has {phrase:?}"
            ));
        }
    }
    Ok(())
}

/// Those that are in force until others are set: how people shorten the names of products.
pub fn usual() -> Vec<Synonym> {
    let groups: [&[&str]; 16] = [
        &["assorted", "asstd", "asst"],
        &["christmas", "xmas"],
        &["large", "lge", "lrg"],
        &["small", "sml"],
        &["medium", "med"],
        &["pack", "pk", "pkt", "packet"],
        &["piece", "pc", "pce"],
        &["colour", "color", "col"],
        &["grey", "gray"],
        &["jewellery", "jewelry"],
        &["design", "des"],
        &["decoration", "dec"],
        &["tea light", "tealight", "t light"],
        &["doughnut", "donut"],
        &["square", "sq"],
        &["television", "tv"],
    ];
    groups.iter().map(|group| Synonym::Equal(group.iter().map(|&word| word.to_owned()).collect())).collect()
}

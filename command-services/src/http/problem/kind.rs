//! The catalogue: what types of problem there are. A problem is made from a row of it, so none has another type.

use super::{Problem, cart, category, general, notification, order, payment, product, stock, webhook};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

/// Stable names of problems are URLs below this one.
const TYPES: &str = "https://kontor.dev/problems/";

/// The tables, one a file.
pub const CATALOGUE: &[&[&Kind]] = &[
    general::ALL,
    product::ALL,
    category::ALL,
    stock::ALL,
    cart::ALL,
    order::ALL,
    payment::ALL,
    webhook::ALL,
    notification::ALL,
];

/// One type of problem: a row of a table.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "ProblemType")]
pub struct Kind {
    /// A URL. It stays what it is.
    #[serde(rename = "type", serialize_with = "as_type")]
    name: &'static str,
    title: &'static str,
    status: u16,
    /// What it means, and what can be done.
    meaning: &'static str,
    /// What a problem of this type may have besides `type`, `title`, `status`, `detail` and `trace_id`.
    members: &'static [&'static str],
}

impl Kind {
    /// Called by the tables alone.
    pub const fn new(
        name: &'static str,
        status: u16,
        title: &'static str,
        meaning: &'static str,
        members: &'static [&'static str],
    ) -> Self {
        Self { name, title, status, meaning: meaning.trim_ascii(), members }
    }

    /// A problem of this type. `detail` is for people, about this one case.
    pub fn problem(&'static self, detail: impl Into<String>) -> Problem {
        debug_assert!(self.is_listed(), "the table with {} is not in the catalogue", self.name);
        Problem::new(self, detail.into())
    }

    /// All there are.
    pub fn all() -> impl Iterator<Item = &'static Kind> {
        CATALOGUE.iter().copied().flatten().copied()
    }

    /// The last part of the type.
    pub fn name(&self) -> &'static str {
        self.name
    }

    pub fn url(&self) -> String {
        format!("{TYPES}{}", self.name)
    }

    pub fn title(&self) -> &'static str {
        self.title
    }

    pub fn status(&self) -> u16 {
        self.status
    }

    pub fn meaning(&self) -> &'static str {
        self.meaning
    }

    pub fn members(&self) -> &'static [&'static str] {
        self.members
    }

    fn is_listed(&self) -> bool {
        Self::all().any(|kind| std::ptr::eq(kind, self))
    }
}

fn as_type<S: Serializer>(name: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{TYPES}{name}"))
}

/// A table: `/// meaning`, `CONSTANT = status "name", "title", [members];`. `ALL` has its rows.
macro_rules! problems {
    ($($(#[doc = $meaning:literal])+ $kind:ident = $status:literal $name:literal, $title:literal, [$($member:ident),*];)+) => {
        $(
            $(#[doc = $meaning])+
            pub static $kind: $crate::http::problem::Kind = $crate::http::problem::Kind::new(
                $name, $status, $title, concat!($($meaning),+), &[$(stringify!($member)),*],
            );
        )+

        /// Every type of problem of this file.
        pub const ALL: &[&$crate::http::problem::Kind] = &[$(&$kind),+];
    };
}
pub(super) use problems;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_type_has_one_row_that_says_what_it_means() {
        let mut names = BTreeSet::new();
        for kind in Kind::all() {
            let name = kind.name;
            assert!(names.insert(name), "{name} is there twice");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{name}");
            assert!((400..600).contains(&kind.status), "{name} has status {}", kind.status);
            assert!(kind.meaning.ends_with('.') && !kind.title.ends_with('.'), "{name}");
        }
    }
}

//! Query parameters: each is known, named once and checked, or the request is refused by its name.

use crate::problem::Problem;
use actix_web::HttpRequest;
use std::fmt::Display;
use std::str::FromStr;

/// The query parameters of one request.
#[derive(Debug)]
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Takes them from the request; only those `known` may be there, each once.
    pub fn of(request: &HttpRequest, known: &[&str]) -> Result<Self, Problem> {
        Self::of_which_repeat(request, known, "")
    }

    /// The same where `repeated`, which is among the known, may be there several times.
    pub fn of_which_repeat(request: &HttpRequest, known: &[&str], repeated: &str) -> Result<Self, Problem> {
        let mut given: Vec<(String, String)> = Vec::new();
        for (name, value) in url::form_urlencoded::parse(request.query_string().as_bytes()) {
            if !known.contains(&&*name) {
                return Err(Problem::unknown_parameter(&name, known));
            }
            if name != repeated && given.iter().any(|(earlier, _)| *earlier == name) {
                return Err(Problem::parameter(&name, "is given more than once"));
            }
            given.push((name.into_owned(), value.into_owned()));
        }
        Ok(Parameters(given))
    }

    /// The text of a parameter; `None`: not given.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// All that is given of a parameter that may be repeated.
    pub fn texts<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// The value of a parameter; `rule` says what it must be.
    pub fn value<T: FromStr>(&self, name: &str, rule: impl Display) -> Result<Option<T>, Problem> {
        let parsed = self.text(name).map(|text| text.parse().map_err(|_| Problem::parameter(name, rule)));
        parsed.transpose()
    }

    /// The text of a parameter that must be given.
    pub fn needed(&self, name: &str) -> Result<&str, Problem> {
        self.text(name).filter(|text| !text.is_empty()).ok_or_else(|| Problem::parameter(name, "must be given"))
    }
}

/// The value of a path parameter.
pub fn from_path<T: FromStr>(name: &str, text: &str, rule: impl Display) -> Result<T, Problem> {
    text.parse().map_err(|_| Problem::parameter(name, rule))
}

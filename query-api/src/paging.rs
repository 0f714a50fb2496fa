//! Pages of a list. A cursor says after which row the next page begins, so that rows that come and go in the meantime
//! neither repeat nor hide others. Clients treat it as opaque.

use crate::parameters::Parameters;
use crate::problem::Problem;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Query parameters of a page.
pub const LIMIT: &str = "limit";
pub const CURSOR: &str = "cursor";

const LIMIT_DEFAULT: usize = 20;
const LIMIT_MAX: usize = 100;

/// Which page a client asks for.
#[derive(Debug, PartialEq)]
pub struct Asked<C> {
    /// Rows, 1 to 100.
    pub limit: usize,
    /// The row before the first of the page; `None`: from the beginning.
    pub after: Option<C>,
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// The position of the log up to which the page is true.
    pub position: i64,
    pub items: Vec<T>,
    /// The `cursor` of the next page; `null`: this is the last.
    pub next_cursor: Option<String>,
}

impl<C: DeserializeOwned> Asked<C> {
    pub fn of(parameters: &Parameters) -> Result<Self, Problem> {
        let limit = parameters.text(LIMIT).map(|text| text.parse().unwrap_or(0));
        Self::given(limit, parameters.text(CURSOR))
    }

    /// The page that is asked for in other words than those of a query string. 0 stands for what is no number.
    pub fn given(limit: Option<usize>, cursor: Option<&str>) -> Result<Self, Problem> {
        let limit = match limit {
            None => LIMIT_DEFAULT,
            Some(limit @ 1..=LIMIT_MAX) => limit,
            Some(_) => return Err(Problem::parameter(LIMIT, format_args!("must be a number from 1 to {LIMIT_MAX}"))),
        };
        let after = cursor.map(|text| decode(text).ok_or_else(bad_cursor)).transpose()?;
        Ok(Asked { limit, after })
    }

    /// One row more than the page has tells whether there is another page.
    pub fn rows(&self) -> i64 {
        self.limit as i64 + 1
    }
}

/// It is none that this list has given.
pub fn bad_cursor() -> Problem {
    Problem::parameter(CURSOR, "must be a next_cursor of this list")
}

impl<T> Page<T> {
    /// `items` are what was found when one more than the page was looked for.
    pub fn of<C: Serialize>(position: i64, mut items: Vec<T>, asked: &Asked<C>, cursor: impl Fn(&T) -> C) -> Self {
        let is_last = items.len() <= asked.limit;
        items.truncate(asked.limit);
        let next_cursor = items.last().filter(|_| !is_last).map(|last| encode(&cursor(last)));
        Page { position, items, next_cursor }
    }
}

impl<T> Page<T> {
    pub fn map<U>(self, of: impl FnMut(T) -> U) -> Page<U> {
        let Page { position, items, next_cursor } = self;
        Page { position, items: items.into_iter().map(of).collect(), next_cursor }
    }
}

/// As clients see it.
pub fn encode(cursor: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(cursor).expect("cursors have a JSON form"))
}

fn decode<C: DeserializeOwned>(text: &str) -> Option<C> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

/// Position in the list of products, by SKU.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AfterSku {
    pub sku: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn asked(query: &str) -> Result<Asked<AfterSku>, Problem> {
        let request = TestRequest::with_uri(&format!("/v1/products?{query}")).to_http_request();
        Asked::of(&Parameters::of(&request, &[LIMIT, CURSOR])?)
    }

    #[test]
    fn a_cursor_is_read_back() {
        let cursor = AfterSku { sku: "85123A".to_owned() };
        let page = asked(&format!("cursor={}", encode(&cursor))).expect("our own cursor");
        assert_eq!(page, Asked { limit: 20, after: Some(cursor) });
    }

    #[test]
    fn a_page_that_is_not_full_is_the_last() {
        let asked = asked("limit=2").expect("within bounds");
        let cursor = |sku: &&str| AfterSku { sku: (*sku).to_owned() };
        assert_eq!(Page::of(7, vec!["A", "B"], &asked, cursor).next_cursor, None);
        let page = Page::of(7, vec!["A", "B", "C"], &asked, cursor);
        assert_eq!(page.items, ["A", "B"]);
        assert_eq!(page.next_cursor, Some(encode(&AfterSku { sku: "B".to_owned() })));
    }

    #[test]
    fn what_is_no_page_is_refused_by_name() {
        for (query, name) in [
            ("limit=0", "limit"),
            ("limit=101", "limit"),
            ("limit=ten", "limit"),
            ("limit=1&limit=2", "limit"),
            ("cursor=", "cursor"),
            ("cursor=!", "cursor"),
            ("cursor=e30", "cursor"), // {}
            ("page=2", "page"),
        ] {
            let problem = serde_json::to_value(asked(query).expect_err(query)).expect("a problem has a JSON form");
            assert_eq!(problem["parameter"], name, "{query}: {problem}");
            assert_eq!(problem["status"], 400);
        }
    }
}

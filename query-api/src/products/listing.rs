//! Lists of products: which of them, in which order. A page is a range of one index of the read model.

use super::filters::{ATTRIBUTE, AVAILABLE, CATEGORY, CURRENCY, FilterParameters, Filters, PRICE_MAX, PRICE_MIN};
use super::{Columns, IN_LIST, PROJECTION, Product, STOCK, product, sees_drafts};
use crate::callers::Asker;
use crate::etag;
use crate::openapi::{AsOfParameter, IfNoneMatchHeader, MinPositionHeader, PageParameters, Refused};
use crate::paging::{Asked, CURSOR, LIMIT, Page, bad_cursor};
use crate::parameters::Parameters;
use crate::problem::Problem;
use crate::view::{AS_OF, View};
use actix_web::{HttpRequest, HttpResponse};
use kontor_identity::{Caller, Permission};
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::postgres::PgRow;
use std::fmt::Write;
use std::str::FromStr;
use utoipa::IntoParams;

const STATUS: &str = "status";
const SORT: &str = "sort";
const KNOWN: [&str; 11] =
    [CATEGORY, CURRENCY, PRICE_MIN, PRICE_MAX, AVAILABLE, ATTRIBUTE, STATUS, SORT, LIMIT, CURSOR, AS_OF];

/// Of the product `p`, what [`IN_LIST`] and [`STOCK`] are made of: the stock of variants is summed up for what is on the page
/// only, not for what each of many categories brings to it.
const ROW: &str =
    "p.sku, p.name, p.description, p.price_minor, p.currency, p.prices, p.withdrawn, p.draft, p.slug, p.categories,
    p.variants, p.on_hand, p.available, p.product_position, p.stock_position, p.category_position";

/// Which products are wanted, and in which order.
#[derive(Debug, Default)]
pub struct Wanted {
    pub filters: Filters,
    /// For those who edit the catalogue.
    pub status: Option<Status>,
    pub sort: Sort,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Draft,
    Published,
    Withdrawn,
}

/// By what a list is sorted. Those that are equal are sorted by SKU.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sort {
    #[default]
    Sku,
    Name,
    /// In `currency`.
    Price,
    PriceDescending,
    Newest,
}

impl FromStr for Status {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "draft" => Ok(Status::Draft),
            "published" => Ok(Status::Published),
            "withdrawn" => Ok(Status::Withdrawn),
            _ => Err(()),
        }
    }
}

impl FromStr for Sort {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "sku" => Ok(Sort::Sku),
            "name" => Ok(Sort::Name),
            "price" => Ok(Sort::Price),
            "-price" => Ok(Sort::PriceDescending),
            "newest" => Ok(Sort::Newest),
            _ => Err(()),
        }
    }
}

impl Sort {
    /// The column of `listed`, or of `listed_prices`, that it is by.
    fn key(self) -> &'static str {
        match self {
            Sort::Sku => "sku",
            Sort::Name => "name_key",
            Sort::Price | Sort::PriceDescending => "price_minor",
            Sort::Newest => "shown_position",
        }
    }

    fn is_descending(self) -> bool {
        matches!(self, Sort::PriceDescending | Sort::Newest)
    }

    fn is_by_price(self) -> bool {
        matches!(self, Sort::Price | Sort::PriceDescending)
    }
}

/// A place in such a list: the last row of a page, with what the list is sorted by.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct After {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shown: Option<i64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    sku: String,
}

impl After {
    fn fits(&self, sort: Sort) -> bool {
        let has = (self.name.is_some(), self.price.is_some(), self.shown.is_some());
        !self.sku.is_empty()
            && has
                == match sort {
                    Sort::Sku => (false, false, false),
                    Sort::Name => (true, false, false),
                    Sort::Price | Sort::PriceDescending => (false, true, false),
                    Sort::Newest => (false, false, true),
                }
    }
}

/// One row of a list.
struct Listed {
    product: Product,
    at: After,
    /// Position of the last event in it.
    changed_at: i64,
}

impl Wanted {
    fn of(parameters: &Parameters) -> Result<Self, Problem> {
        Ok(Wanted {
            filters: Filters::of(parameters)?,
            status: parameters.value(STATUS, "must be draft, published or withdrawn")?,
            sort: parameters.value(SORT, "must be sku, name, price, -price or newest")?.unwrap_or_default(),
        })
    }

    /// What is not wanted together, or not of this caller.
    fn check(&self, caller: &Caller) -> Result<(), Problem> {
        if self.status.is_some() {
            caller.may(Permission::EditCatalogue)?;
        }
        self.filters.check(self.sort.is_by_price())
    }

    /// $1 and $2: the key of the row before, as text or number; $3: its SKU; $4: drafts, too; $5: category; $6: currency; $7 and
    /// $8: price; $9: attributes. The number of rows is written out: of one that it does not know Postgres expects a tenth of
    /// the table, and sorts that.
    fn statement(&self, is_first: bool, rows: i64) -> String {
        let Filters { category, currency, price_min, price_max, available, attributes } = &self.filters;
        let (key, is_by_price) = (self.sort.key(), self.sort.is_by_price());
        let table = if is_by_price { "listed_prices" } else { "listed" };
        let (direction, beyond) = if self.sort.is_descending() { ("desc", "<") } else { ("asc", ">") };
        let mut conditions = "(not p.draft or $4)".to_owned();
        if is_by_price {
            conditions += " and l.currency = $6";
        } else if currency.is_some() {
            conditions += " and p.prices ? $6";
        }
        // By price the range is one of the index.
        let price = if is_by_price { "l.price_minor" } else { "(p.prices ->> $6)::bigint" };
        if price_min.is_some() {
            let _ = write!(conditions, " and {price} >= $7");
        }
        if price_max.is_some() {
            let _ = write!(conditions, " and {price} <= $8");
        }
        if *available {
            conditions += " and not p.withdrawn and (p.available > 0 or p.variants > 0 and exists (
                select from variants v join products s on s.sku = v.sku where v.product = p.sku and s.available > 0))";
        }
        for n in 1..=attributes.len() {
            let _ = write!(
                conditions,
                " and exists (select from product_attributes a where a.attribute = ($9::text[])[{n}] and a.sku = l.sku)"
            );
        }
        conditions += match self.status {
            None => "",
            Some(Status::Draft) => " and p.draft and not p.withdrawn",
            Some(Status::Published) => " and not p.draft and not p.withdrawn",
            Some(Status::Withdrawn) => " and p.withdrawn",
        };
        if !is_first {
            let _ = match self.sort {
                // Of both tables, or they are merged from the beginning.
                Sort::Sku => write!(conditions, " and l.sku > $3 and p.sku > $3"),
                Sort::Name => write!(conditions, " and (l.name_key, l.sku) > ($1, $3)"),
                _ => write!(conditions, " and (l.{key}, l.sku) {beyond} ($2, $3)"),
            };
        }
        let page = |of: &str| {
            format!(
                "select {ROW}, l.{key} as key from {table} l join products p on p.sku = l.sku
                 where l.category = {of} and {conditions}
                 order by l.{key} {direction}, l.sku {direction} limit {rows}"
            )
        };
        let (with, is_there, listed) = match category {
            None => ("", "true", page("''")),
            // Takes a page of each category first, so that it costs the same whatever the number of products.
            Some(_) => (
                "with recursive below as (
                     select category from categories where category = $5
                     union all
                     select t.category from categories t join below b on t.parent = b.category
                 )",
                "exists (select from below)",
                format!(
                    "select distinct on (p.key, p.sku) p.* from below cross join lateral ({}) p
                     order by p.key {direction}, p.sku {direction} limit {rows}",
                    page("below.category")
                ),
            ),
        };
        format!(
            "{with} select coalesce(c.position, 0) as reached, {is_there} as is_there, {IN_LIST}, p.key
             from (select 1) as always
             left join checkpoints c on c.projection = 'catalogue'
             left join ({listed}) p on true
             {STOCK}
             order by p.key {direction}, p.sku {direction}"
        )
    }

    fn listed(&self, row: &PgRow) -> sqlx::Result<Option<Listed>> {
        // After `reached` and `is_there`.
        let Some((product, changed_at)) = product(Columns::from(row, 2))? else { return Ok(None) };
        let mut at = After { sku: product.sku.clone(), ..After::default() };
        match self.sort {
            Sort::Sku => {}
            Sort::Name => at.name = row.try_get("key")?,
            Sort::Price | Sort::PriceDescending => at.price = row.try_get("key")?,
            Sort::Newest => at.shown = row.try_get("key")?,
        }
        Ok(Some(Listed { product, at, changed_at }))
    }
}

/// A page of the products that are wanted, with the tag of what is on it.
///
/// # Errors
/// 400 `invalid-parameter`; 403 `forbidden`: a status, of one who does not edit; 404 `unknown-category`.
pub async fn page(
    view: &View,
    caller: &Caller,
    wanted: &Wanted,
    asked: Asked<After>,
) -> Result<(Page<Product>, actix_web::http::header::ETag), Problem> {
    wanted.check(caller)?;
    let after = asked.after.as_ref();
    if after.is_some_and(|after| !after.fits(wanted.sort)) {
        return Err(bad_cursor());
    }
    let statement = wanted.statement(after.is_none(), asked.rows());
    let query = || {
        sqlx::query(&statement)
            .bind(after.and_then(|after| after.name.as_deref()))
            .bind(after.and_then(|after| after.price.or(after.shown)))
            .bind(after.map(|after| after.sku.as_str()))
            .bind(sees_drafts(caller))
            .bind(wanted.filters.category.as_deref())
            .bind(wanted.filters.currency.as_deref())
            .bind(wanted.filters.price_min)
            .bind(wanted.filters.price_max)
            .bind(&wanted.filters.attributes)
    };
    let read = |rows: &[PgRow]| {
        let is_there: bool = rows[0].try_get("is_there")?;
        let found: sqlx::Result<Vec<_>> = rows.iter().filter_map(|row| wanted.listed(row).transpose()).collect();
        Ok((rows[0].try_get("reached")?, is_there.then_some(found?)))
    };
    let (position, found) = view.rows(PROJECTION, query, read).await?;
    let category = wanted.filters.category.as_deref().unwrap_or_default();
    let found: Vec<Listed> = found.ok_or_else(|| Problem::not_found("category", category, position))?;
    let tag = etag::of_rows(found.iter().map(|row| (&row.product.sku, row.changed_at)));
    let cursor = |row: &Listed| After { sku: row.at.sku.clone(), name: row.at.name.clone(), ..row.at };
    Ok((Page::of(position, found, &asked, cursor).map(|row| row.product), tag))
}

/// Of a list of products.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only described")]
pub struct ListParameters {
    /// `draft`, `published` or `withdrawn`: for those who edit the catalogue.
    status: Option<String>,
    /// `sku`, `name`, `price`, `-price` or `newest`. By price: in `currency`.
    #[param(default = "sku")]
    sort: Option<String>,
}

#[utoipa::path(
    get,
    path = "/v1/products",
    params(FilterParameters, ListParameters, PageParameters, AsOfParameter, MinPositionHeader, IfNoneMatchHeader),
    responses(
        (status = 200, body = Page<Product>, headers(("Kontor-Position" = i64), ("ETag" = String))),
        (status = 304, description = "The page is the one that If-None-Match names"),
        (status = 404, description = "unknown-category or unknown-generation", body = Problem,
            content_type = "application/problem+json"),
        Refused,
    )
)]
/// A page of the products that are wanted, as they are wanted to be sorted.
pub async fn list(request: HttpRequest, Asker(caller): Asker, view: View) -> Result<HttpResponse, Problem> {
    let parameters = Parameters::of_which_repeat(&request, &KNOWN, ATTRIBUTE)?;
    let (page, tag) = page(&view, &caller, &Wanted::of(&parameters)?, Asked::of(&parameters)?).await?;
    Ok(etag::answer(&request, &caller, (page.position, tag), &page))
}

//! A row as the cells of a CSV file. A cell with several entries has a line for each: no text of the shop has line breaks.

use super::row::{CategoryRow, ItemRow, Row, Status};
use anyhow::{Context, anyhow, bail};
use kontor_domain::product::{AttributeValue, MediaKind, Medium};
use kontor_domain::text::Text;
use kontor_domain::{Currency, Money};
use std::fmt::Display;
use std::str::FromStr;

pub const COLUMNS: [&str; 15] = [
    "sku",
    "product",
    "category",
    "parent",
    "name",
    "description",
    "status",
    "reason",
    "slug",
    "tax_class",
    "prices",
    "options",
    "categories",
    "attributes",
    "media",
];

/// Puts a cell into the row. Empty: as it is. The error does not name the column: the caller does.
pub fn read(row: &mut Row, column: &str, cell: &str) -> anyhow::Result<()> {
    let cell = cell.trim();
    if cell.is_empty() {
        return Ok(());
    }
    match row {
        Row::Category(row) => read_category(row, column, cell),
        Row::Item(row) => read_item(row, column, cell),
    }
}

fn read_category(row: &mut CategoryRow, column: &str, cell: &str) -> anyhow::Result<()> {
    match column {
        "category" => row.category = parse(cell)?,
        "parent" => row.parent = Some(parse(cell)?),
        "name" => row.name = Some(Text::new(cell)?),
        "slug" => row.slug = Some(parse(cell)?),
        _ => bail!("is said of a product, not of a category such as {}", row.category),
    }
    Ok(())
}

fn read_item(row: &mut ItemRow, column: &str, cell: &str) -> anyhow::Result<()> {
    match column {
        "category" | "parent" => bail!("is said of a category, not of a product such as {}", row.sku),
        "sku" => row.sku = parse(cell)?,
        "product" => row.product = Some(parse(cell)?),
        "name" => row.name = Some(Text::new(cell)?),
        "description" => row.description = Some(Text::new(cell)?),
        "status" => {
            row.status = Some(match cell {
                "draft" => Status::Draft,
                "published" => Status::Published,
                "withdrawn" => Status::Withdrawn,
                _ => bail!("must be draft, published or withdrawn, is '{cell}'"),
            });
        }
        "reason" => row.reason = Some(Text::new(cell)?),
        "slug" => row.slug = Some(parse(cell)?),
        "tax_class" => row.tax_class = Some(parse(cell)?),
        "prices" => row.prices = entries(cell, price)?,
        "options" => {
            let option = |entry: &str| {
                let (name, value) = entry.split_once('=').context("must be like size=L")?;
                anyhow::Ok((parse(name.trim())?, Text::new(value.trim())?))
            };
            row.options = Some(entries(cell, option)?);
        }
        "categories" => row.categories = Some(entries(cell, parse)?),
        "attributes" => row.attributes = Some(entries(cell, attribute)?),
        "media" => row.media = Some(entries(cell, medium)?),
        _ => unreachable!("columns are known"),
    }
    Ok(())
}

/// The cells of a row, in the order of [`COLUMNS`].
pub fn write(row: &Row) -> [String; 15] {
    match row {
        Row::Category(row) => write_category(row),
        Row::Item(row) => write_item(row),
    }
}

fn write_category(row: &CategoryRow) -> [String; 15] {
    COLUMNS.map(|column| match column {
        "category" => row.category.to_string(),
        "parent" => cell(&row.parent),
        "name" => cell(&row.name),
        "slug" => cell(&row.slug),
        _ => String::new(),
    })
}

fn write_item(row: &ItemRow) -> [String; 15] {
    let status = |status: &Status| match status {
        Status::Draft => "draft".to_owned(),
        Status::Published => "published".to_owned(),
        Status::Withdrawn => "withdrawn".to_owned(),
    };
    [
        row.sku.to_string(),
        cell(&row.product),
        String::new(),
        String::new(),
        cell(&row.name),
        cell(&row.description),
        row.status.as_ref().map(status).unwrap_or_default(),
        cell(&row.reason),
        cell(&row.slug),
        cell(&row.tax_class),
        lines(row.prices.iter().map(|price| format!("{} {}", price.currency, price.amount_minor))),
        lines(row.options.iter().flatten().map(|(name, value)| format!("{name}={value}"))),
        lines(row.categories.iter().flatten().map(ToString::to_string)),
        lines(row.attributes.iter().flatten().map(|(name, value)| match value {
            AttributeValue::Text(text) => format!("{name} text {text}"),
            AttributeValue::Integer(number) => format!("{name} integer {number}"),
            AttributeValue::Decimal(number) => format!("{name} decimal {number}"),
            AttributeValue::Flag(flag) => format!("{name} flag {flag}"),
        })),
        lines(row.media.iter().flatten().map(|medium| {
            let kind = match medium.kind {
                MediaKind::Image => "image",
                MediaKind::Video => "video",
                MediaKind::Document => "document",
            };
            let text = medium.alternative_text.as_ref().map(|text| format!(" {text}")).unwrap_or_default();
            format!("{kind} {}{text}", medium.url)
        })),
    ]
}

fn cell(value: &Option<impl Display>) -> String {
    value.as_ref().map(ToString::to_string).unwrap_or_default()
}

fn lines(entries: impl Iterator<Item = String>) -> String {
    entries.collect::<Vec<_>>().join("\n")
}

fn entries<T, C: FromIterator<T>>(cell: &str, read: impl Fn(&str) -> anyhow::Result<T>) -> anyhow::Result<C> {
    cell.lines().map(str::trim).filter(|entry| !entry.is_empty()).map(read).collect()
}

fn parse<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(text: &str) -> anyhow::Result<T> {
    text.parse::<T>().map_err(Into::into)
}

fn price(entry: &str) -> anyhow::Result<Money> {
    let (code, amount) = entry.split_once(' ').with_context(|| format!("must be like GBP 1250, is '{entry}'"))?;
    let currency = Currency::from_code(code).with_context(|| format!("'{code}' is no ISO 4217 code"))?;
    let amount = amount.trim().parse().map_err(|_| anyhow!("'{amount}' is no number of minor units"))?;
    Ok(Money::new(amount, currency))
}

fn attribute<K: FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    entry: &str,
) -> anyhow::Result<(K, AttributeValue)> {
    let mut parts = entry.splitn(3, ' ');
    let (Some(name), Some(kind), Some(value)) = (parts.next(), parts.next(), parts.next()) else {
        bail!("must be like 'material text Enamel', is '{entry}'");
    };
    let value = match kind {
        "text" => AttributeValue::Text(Text::new(value)?),
        "integer" => AttributeValue::Integer(value.parse().map_err(|_| anyhow!("'{value}' is no integer"))?),
        "decimal" => AttributeValue::Decimal(parse(value)?),
        "flag" => AttributeValue::Flag(value.parse().map_err(|_| anyhow!("'{value}' is neither true nor false"))?),
        _ => bail!("a type is text, integer, decimal or flag, not '{kind}'"),
    };
    Ok((parse(name)?, value))
}

fn medium(entry: &str) -> anyhow::Result<Medium> {
    let mut parts = entry.splitn(3, ' ');
    let (Some(kind), Some(url)) = (parts.next(), parts.next()) else {
        bail!("must be like 'image https://cdn.example/mug.jpg A white mug', is '{entry}'");
    };
    let kind = match kind {
        "image" => MediaKind::Image,
        "video" => MediaKind::Video,
        "document" => MediaKind::Document,
        _ => bail!("a kind is image, video or document, not '{kind}'"),
    };
    Ok(Medium { kind, url: parse(url)?, alternative_text: parts.next().map(Text::new).transpose()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blank() -> Row {
        Row::Item(Box::new(ItemRow::of("X".parse().expect("a valid SKU"))))
    }

    fn check_read_back(row: Row, mut again: Row) {
        for (column, cell) in COLUMNS.into_iter().zip(write(&row)) {
            read(&mut again, column, &cell).unwrap_or_else(|error| panic!("{column}: {error}"));
        }
        assert_eq!(again, row);
    }

    #[test]
    fn a_row_is_read_as_it_was_written() {
        let row = serde_json::from_str(
            r#"{"sku":"MUG","product":"CUP","name":"Mug, \"white\"","description":"Holds tea","status":"withdrawn",
                "reason":"chipped","slug":"mug","tax_class":"reduced","prices":[{"amount_minor":1250,"currency":"GBP"},
                {"amount_minor":1400,"currency":"EUR"}],"options":{"size":"L = large"},"categories":["home","mugs"],
                "attributes":{"height":{"decimal":"9.50"},"material":{"text":"Tin, mostly"},"new":{"flag":false},
                "pieces":{"integer":-1}},"media":[{"kind":"image","url":"https://cdn.example/a.jpg",
                "alternative_text":"A mug"},{"kind":"document","url":"https://cdn.example/b.pdf","alternative_text":null}]}"#,
        )
        .expect("a row");
        check_read_back(Row::Item(row), blank());
        let row = serde_json::from_str(r#"{"category":"mugs","parent":"home","name":"Mugs, all","slug":"mugs"}"#);
        let other = CategoryRow::of("x".parse().expect("a valid id"));
        check_read_back(Row::Category(row.expect("a row")), Row::Category(other));
    }

    #[test]
    fn an_empty_cell_says_nothing() {
        let mut row = blank();
        for column in COLUMNS {
            read(&mut row, column, "  ").expect("nothing is wrong with it");
        }
        assert_eq!(row, blank());
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        for (column, cell, told) in [
            ("sku", "a/b", "must consist of letters"),
            ("status", "gone", "must be draft, published or withdrawn"),
            ("parent", "home", "is said of a category"),
            ("prices", "1250", "must be like GBP 1250"),
            ("prices", "gbp 1", "'gbp' is no ISO 4217 code"),
            ("prices", "GBP 12.50", "'12.50' is no number of minor units"),
            ("options", "L", "must be like size=L"),
            ("attributes", "material Tin", "must be like"),
            ("attributes", "height float 1.5", "a type is text"),
            ("media", "image http://cdn.example/a", "must begin with https://"),
            ("media", "photo https://cdn.example/a", "a kind is image"),
        ] {
            let error = read(&mut blank(), column, cell).expect_err(cell).to_string();
            assert!(error.starts_with(told), "{column} {cell}: {error}");
        }
        let mut category = Row::Category(CategoryRow::of("home".parse().expect("a valid id")));
        let error = read(&mut category, "prices", "GBP 1250").expect_err("a category has no price").to_string();
        assert!(error.starts_with("is said of a product"), "{error}");
    }
}

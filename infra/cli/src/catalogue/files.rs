//! Catalogue files: rows out of CSV and NDJSON, each with its line, and into them.

use super::cells::{self, COLUMNS};
use super::row::{CategoryRow, ItemRow, Row, json};
use super::{Format, ImportOptions};
use anyhow::{Context, bail};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

/// A row with the line on which it begins, from 1.
pub struct Numbered {
    pub line: u64,
    pub row: Row,
}

/// The rows of the file, one after another. An error of a row names its line and, where it can, the column.
pub fn rows(options: &ImportOptions) -> anyhow::Result<Box<dyn Iterator<Item = anyhow::Result<Numbered>>>> {
    let path = &options.file;
    let file = File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
    match options.format.map_or_else(|| Format::of(path), Ok)? {
        Format::Csv => of_csv(file, path, &options.mappings),
        Format::Ndjson if !options.mappings.is_empty() => bail!("--map is for CSV"),
        Format::Ndjson => Ok(Box::new(of_ndjson(file))),
    }
}

fn of_csv(
    file: File,
    path: &Path,
    mappings: &[(String, String)],
) -> anyhow::Result<Box<dyn Iterator<Item = anyhow::Result<Numbered>>>> {
    let mut reader = csv::Reader::from_reader(BufReader::new(file));
    let headers = reader.headers().with_context(|| format!("{} has no header", path.display()))?;
    let mut columns = Vec::new();
    for header in headers {
        let header = header.trim().trim_start_matches('\u{feff}'); // Spreadsheets put a byte order mark first.
        let mapped = mappings.iter().find(|(given, _)| given == header).map_or(header, |(_, column)| column);
        let Some(column) = COLUMNS.into_iter().find(|column| *column == mapped) else {
            bail!("{}: there is no column \"{header}\", only {}; say --map", path.display(), COLUMNS.join(", "));
        };
        if columns.contains(&column) {
            bail!("{}: the column {column} is there twice", path.display());
        }
        columns.push(column);
    }
    let place = |name: &str| columns.iter().position(|column| *column == name);
    let (sku, category) = (place("sku"), place("category"));
    if sku.is_none() && category.is_none() {
        bail!("{}: the column sku is missing, and so is category", path.display());
    }
    let rows = reader.into_records().map(move |record| {
        let record = record?; // Its error names the line.
        let line = record.position().map_or(0, csv::Position::line);
        let cell = |place: Option<usize>| place.and_then(|place| record.get(place)).unwrap_or_default().trim();
        let mut row = match (cell(category), cell(sku)) {
            ("", code) => {
                let sku = code.parse().with_context(|| format!("line {line}, column sku"))?;
                Row::Item(Box::new(ItemRow::of(sku)))
            }
            (id, _) => {
                let category = id.parse().with_context(|| format!("line {line}, column category"))?;
                Row::Category(CategoryRow::of(category))
            }
        };
        for (column, cell) in columns.iter().zip(&record) {
            cells::read(&mut row, column, cell).with_context(|| format!("line {line}, column {column}"))?;
        }
        Ok(Numbered { line, row })
    });
    Ok(Box::new(rows))
}

fn of_ndjson(file: File) -> impl Iterator<Item = anyhow::Result<Numbered>> {
    let lines = BufReader::new(file).lines().zip(1..);
    lines.filter(|(text, _)| !text.as_ref().is_ok_and(|text| text.trim().is_empty())).map(|(text, line)| {
        let text = text.with_context(|| format!("line {line}"))?;
        // What is no object is told as no item.
        let row = match serde_json::from_str(&text) {
            Ok(Kind { category: Some(_) }) => Row::Category(of_json(&text, line)?),
            _ => Row::Item(of_json(&text, line)?),
        };
        Ok(Numbered { line, row })
    })
}

/// Tells a row of a category from the others.
#[derive(Deserialize)]
struct Kind {
    category: Option<IgnoredAny>,
}

fn of_json<T: DeserializeOwned>(text: &str, line: u64) -> anyhow::Result<T> {
    let json = &mut serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(json).map_err(|error| match error.path().to_string().as_str() {
        "." => anyhow::anyhow!("line {line}: {}", error.inner()),
        field => anyhow::anyhow!("line {line}, field {field}: {}", error.inner()),
    })
}

/// Writes rows, one after another.
pub enum Sink<W: Write> {
    Csv(Box<csv::Writer<W>>),
    Ndjson(W),
}

impl<W: Write> Sink<W> {
    pub fn new(format: Format, to: W) -> anyhow::Result<Self> {
        match format {
            Format::Ndjson => Ok(Sink::Ndjson(to)),
            Format::Csv => {
                let mut writer = csv::Writer::from_writer(to);
                writer.write_record(COLUMNS)?;
                Ok(Sink::Csv(Box::new(writer)))
            }
        }
    }

    pub fn write(&mut self, row: &Row) -> anyhow::Result<()> {
        match self {
            Sink::Csv(writer) => writer.write_record(cells::write(row))?,
            Sink::Ndjson(to) => writeln!(to, "{}", json(row))?,
        }
        Ok(())
    }

    pub fn flush(&mut self) -> anyhow::Result<()> {
        match self {
            Sink::Csv(writer) => writer.flush()?,
            Sink::Ndjson(to) => to.flush()?,
        }
        Ok(())
    }
}

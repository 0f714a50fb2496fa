//! What a file of an export is.

use crate::csv::CsvPart;
use crate::export::ExportError;
use crate::line;
use crate::parquet::ParquetPart;
use crate::table::Table;
use kontor_event_schemas::RecordedEvent;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Columns with types, compressed with Snappy.
    Parquet,
    /// Payload and metadata as they are stored: see [`line`](crate::line).
    Ndjson,
    /// The columns of Parquet, under a line with their names; what is null is empty.
    Csv,
}

impl Format {
    /// What it is called, also at the end of a file's name.
    pub fn name(self) -> &'static str {
        match self {
            Format::Parquet => "parquet",
            Format::Ndjson => "ndjson",
            Format::Csv => "csv",
        }
    }

    /// An empty part of a table.
    pub(crate) fn part(self, table: &Arc<Table>) -> Result<Box<dyn Part>, ExportError> {
        Ok(match self {
            Format::Parquet => Box::new(ParquetPart::of(table)?),
            Format::Ndjson => Box::new(Lines(Vec::new())),
            Format::Csv => Box::new(CsvPart::of(table)?),
        })
    }
}

/// A file in the making. The same events make the same bytes.
pub(crate) trait Part: Send {
    /// Adds an event of the part's table.
    fn write(&mut self, event: &RecordedEvent) -> Result<(), ExportError>;

    /// The whole file.
    fn finish(self: Box<Self>) -> Result<Vec<u8>, ExportError>;
}

struct Lines(Vec<u8>);

impl Part for Lines {
    fn write(&mut self, event: &RecordedEvent) -> Result<(), ExportError> {
        Ok(line::write(event, &mut self.0)?)
    }

    fn finish(self: Box<Self>) -> Result<Vec<u8>, ExportError> {
        Ok(self.0)
    }
}

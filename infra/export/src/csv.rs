//! CSV (RFC 4180, but lines end in LF): the columns of a table, under a line with their names.

use crate::export::ExportError;
use crate::format::Part;
use crate::table::{Cell, Table};
use chrono::SecondsFormat;
use csv::Writer;
use kontor_event_schemas::RecordedEvent;
use std::sync::Arc;

pub struct CsvPart {
    table: Arc<Table>,
    file: Writer<Vec<u8>>,
}

impl CsvPart {
    pub fn of(table: &Arc<Table>) -> Result<Self, ExportError> {
        let mut file = Writer::from_writer(Vec::new());
        file.write_record(table.columns.iter().map(|column| &column.name))?;
        Ok(Self { table: table.clone(), file })
    }
}

impl Part for CsvPart {
    fn write(&mut self, event: &RecordedEvent) -> Result<(), ExportError> {
        for cell in self.table.row(event)? {
            match cell {
                Cell::Null => self.file.write_field(""),
                Cell::Integer(number) => self.file.write_field(number.to_string()),
                Cell::Flag(flag) => self.file.write_field(flag.to_string()),
                Cell::Time(time) => self.file.write_field(time.to_rfc3339_opts(SecondsFormat::Micros, true)),
                Cell::Text(text) => self.file.write_field(text.as_bytes()),
            }?;
        }
        Ok(self.file.write_record(None::<&[u8]>)?)
    }

    fn finish(self: Box<Self>) -> Result<Vec<u8>, ExportError> {
        self.file.into_inner().map_err(|error| ExportError::Io(error.into_error()))
    }
}

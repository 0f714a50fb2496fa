//! Parquet, by the crate's own column writers: rows are few types, so Arrow's arrays would add nothing but their build.

use crate::export::ExportError;
use crate::format::Part;
use crate::table::{Cell, Column, Kind, Table};
use bytes::Bytes;
use kontor_event_schemas::RecordedEvent;
use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, Int64Type};
use parquet::errors::Result;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::Type;
use std::sync::Arc;

/// A row group has no more rows, and is closed when its cells take so many bytes.
const GROUP_ROWS: usize = 1 << 17;
const GROUP_BYTES: usize = 32 << 20;

pub struct ParquetPart {
    table: Arc<Table>,
    file: SerializedFileWriter<Vec<u8>>,
    /// Of the row group that is filled, one a column.
    columns: Vec<Values>,
    rows: usize,
    bytes: usize,
}

/// The values of one column that are not null, and for each row whether there is one.
struct Values {
    kept: Kept,
    /// 1 or 0 a row; empty where none may be null.
    levels: Vec<i16>,
}

enum Kept {
    Integers(Vec<i64>),
    Flags(Vec<bool>),
    /// One text after the other, and where each ends.
    Texts(Vec<u8>, Vec<usize>),
}

impl ParquetPart {
    pub fn of(table: &Arc<Table>) -> std::result::Result<Self, ExportError> {
        let fields = table.columns.iter().map(|column| Ok(Arc::new(field(column)?)));
        let fields = fields.collect::<Result<_>>()?;
        let schema = Type::group_type_builder("event").with_fields(fields).build()?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by("kontor".to_owned())
            .build();
        let file = SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::new(properties))?;
        let columns = table.columns.iter().map(Values::of).collect();
        Ok(Self { table: table.clone(), file, columns, rows: 0, bytes: 0 })
    }

    fn close_group(&mut self) -> Result<()> {
        let mut group = self.file.next_row_group()?;
        for (values, column) in self.columns.iter_mut().zip(&self.table.columns) {
            let values = std::mem::replace(values, Values::of(column));
            if let Some(writer) = group.next_column()? {
                values.write(writer)?;
            }
        }
        group.close()?;
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }
}

impl Part for ParquetPart {
    fn write(&mut self, event: &RecordedEvent) -> std::result::Result<(), ExportError> {
        let row = self.table.row(event)?;
        for ((cell, values), column) in row.into_iter().zip(&mut self.columns).zip(&self.table.columns) {
            self.bytes += values.add(cell, column.is_required);
        }
        self.rows += 1;
        if self.rows >= GROUP_ROWS || self.bytes >= GROUP_BYTES {
            self.close_group()?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> std::result::Result<Vec<u8>, ExportError> {
        if self.rows > 0 {
            self.close_group()?;
        }
        Ok(self.file.into_inner()?)
    }
}

fn field(column: &Column) -> Result<Type> {
    let (physical, logical) = match column.kind {
        Kind::Integer => (Physical::INT64, None),
        Kind::Flag => (Physical::BOOLEAN, None),
        Kind::Time => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MICROS))),
        Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Kind::Json => (Physical::BYTE_ARRAY, Some(LogicalType::Json)),
    };
    let repetition = if column.is_required { Repetition::REQUIRED } else { Repetition::OPTIONAL };
    Type::primitive_type_builder(&column.name, physical).with_logical_type(logical).with_repetition(repetition).build()
}

impl Values {
    fn of(column: &Column) -> Self {
        let kept = match column.kind {
            Kind::Integer | Kind::Time => Kept::Integers(Vec::new()),
            Kind::Flag => Kept::Flags(Vec::new()),
            Kind::Text | Kind::Json => Kept::Texts(Vec::new(), Vec::new()),
        };
        Self { kept, levels: Vec::new() }
    }

    /// Returns the bytes that it takes, about.
    fn add(&mut self, cell: Cell<'_>, is_required: bool) -> usize {
        if !is_required {
            self.levels.push(i16::from(cell != Cell::Null));
        }
        match (&mut self.kept, cell) {
            (_, Cell::Null) => 2,
            (Kept::Integers(kept), Cell::Integer(number)) => {
                kept.push(number);
                10
            }
            (Kept::Integers(kept), Cell::Time(time)) => {
                kept.push(time.timestamp_micros());
                10
            }
            (Kept::Flags(kept), Cell::Flag(flag)) => {
                kept.push(flag);
                3
            }
            (Kept::Texts(bytes, ends), Cell::Text(text)) => {
                bytes.extend_from_slice(text.as_bytes());
                ends.push(bytes.len());
                text.len() + 10
            }
            (_, cell) => unreachable!("{cell:?} is of another kind than its column"),
        }
    }

    fn write(self, mut writer: SerializedColumnWriter<'_>) -> Result<()> {
        let levels = (!self.levels.is_empty()).then_some(&*self.levels);
        match self.kept {
            Kept::Integers(kept) => writer.typed::<Int64Type>().write_batch(&kept, levels, None)?,
            Kept::Flags(kept) => writer.typed::<BoolType>().write_batch(&kept, levels, None)?,
            Kept::Texts(bytes, ends) => {
                let bytes = Bytes::from(bytes);
                let starts = std::iter::once(0).chain(ends.iter().copied());
                let texts: Vec<ByteArray> =
                    starts.zip(&ends).map(|(start, end)| bytes.slice(start..*end).into()).collect();
                writer.typed::<ByteArrayType>().write_batch(&texts, levels, None)?
            }
        };
        writer.close()
    }
}

//! Reads an export back: each format by a reader that knows nothing of how it was written.

use kontor_event_schemas::{RecordedEvent, schemas};
use kontor_export::Format;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Cells by column, without those that are null.
type Row = Map<String, Value>;

/// What of the row of an event is not of its payload.
const ENVELOPE: [&str; 13] = [
    "position",
    "aggregate_type",
    "aggregate_id",
    "sequence",
    "event_type",
    "event_version",
    "recorded_at",
    "occurred_at",
    "event_id",
    "correlation_id",
    "causation_id",
    "actor",
    "traceparent",
];

/// The files of an export by their names, hidden ones and those that begin with `_` left out.
pub fn parts(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        match path.is_dir() {
            true => found.extend(parts(&path)),
            false if name.starts_with('_') || name.contains('#') => {}
            false => found.push(path),
        }
    }
    found.sort();
    found
}

/// Positions of all events that are in files, in order. Fails when a file is not whole.
pub fn positions(folder: &Path, format: Format) -> Vec<i64> {
    let mut found: Vec<i64> = rows(folder, format).into_values().flatten().map(|row| position(&row)).collect();
    found.sort_unstable();
    found
}

/// That every event of the log is in the files, once, in the right one, with all that it says.
pub fn are(folder: &Path, format: Format, log: &[RecordedEvent]) {
    let mut left: BTreeMap<i64, &RecordedEvent> = log.iter().map(|event| (event.position, event)).collect();
    for (path, rows) in rows(folder, format) {
        let columns = columns(folder, &path);
        let mut last = 0;
        for row in rows {
            let position = position(&row);
            let event =
                left.remove(&position).unwrap_or_else(|| panic!("{position} is there twice, or not in the log"));
            assert!(position > last, "{}: in the order of the log", path.display());
            last = position;
            is_in_its_place(folder, &path, format, event);
            match format {
                Format::Ndjson => is_as_stored(&row, event),
                _ => is_flattened(&row, &columns, event, format),
            }
        }
    }
    assert_eq!(left.keys().collect::<Vec<_>>(), Vec::<&i64>::new(), "events that are in no file");
}

fn position(row: &Row) -> i64 {
    match &row["position"] {
        Value::String(text) => text.parse().expect("a number"),
        number => number.as_i64().expect("a number"),
    }
}

fn is_in_its_place(folder: &Path, path: &Path, format: Format, event: &RecordedEvent) {
    let table = schemas::name(&event.aggregate_type, &event.event_type, &event.event_version);
    let place = folder.join(table).join(format!("date={}", event.recorded_at.date_naive()));
    assert_eq!(path.parent(), Some(&*place));
    let name = path.file_name().and_then(|name| name.to_str()).expect("UTF-8");
    let (range, extension) = name.split_once('.').expect("an extension");
    let (first, last) = range.split_once('-').expect("a range");
    let (first, last): (i64, i64) = (first.parse().expect("a position"), last.parse().expect("a position"));
    assert!((first..=last).contains(&event.position) && extension == format.name(), "{name} has {}", event.position);
}

fn is_as_stored(row: &Row, event: &RecordedEvent) {
    let expected = json!({
        "position": event.position, "aggregate_type": event.aggregate_type, "aggregate_id": event.aggregate_id,
        "sequence": event.sequence, "event_type": event.event_type, "event_version": event.event_version,
        "recorded_at": event.recorded_at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
        "metadata": json(&event.metadata), "payload": json(&event.payload),
    });
    assert_eq!(&Value::Object(row.clone()), &expected);
}

fn is_flattened(row: &Row, columns: &BTreeMap<String, String>, event: &RecordedEvent, format: Format) {
    let metadata = json(&event.metadata);
    let envelope = json!({
        "position": event.position, "aggregate_type": event.aggregate_type, "aggregate_id": event.aggregate_id,
        "sequence": event.sequence, "event_type": event.event_type, "event_version": event.event_version,
        "recorded_at": event.recorded_at.timestamp_micros(), "event_id": metadata["event_id"],
        "correlation_id": metadata["correlation_id"], "causation_id": metadata["causation_id"],
        "actor": metadata["actor"], "traceparent": metadata["traceparent"],
    });
    let mut expected = envelope.as_object().expect("an object").clone();
    flatten("", &json(&event.payload)[&*event.event_type], columns, &mut expected);
    let mut read = row.clone();
    let occurred = read.remove("occurred_at");
    if let Some(occurred) = occurred {
        let told = ENVELOPE.len().min(row.len());
        assert!(row.iter().filter(|(name, value)| *name != "occurred_at" && **value == occurred).count() > 0, "{told}");
    }
    if format == Format::Csv {
        for (name, value) in &mut expected {
            *value = match (columns[name].as_str(), &*value) {
                ("time", micros) => {
                    let time = chrono::DateTime::from_timestamp_micros(micros.as_i64().expect("a time"));
                    time.expect("a time").to_rfc3339_opts(chrono::SecondsFormat::Micros, true).into()
                }
                (_, Value::String(text)) => text.clone().into(),
                (_, value) => value.to_string().into(),
            };
        }
    }
    assert_eq!(read, expected, "event {}", event.position);
}

/// The leaves of a payload are where there is a column of that name; what is null has none.
fn flatten(path: &str, value: &Value, columns: &BTreeMap<String, String>, into: &mut Row) {
    let kind = columns.get(path).filter(|_| !path.is_empty());
    match (kind.map(String::as_str), value) {
        (_, Value::Null) => {}
        (Some("json"), value) => drop(into.insert(path.to_owned(), value.to_string().into())),
        (Some("time"), Value::String(time)) => {
            let time = chrono::DateTime::parse_from_rfc3339(time).expect("a time");
            into.insert(path.to_owned(), time.timestamp_micros().into());
        }
        (Some(_), value) => drop(into.insert(path.to_owned(), value.clone())),
        (None, Value::Object(members)) => {
            for (name, value) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}_{name}") };
                flatten(&path, value, columns, into);
            }
        }
        (None, value) => panic!("{path} has no column: {value}"),
    }
}

/// Kinds of the columns of the table that `path` is of, as the file beside it says.
fn columns(folder: &Path, path: &Path) -> BTreeMap<String, String> {
    let table = path.strip_prefix(folder).expect("within it").components().next().expect("a table");
    let described = fs::read_to_string(folder.join(table).join("_schema.json")).expect("it is beside");
    let described = json(&described);
    let columns = described["columns"].as_array().expect("a list").iter();
    let columns: BTreeMap<_, _> = columns
        .map(|column| (&column["name"], &column["kind"]))
        .map(|(name, kind)| (name.as_str().expect("text").to_owned(), kind.as_str().expect("text").to_owned()))
        .collect();
    assert!(ENVELOPE.iter().all(|name| columns.contains_key(*name)));
    columns
}

fn rows(folder: &Path, format: Format) -> BTreeMap<PathBuf, Vec<Row>> {
    let parts = parts(folder).into_iter();
    parts.map(|path| (path.clone(), read(&path, format))).collect()
}

fn read(path: &Path, format: Format) -> Vec<Row> {
    match format {
        Format::Ndjson => {
            let text = fs::read_to_string(path).expect("UTF-8");
            assert!(text.ends_with('\n'), "{}: it is not whole", path.display());
            text.lines().map(|line| serde_json::from_str(line).expect("an object")).collect()
        }
        Format::Csv => {
            let mut reader = csv::Reader::from_path(path).expect("it can be opened");
            let names = reader.headers().expect("names").clone();
            let rows = reader.records().map(|record| {
                let record = record.expect("as many cells as names");
                let cells = names.iter().zip(&record).filter(|(_, cell)| !cell.is_empty());
                cells.map(|(name, cell)| (name.to_owned(), cell.into())).collect()
            });
            rows.collect()
        }
        Format::Parquet => {
            let file = fs::File::open(path).expect("it can be opened");
            let reader = SerializedFileReader::new(file).expect("a whole file");
            let names: BTreeSet<_> =
                reader.metadata().file_metadata().schema().get_fields().iter().map(|field| field.name()).collect();
            assert!(names.contains("rest"), "{names:?}");
            let rows = reader.get_row_iter(None).expect("rows").map(|row| {
                let row = row.expect("a row");
                let cells = row.get_column_iter().filter_map(|(name, field)| Some((name.clone(), value(field)?)));
                cells.collect()
            });
            rows.collect()
        }
    }
}

fn value(field: &Field) -> Option<Value> {
    Some(match field {
        Field::Null => return None,
        Field::Long(number) | Field::TimestampMicros(number) => (*number).into(),
        Field::Bool(flag) => (*flag).into(),
        Field::Str(text) => text.as_str().into(),
        Field::Bytes(json) => String::from_utf8(json.data().to_vec()).expect("UTF-8").into(),
        other => panic!("{other:?} is of no type that is written"),
    })
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

//! An event as a line of NDJSON: its place, then metadata and payload as they are stored.

use chrono::SecondsFormat;
use kontor_event_schemas::RecordedEvent;
use std::io::{self, Write};

/// Appends `{"position", "aggregate_type", "aggregate_id", "sequence", "event_type", "event_version", "recorded_at", "metadata",
/// "payload"}` and a line feed. Metadata and payload are not parsed.
pub fn write(event: &RecordedEvent, line: &mut Vec<u8>) -> io::Result<()> {
    write!(line, r#"{{"position":{},"aggregate_type":"#, event.position)?;
    serde_json::to_writer(&mut *line, event.aggregate_type.as_str())?;
    line.extend_from_slice(br#","aggregate_id":"#);
    serde_json::to_writer(&mut *line, event.aggregate_id.as_str())?;
    write!(line, r#","sequence":{},"event_type":"#, event.sequence)?;
    serde_json::to_writer(&mut *line, event.event_type.as_str())?;
    line.extend_from_slice(br#","event_version":"#);
    serde_json::to_writer(&mut *line, event.event_version.as_str())?;
    let recorded_at = event.recorded_at.to_rfc3339_opts(SecondsFormat::Micros, true);
    write!(line, r#","recorded_at":"{recorded_at}","metadata":"#)?;
    on_one_line(&event.metadata, line);
    line.extend_from_slice(br#","payload":"#);
    on_one_line(&event.payload, line);
    line.extend_from_slice(b"}\n");
    Ok(())
}

/// Line breaks in JSON text are blanks between its tokens: within strings they are escaped.
fn on_one_line(json: &str, line: &mut Vec<u8>) {
    let from = line.len();
    line.extend_from_slice(json.as_bytes());
    line[from..].iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn an_event_is_one_line_with_its_payload_as_it_is() {
        let event = RecordedEvent {
            position: 7,
            aggregate_type: "stock".into(),
            aggregate_id: "a \"mug\"".into(),
            sequence: 2,
            event_type: "Shipped".into(),
            event_version: "1.0".into(),
            payload: "{\"Shipped\":\r\n {\"quantity\": 1.50, \"note\": \"a\\nb\"}}".to_owned(),
            metadata: r#"{"actor":"test"}"#.to_owned(),
            recorded_at: chrono::DateTime::UNIX_EPOCH,
        };
        let mut line = Vec::new();
        write(&event, &mut line).expect("memory takes it");
        let line = String::from_utf8(line).expect("UTF-8");
        assert!(line.ends_with("}\n") && line.lines().count() == 1 && line.contains("1.50"), "{line}");
        let read: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!((&read["position"], &read["aggregate_id"]), (&json!(7), &json!("a \"mug\"")));
        assert_eq!(read["payload"]["Shipped"]["note"], "a\nb");
        assert_eq!(read["recorded_at"], "1970-01-01T00:00:00.000000Z");
    }
}

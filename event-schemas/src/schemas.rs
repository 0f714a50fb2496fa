//! The JSON Schemas of `schemas/`, for who has only the program.

use crate::subject::subject;

/// Names, such as `stock.shipped.1.0`, each with its JSON Schema (draft 2020-12); in the order of the names.
pub static SCHEMAS: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/schemas.rs"));

/// What the schema of an event is called: `stock.shipped.1.0`.
pub fn name(aggregate_type: &str, event_type: &str, event_version: &str) -> String {
    let subject = subject(aggregate_type, event_type);
    let event = subject.strip_prefix("kontor.v1.").unwrap_or(&subject);
    // Upcasters give a version a third number.
    let end = event_version.match_indices('.').nth(1).map_or(event_version.len(), |(end, _)| end);
    format!("{event}.{}", &event_version[..end])
}

/// The schema of that name; `None`: this release knows none.
pub fn find(name: &str) -> Option<&'static str> {
    let at = SCHEMAS.binary_search_by_key(&name, |(name, _)| name).ok()?;
    Some(SCHEMAS[at].1)
}

/// Every event there is, without its version, such as `stock.shipped`; in the order of the alphabet.
pub fn events() -> Vec<&'static str> {
    let mut events: Vec<_> = SCHEMAS
        .iter()
        .filter_map(|(name, _)| Some(name.match_indices('.').nth(1)?.0).map(|end| &name[..end]))
        .collect();
    events.dedup();
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_found_by_the_event_that_it_describes() {
        let schema = find(&name("stock", "BackOrdersLimited", "1.0")).expect("it is there");
        assert_eq!(serde_json::from_str::<serde_json::Value>(schema).expect("JSON")["title"], "BackOrdersLimited");
        assert_eq!(name("stock", "Shipped", "2.0.0"), "stock.shipped.2.0");
        assert_eq!(find("stock.teleported.1.0"), None);
        assert!(SCHEMAS.is_sorted_by_key(|(name, _)| name), "looked up by halving");
        assert!(events().contains(&"stock.back-orders-limited") && events().len() == SCHEMAS.len());
    }
}

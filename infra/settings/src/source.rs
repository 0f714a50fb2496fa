//! Where settings come from: the file and the environment, merged into one tree whose names are all known.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use crate::error::{Setting, SettingsError};
use crate::{CONFIG_VARIABLE, KNOWN_SECTIONS};

/// Variables of the test servers and of the file itself: `KONTOR_` by name, but no settings. `*` ends a prefix.
const NOT_SETTINGS: &[&str] = &[CONFIG_VARIABLE, "KONTOR_TEST_*"];

/// Variables that have a second, shorter name: those that put a server in the place of an embedded store. Where both are set,
/// the first name wins, as it sorts after the second.
const SECOND_NAMES: &[(&str, &str)] =
    &[("KONTOR_SEARCH_URL", "KONTOR_SEARCH__URL"), ("KONTOR_VECTORS_URL", "KONTOR_VECTORS__URL")];

/// What is given for a setting, or for a table of them.
#[derive(Debug, Clone)]
pub(crate) enum Given {
    Table(BTreeMap<String, Given>),
    /// From the environment: its kind is that of the field it is for.
    Text(String),
    /// From the file, which says its kind. Never a table.
    Typed(toml::Value, PathBuf),
}

/// The `KONTOR_` variables that are settings, by path.
pub(crate) struct Environment {
    pub(crate) config: Option<PathBuf>,
    settings: BTreeMap<String, (Vec<String>, String)>,
}

impl Environment {
    pub(crate) fn read(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Self, SettingsError> {
        let mut environment = Environment { config: None, settings: BTreeMap::new() };
        for (name, value) in variables {
            let Some(name) = name.to_str().filter(|name| name.starts_with("KONTOR_")) else { continue };
            if name == CONFIG_VARIABLE && !value.is_empty() {
                environment.config = Some(PathBuf::from(&value));
            }
            if value.is_empty() || is_no_setting(name) || is_service_link(name) {
                continue;
            }
            let first = SECOND_NAMES.iter().find(|(second, _)| *second == name).map_or(name, |(_, first)| first);
            let path: Vec<String> = first["KONTOR_".len()..].split("__").map(str::to_lowercase).collect();
            if path.len() < 2 || path.iter().any(String::is_empty) {
                return Err(SettingsError::Unknown {
                    given: name.to_owned(),
                    reason: "one is called KONTOR_SECTION__FIELD, with two underscores".to_owned(),
                });
            }
            let Some(value) = value.to_str() else {
                let rule = "must be UTF-8".to_owned();
                let origin = Some("the environment".to_owned());
                return Err(SettingsError::Refused { setting: Setting(path), given: None, origin, rule });
            };
            environment.settings.insert(name.to_owned(), (path, value.to_owned()));
        }
        Ok(environment)
    }
}

fn is_no_setting(name: &str) -> bool {
    NOT_SETTINGS.iter().any(|known| match known.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == *known,
    })
}

/// Kubernetes tells a pod of every Service in its namespace, so a Service called `kontor-command` makes variables such
/// as `KONTOR_COMMAND_SERVICE_HOST` and `KONTOR_COMMAND_PORT_8080_TCP_ADDR`. They are nobody's typing errors.
fn is_service_link(name: &str) -> bool {
    let words: Vec<&str> = name.split('_').collect();
    if words.contains(&"") {
        return false; // Two underscores: meant as a setting.
    }
    words.ends_with(&["PORT"])
        || words.windows(2).any(|pair| pair == ["SERVICE", "HOST"] || pair == ["SERVICE", "PORT"])
        || words.windows(3).any(|part| part[0] == "PORT" && part[1].parse::<u16>().is_ok() && part[2].ends_with("P"))
}

/// One tree of what `file` and `environment` give for the sections of `declared`, the settings' default.
pub(crate) fn merge(
    declared: &Json,
    file: Option<&Path>,
    environment: Environment,
) -> Result<BTreeMap<String, Given>, SettingsError> {
    let mut given = BTreeMap::new();
    if let Some(path) = file {
        for (section, value) in parse(path)? {
            let named = |path: &[String]| format!("{} in {}", path.join("."), file.unwrap_or(Path::new("")).display());
            if is_ours(declared, &section, &named)? {
                let value = from_file(value, path);
                let mut at = vec![section.clone()];
                refuse_unknown(&declared[&section], &value, &mut at, &named)?;
                given.insert(section, value);
            }
        }
    }
    for (name, (path, value)) in environment.settings {
        let named = |_: &[String]| name.clone();
        if is_ours(declared, &path[0], &named)? {
            let value = path[1..]
                .iter()
                .rev()
                .fold(Given::Text(value), |inner, field| Given::Table(BTreeMap::from([(field.clone(), inner)])));
            refuse_unknown(&declared[&path[0]], &value, &mut vec![path[0].clone()], &named)?;
            overlay(given.entry(path[0].clone()).or_insert(Given::Table(BTreeMap::new())), value);
        }
    }
    Ok(given)
}

fn parse(path: &Path) -> Result<toml::Table, SettingsError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| SettingsError::Unreadable { path: path.to_owned(), reason: error.kind() })?;
    text.parse::<toml::Table>().map_err(|error| {
        let before = &text[..error.span().map_or(0, |span| span.start).min(text.len())];
        SettingsError::Syntax {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.chars().rev().take_while(|&c| c != '\n').count() + 1,
            message: error.message().replace('\n', ", "),
        }
    })
}

pub(crate) fn from_file(value: toml::Value, path: &Path) -> Given {
    match value {
        toml::Value::Table(table) => {
            Given::Table(table.into_iter().map(|(name, value)| (name, from_file(value, path))).collect())
        }
        value => Given::Typed(value, path.to_owned()),
    }
}

/// Whether this tier reads `section`. An error if no tier does.
fn is_ours(declared: &Json, section: &str, named: &dyn Fn(&[String]) -> String) -> Result<bool, SettingsError> {
    if declared.get(section).is_some() {
        return Ok(true);
    }
    if KNOWN_SECTIONS.contains(&section) {
        return Ok(false);
    }
    Err(SettingsError::Unknown {
        given: named(&[section.to_owned()]),
        reason: format!("there is no section {section}, only {}", KNOWN_SECTIONS.join(", ")),
    })
}

/// Refuses a name that `declared`, the default of the table at `path`, does not have. Below a setting that is not a
/// table by default (an `Option` of one is null) the names are left to the type.
fn refuse_unknown(
    declared: &Json,
    given: &Given,
    path: &mut Vec<String>,
    named: &dyn Fn(&[String]) -> String,
) -> Result<(), SettingsError> {
    let (Json::Object(fields), Given::Table(table)) = (declared, given) else { return Ok(()) };
    if fields.is_empty() {
        return Ok(());
    }
    for (name, value) in table {
        path.push(name.clone());
        let Some(field) = fields.get(name) else {
            let section = path[..path.len() - 1].join(".");
            let known: Vec<&str> = fields.keys().map(String::as_str).collect();
            return Err(SettingsError::Unknown {
                given: named(path),
                reason: format!("section {section} has no {name}, only {}", known.join(", ")),
            });
        };
        refuse_unknown(field, value, path, named)?;
        path.pop();
    }
    Ok(())
}

/// Puts `over` on top of `under`: tables are merged, anything else replaced.
fn overlay(under: &mut Given, over: Given) {
    match (under, over) {
        (Given::Table(under), Given::Table(over)) => {
            for (name, value) in over {
                match under.get_mut(&name) {
                    Some(existing) => overlay(existing, value),
                    None => {
                        under.insert(name, value);
                    }
                }
            }
        }
        (under, over) => *under = over,
    }
}

//! `kontor search`, as an operator calls it.

use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};

fn search(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kontor"));
    command.env_remove("KONTOR_SEARCH_URL").arg("search").args(arguments).arg("--search-folder").arg(folder);
    command.output().expect("it runs")
}

fn listed(folder: &Path) -> Value {
    let output = search(folder, &["synonyms", "list"]);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("it prints JSON")
}

#[test]
fn synonyms_are_what_was_set_last() {
    let data = tempfile::tempdir().expect("a folder");
    let folder = data.path().join("search");
    let synonyms = json!([{"equal": ["sofa", "couch"]}, {"one-way": {"word": "christmas", "finds": ["advent"]}}]);
    let file = data.path().join("synonyms.json");
    std::fs::write(&file, synonyms.to_string()).expect("it can be written");
    let set = search(&folder, &["synonyms", "set", file.to_str().expect("a path in UTF-8")]);
    assert!(String::from_utf8_lossy(&set.stdout).starts_with("2 groups of synonyms hold now"), "{set:?}");
    assert_eq!(listed(&folder), synonyms);

    std::fs::write(&file, r#"[{"equal": ["sofa", 7]}]"#).expect("it can be written");
    let refused = search(&folder, &["synonyms", "set", file.to_str().expect("a path in UTF-8")]);
    let complaint = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && complaint.contains("[0].equal[1]"), "{complaint}");
    assert_eq!(listed(&folder), synonyms);
}

//! `kontor catalogue`, on a whole platform.

use kontor_identity::Role;
use kontor_local::{Folder, Platform, PlatformPorts};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const CSV: &str =
    "\u{feff}sku,product,name,slug,prices,options,categories,attributes,media,Note,status,category,parent,reason
,,Kitchen,kitchen,,,,,,,,kitchen,,
,,Cups,cups,,,,,,,,cups,kitchen,
MUG,,\"Mug, white\",mug,\"GBP 1250
EUR 1400\",,\"kitchen
cups\",material text Enamel,image https://cdn.example/mug.jpg A mug,Holds tea,published,,,
MUG-L,MUG,,,GBP 1500,size=L,,,,,,,,
MUG-S,MUG,,,,size=S,,,,,,,,
IDEA,,An idea,,,,,,,,draft,,,
OLD,,Old mug,old-mug,GBP 900,,cups,,,,withdrawn,,,The glaze cracks
OLD-L,OLD,,,GBP 950,size=L,,,,,,,,
";

struct Shop {
    platform: Platform,
    folder: Folder,
}

impl Shop {
    async fn open() -> Self {
        let folder = Folder::temporary("catalogue").expect("a folder");
        let platform = Platform::start(folder.path(), PlatformPorts::free(), &mut |_| {}).await;
        Self { platform: platform.expect("the platform starts"), folder }
    }

    fn token(&self) -> String {
        self.platform.identity().token("test", Role::Staff, None)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).expect("the folder can be written to");
        path
    }

    fn catalogue(&self, arguments: &[&str]) -> Output {
        let mut command = kontor();
        command.arg("catalogue").args(arguments).env("KONTOR_TOKEN", self.token());
        command.env("KONTOR_COMMAND_URL", self.platform.command_url());
        command.env("KONTOR_QUERY_URL", self.platform.query_url()).output().expect("it runs")
    }

    /// Imports what must be done; returns the outcome of each row.
    fn import(&self, file: &Path, arguments: &[&str]) -> Vec<Value> {
        let file = file.to_str().expect("UTF-8");
        let output = self.catalogue(&[&["import", file, "--json"], arguments].concat());
        assert!(output.status.success(), "{output:?}");
        results(&output)
    }

    /// Waits until the read model has `position`, and exports.
    async fn export(&self, format: &str, position: &Value) -> String {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().tls_certs_only([]).build().expect("a client");
        let request = client.get(format!("{}/v1/products", self.platform.query_url()));
        let answer = request.header("Kontor-Min-Position", position.to_string()).send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "the read model is there");
        let output = self.catalogue(&["export", "--format", format]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }
}

fn kontor() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kontor"));
    command.stdin(Stdio::null()).env_remove("KONTOR_TOKEN");
    command
}

fn results(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|line| serde_json::from_str(line).expect("a result")).collect()
}

fn outcomes(results: &[Value]) -> Vec<&str> {
    results.iter().map(|result| result["outcome"].as_str().expect("an outcome")).collect()
}

/// Step 1: a file is imported. Step 2: run again, each row is answered as done. Step 3: what is exported, in either format,
/// changes nothing when it is imported under another name. Step 4: imported into another shop, it makes the same catalogue.
/// Step 5: a row that the rules refuse is told, the others are done.
#[tokio::test]
async fn what_is_exported_is_imported_again_without_change() {
    let shop = Shop::open().await;

    // 1
    let file = shop.file("products.csv", CSV);
    let map = ["--map", "Note=description"];
    let first = shop.import(&file, &map);
    assert_eq!(outcomes(&first), ["done"; 8]);
    assert_eq!(first.iter().map(|row| row["line"].clone()).collect::<Vec<_>>(), [2, 3, 4, 7, 8, 9, 10, 11]);
    assert_eq!((&first[0]["id"], &first[2]["id"]), (&json!("kitchen"), &json!("MUG")));
    let kept = fs::read_to_string(shop.folder.path().join("products.csv.results.ndjson")).expect("the results");
    assert_eq!(kept.lines().count(), 8);

    // 2
    let again = shop.import(&file, &map);
    assert_eq!(outcomes(&again), ["replayed"; 8]);
    let head = first[7]["position"].clone();
    assert_eq!(again[7]["position"], head);

    // 3
    let mut exports = vec![];
    for format in ["csv", "ndjson"] {
        let exported = shop.export(format, &head).await;
        let file = shop.file(&format!("exported.{format}"), &exported);
        let unchanged = shop.import(&file, &["--run", format]);
        assert_eq!(outcomes(&unchanged), ["unchanged"; 8], "{exported}");
        assert_eq!(shop.export(format, &head).await, exported);
        exports.push(exported);
    }
    let rows: Vec<Value> = exports[1].lines().map(|line| serde_json::from_str(line).expect("a row of JSON")).collect();
    let cups = json!({"category": "cups", "parent": "kitchen", "name": "Cups", "slug": "cups"});
    assert_eq!(rows[..2], [json!({"category": "kitchen", "name": "Kitchen", "slug": "kitchen"}), cups]);
    let mug = json!({
        "sku": "MUG", "name": "Mug, white", "description": "Holds tea", "status": "published", "slug": "mug",
        "tax_class": "standard", "categories": ["cups", "kitchen"], "attributes": {"material": {"text": "Enamel"}},
        "prices": [{"amount_minor": 1400, "currency": "EUR"}, {"amount_minor": 1250, "currency": "GBP"}],
        "media": [{"kind": "image", "url": "https://cdn.example/mug.jpg", "alternative_text": "A mug"}],
    });
    assert_eq!(rows[3], mug);
    let old = json!({
        "sku": "OLD", "name": "Old mug", "status": "withdrawn", "reason": "The glaze cracks", "slug": "old-mug",
        "tax_class": "standard", "categories": ["cups"], "prices": [{"amount_minor": 900, "currency": "GBP"}],
    });
    assert_eq!(rows[6], old);

    // 4
    let other = Shop::open().await;
    for (format, exported) in ["csv", "ndjson"].into_iter().zip(&exports) {
        let results = other.import(&other.file(&format!("exported.{format}"), exported), &["--run", format]);
        let outcome = if format == "csv" { "done" } else { "unchanged" };
        assert_eq!(outcomes(&results), [outcome; 8], "{exported}");
        assert_eq!(other.export(format, &results[7]["position"]).await, *exported);
    }

    // 5
    let rows = [r#"{"sku":"CUP","name":"Cup","slug":"mug"}"#, r#"{"sku":"POT","name":"Pot"}"#].join("\n");
    let file = shop.file("some.ndjson", &rows);
    let output = shop.catalogue(&["import", file.to_str().expect("UTF-8"), "--json"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(told.starts_with("kontor: 1 of 2 rows were refused: "), "{told}");
    let results = results(&output);
    assert_eq!(outcomes(&results), ["refused", "done"]);
    assert_eq!(results[0]["problem"]["type"], "https://kontor.dev/problems/slug-taken");
}

#[test]
fn what_cannot_be_read_is_named_and_nothing_is_sent() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text, told) in [
        (
            "a.csv",
            "sku,prices\nMUG,GBP 1\nCUP,12.50\na/b,\n",
            "nothing was sent: line 3, column prices: must be like GBP 1250, is '12.50'\n  line 4, column sku: must consist of",
        ),
        ("b.csv", "sku,colour\n", "there is no column \"colour\", only sku, product"),
        ("c.csv", "name\nMug\n", "the column sku is missing, and so is category"),
        (
            "i.csv",
            "sku,category,slug\nMUG,home,\n",
            "line 2, column sku: is said of a product, not of a category such as home",
        ),
        ("i.ndjson", "{\"category\":\"home\",\"sku\":\"MUG\"}\n", "line 1, field sku: unknown field `sku`"),
        ("d.csv", "sku,sku\n", "the column sku is there twice"),
        ("e.csv", "sku,name\nMUG\n", "found record with 1 fields, but the previous record has 2 fields"),
        (
            "f.ndjson",
            "{\"sku\":\"MUG\"}\n\n{\"sku\":\"CUP\",\"slug\":\"C\"}\n",
            "nothing was sent: line 3, field slug: must consist of",
        ),
        ("g.ndjson", "{\"sku\":\"CUP\",\"colour\":1}\n", "line 1, field colour: unknown field `colour`"),
        ("h.txt", "", "h.txt ends in neither .csv nor .ndjson: say --format"),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("the folder can be written to");
        let output = kontor().args(["catalogue", "import"]).arg(&path).output().expect("it runs");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && complaint.contains(told), "{name}: {complaint}");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
}

//! `kontor catalogue`, on a whole platform.

use kontor_identity::Role;
use kontor_local::{Folder, Platform, PlatformPorts};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const CSV: &str = "\u{feff}sku,product,name,slug,prices,options,categories,attributes,media,Note,status
MUG,,\"Mug, white\",mug,\"GBP 1250
EUR 1400\",,home,material text Enamel,image https://cdn.example/mug.jpg A mug,Holds tea,published
MUG-L,MUG,,,GBP 1500,size=L,,,,,
MUG-S,MUG,,,,size=S,,,,,
IDEA,,An idea,,,,,,,,draft
";

struct Shop {
    platform: Platform,
    folder: Folder,
}

impl Shop {
    async fn open() -> Self {
        let folder = Folder::temporary("catalogue").expect("a folder");
        let platform = Platform::start(folder.path(), PlatformPorts::free(), &mut |_| {}).await;
        let shop = Self { platform: platform.expect("the platform starts"), folder };
        let category =
            json!({"key": "home", "command": "create-category", "category": "home", "name": "Home", "slug": "home"});
        let answer = shop.bulk(&category).await;
        assert_eq!(answer["status"], 201, "{answer}");
        shop
    }

    fn token(&self) -> String {
        self.platform.identity().token("test", Role::Staff, None)
    }

    async fn bulk(&self, command: &Value) -> Value {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().tls_certs_only([]).build().expect("a client");
        let request = client.post(format!("{}/v1/bulk", self.platform.command_url())).bearer_auth(self.token());
        let request = request.header("Content-Type", "application/x-ndjson").body(format!("{command}\n"));
        request.send().await.expect("an answer").json().await.expect("JSON")
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
/// changes nothing when it is imported under another name. Step 4: a row that the rules refuse is told, the others are done.
#[tokio::test]
async fn what_is_exported_is_imported_again_without_change() {
    let shop = Shop::open().await;

    // 1
    let file = shop.file("products.csv", CSV);
    let map = ["--map", "Note=description"];
    let first = shop.import(&file, &map);
    assert_eq!(outcomes(&first), ["done"; 4]);
    assert_eq!(first.iter().map(|row| row["line"].clone()).collect::<Vec<_>>(), [2, 4, 5, 6]);
    let kept = fs::read_to_string(shop.folder.path().join("products.csv.results.ndjson")).expect("the results");
    assert_eq!(kept.lines().count(), 4);

    // 2
    let again = shop.import(&file, &map);
    assert_eq!(outcomes(&again), ["replayed"; 4]);
    let head = first[3]["position"].clone();
    assert_eq!(again[3]["position"], head);

    // 3
    for format in ["csv", "ndjson"] {
        let exported = shop.export(format, &head).await;
        let file = shop.file(&format!("exported.{format}"), &exported);
        let unchanged = shop.import(&file, &["--run", format]);
        assert_eq!(outcomes(&unchanged), ["unchanged"; 4], "{exported}");
        assert_eq!(shop.export(format, &head).await, exported);
    }
    let exported = shop.export("ndjson", &head).await;
    let mug: Value = serde_json::from_str(exported.lines().nth(1).expect("a row")).expect("JSON");
    let expected = json!({
        "sku": "MUG", "name": "Mug, white", "description": "Holds tea", "status": "published", "slug": "mug",
        "tax_class": "standard", "categories": ["home"], "attributes": {"material": {"text": "Enamel"}},
        "prices": [{"amount_minor": 1400, "currency": "EUR"}, {"amount_minor": 1250, "currency": "GBP"}],
        "media": [{"kind": "image", "url": "https://cdn.example/mug.jpg", "alternative_text": "A mug"}],
    });
    assert_eq!(mug, expected);

    // 4
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
        ("c.csv", "name\nMug\n", "the column sku is missing"),
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

//! `kontor catalogue`.

mod api;
mod cells;
mod export;
mod files;
mod import;
mod row;

use crate::token::{self, Data};
use anyhow::bail;
use api::Api;
use clap::{Args, Subcommand, ValueEnum};
use std::path::{Path, PathBuf};
use url::Url;

const COLUMNS: &str = "Columns of a CSV file, found by the names in its first line, in any order; only sku or category must be there:
  category      the id of a category; empty: the row is of a product or a variant
  parent        the category that this one is under; a new category without it is at the top
  sku           the product's code, or the variant's SKU
  product       the product that the SKU is a variant of; empty: it is a product
  name          of a product or category; needed when it is new
  description   of a product
  status        draft, published or withdrawn; a new product without it is published
  reason        why it was withdrawn; needed with that status
  slug          the address of its page; a new category needs it
  tax_class     standard unless it is said
  prices        GBP 1250: minor units; a variant's are its own, instead of the product's
  options       size=L: what tells a variant from the others
  categories    ids of categories that exist
  attributes    material text Enamel: a name, a type (text, integer, decimal, flag) and a value
  media         image https://cdn.example/mug.jpg A white mug: a kind (image, video, document), a URL, what it shows
The last five take several, a line of the cell each. What is empty stays as it is in the shop. A line of an NDJSON file is an
object with the same fields, in the form of the command import-category or import-product. A category comes before those below it
and the products in it, a product before its variants.";

pub const IMPORT_EXAMPLES: &str = "Examples:
  kontor catalogue import products.csv
  kontor catalogue import products.csv --map 'Article no.=sku' --map Title=name
  kontor catalogue import products.ndjson --json --results results.ndjson

Nothing is sent unless every row can be read. A row is one command under a key of its own content: what broke off is run again
as it is, and what was done is answered as done. Exit code 0 when all rows are done, 1 otherwise.

";

pub const EXPORT_EXAMPLES: &str = "Examples:
  kontor catalogue export --output products.csv
  kontor catalogue export --format ndjson | gzip > products.ndjson.gz

Categories come first, each before those below it; then products, each before its variants. Drafts are part of it, and so is what
was withdrawn. What is exported can be imported again, and changes nothing; imported into another shop, it makes the same catalogue.";

#[derive(Subcommand)]
pub enum CatalogueTask {
    /// Make categories, products and variants what the rows of a file say.
    #[command(after_help = format!("{IMPORT_EXAMPLES}{COLUMNS}"))]
    Import(ImportOptions),
    /// Write all categories, products and variants, in the form that import reads.
    #[command(after_help = EXPORT_EXAMPLES)]
    Export(ExportOptions),
}

#[derive(Args)]
pub struct ImportOptions {
    /// What to read
    file: PathBuf,
    /// What the file is [default: what its name ends in]
    #[arg(long)]
    format: Option<Format>,
    /// A column of the file that is called otherwise: HEADER=COLUMN. May be given several times
    #[arg(long = "map", value_name = "HEADER=COLUMN", value_parser = mapping)]
    mappings: Vec<(String, String)>,
    /// Names the run. A file that was imported before is applied again only under another name
    #[arg(long, value_name = "NAME", default_value = "")]
    run: String,
    /// Where the result of each row is written, as NDJSON [default: FILE.results.ndjson]
    #[arg(long, value_name = "FILE")]
    results: Option<PathBuf>,
    /// Print the results as NDJSON instead of a table
    #[arg(long)]
    json: bool,
    /// The command API
    #[arg(long, value_name = "URL", env = "KONTOR_COMMAND_URL", default_value = "http://127.0.0.1:8080")]
    command_url: Url,
    #[command(flatten)]
    caller: CallerOptions,
}

#[derive(Args)]
pub struct ExportOptions {
    /// What to write
    #[arg(long, default_value = "csv")]
    format: Format,
    /// Where to [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The query API
    #[arg(long, value_name = "URL", env = "KONTOR_QUERY_URL", default_value = "http://127.0.0.1:8081")]
    query_url: Url,
    #[command(flatten)]
    caller: CallerOptions,
}

#[derive(Args)]
struct CallerOptions {
    /// Says who calls [default: a token signed with the local platform's key]
    #[arg(long, env = "KONTOR_TOKEN", hide_env_values = true)]
    token: Option<String>,
    #[command(flatten)]
    data: Data,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Csv,
    Ndjson,
}

impl Format {
    fn of(file: &Path) -> anyhow::Result<Self> {
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("csv") => Ok(Format::Csv),
            Some("ndjson" | "jsonl") => Ok(Format::Ndjson),
            _ => bail!("{} ends in neither .csv nor .ndjson: say --format", file.display()),
        }
    }
}

impl CallerOptions {
    fn api(self, url: &Url) -> anyhow::Result<Api> {
        let token = self.token.map_or_else(|| token::staff(&self.data), Ok)?;
        Api::new(url, &token)
    }
}

pub fn catalogue(task: CatalogueTask) -> anyhow::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match task {
        CatalogueTask::Import(options) => runtime.block_on(import::run(options)),
        CatalogueTask::Export(options) => runtime.block_on(export::run(options)),
    }
}

fn mapping(text: &str) -> Result<(String, String), String> {
    let (header, column) = text.rsplit_once('=').ok_or("must be HEADER=COLUMN")?;
    if !cells::COLUMNS.contains(&column) {
        return Err(format!("there is no column {column}, only {}", cells::COLUMNS.join(", ")));
    }
    Ok((header.to_owned(), column.to_owned()))
}

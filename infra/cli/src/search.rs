//! `kontor search`.

use crate::Said;
use crate::database::Search;
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use kontor_local::usual_data_folder;
use kontor_search::Synonym;
use std::io::Read;
use std::path::{Path, PathBuf};

pub const SYNONYMS_EXAMPLES: &str = "Examples:
  kontor search synonyms list > synonyms.json
  kontor search synonyms set synonyms.json
  echo '[{\"equal\": [\"sofa\", \"couch\"]}, {\"one-way\": {\"word\": \"christmas\", \"finds\": [\"advent\"]}}]' |
      kontor search synonyms set -

`equal`: who looks for one of them finds the others. `one-way`: who looks for `word` finds what `finds` names, and not the other way
round. They hold for every search from then on, and for every later build of the index; `set` replaces all that there were.
`list` prints them as JSON. Exit code 0; 1 if they cannot be read or written, with the reason.";

#[derive(Subcommand)]
pub enum SearchTask {
    /// Words that mean the same.
    #[command(after_help = SYNONYMS_EXAMPLES)]
    Synonyms {
        #[command(subcommand)]
        task: SynonymsTask,
    },
}

#[derive(Subcommand)]
pub enum SynonymsTask {
    /// Print those that there are, as JSON.
    List(Place),
    /// Put those of a file in place of all that there are.
    Set {
        /// A JSON list, as `list` prints it; `-`: standard input
        file: PathBuf,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Args)]
pub struct Place {
    /// The data folder of the platform [default: that of infra/up]
    #[arg(long = "data", value_name = "DIR")]
    folder: Option<PathBuf>,
    #[command(flatten)]
    search: Search,
}

pub fn search(SearchTask::Synonyms { task }: SearchTask) -> anyhow::Result<Said> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match task {
        SynonymsTask::List(place) => {
            let engine = place.open()?;
            let synonyms = runtime.block_on(async { engine.synonyms().await })?;
            Ok(serde_json::to_string_pretty(&synonyms)?.into())
        }
        SynonymsTask::Set { file, place } => {
            let synonyms = read(&file).with_context(|| format!("{}", file.display()))?;
            let engine = place.open()?;
            runtime.block_on(async { engine.set_synonyms(&synonyms).await })?;
            Ok(format!("{} groups of synonyms hold now", synonyms.len()).into())
        }
    }
}

impl Place {
    fn open(self) -> anyhow::Result<std::sync::Arc<dyn kontor_search::Engine>> {
        let folder = self.folder.map_or_else(usual_data_folder, Ok)?.join("search");
        match self.search.open(folder.is_dir().then_some(folder))? {
            Some(engine) => Ok(engine),
            None => bail!("say where products are searched: --data, --search-folder or --search-url"),
        }
    }
}

fn read(file: &Path) -> anyhow::Result<Vec<Synonym>> {
    let mut text = String::new();
    match file == Path::new("-") {
        true => std::io::stdin().read_to_string(&mut text).map(drop)?,
        false => text = std::fs::read_to_string(file)?,
    }
    let parsed = &mut serde_json::Deserializer::from_str(&text);
    Ok(serde_path_to_error::deserialize(parsed)?)
}

//! `kontor recommend`.

mod evaluate;
mod export;
mod log;
mod models;

use crate::Said;
use clap::Subcommand;

pub const EVALUATE_EXAMPLES: &str = "Examples:
  kontor recommend evaluate online-retail
  kontor recommend evaluate online-retail --windows 4
  kontor recommend evaluate online-retail --json | jq '.[0].methods[0].new.ndcg20'

DIR has products.csv.gz and orders.csv.gz in the form of online-retail. A window is 30 days: everything is trained on what was
sold before it and compared with what was bought in it. Of all customers who bought before and in the window: recall@20, ndcg@20
and coverage of lists of what was new to them, and of lists of anything. Of all orders of two items and more: recall@10 of what
goes with each of their items. With --json it prints a list, a window each, the last first, of {\"from\", \"until\", \"customers\",
\"customers_new\", \"orders\", \"methods\": [{\"method\", \"new\": {\"recall20\", \"ndcg20\", \"coverage\"}, \"all\": {…},
\"recall10_together\", \"recall10_together_by_line\"}]}. Exit code 0.";

pub const EXPORT_EXAMPLES: &str = "Examples:
  kontor recommend export --at 2011-11-09T18:00:00Z --for-you for-you.csv --together together.csv
  kontor recommend export --at 2011-11-09T18:00:00Z --kind all --for-you next-order.csv
  kontor recommend export --at 2011-11-09T18:00:00Z --from online-retail --for-you for-you.csv --together together.csv

Trains on what was sold at that time or before, in the log of a platform or in the files of --from, and writes, for every customer
who had bought by then, `customer_id,rank,sku`, and for every item that had been sold, `sku,rank,other_sku`; ranks begin at 1.
With --kind new a customer's list has what they never bought, with --kind all anything. Times are business time: when an order
was placed or taken back, not when it was recorded. Exit code 0.";

#[derive(Subcommand)]
pub enum RecommendTask {
    /// Measure recommendations on an orders file, beside what anybody would try first.
    #[command(after_help = EVALUATE_EXAMPLES)]
    Evaluate(evaluate::EvaluateOptions),
    /// Write ranked lists for anyone to score.
    #[command(after_help = EXPORT_EXAMPLES)]
    Export(export::ExportOptions),
    /// Learn a model now, and let queries answer from it.
    #[command(after_help = models::TRAIN_EXAMPLES)]
    Train(models::TrainOptions),
    /// Show which models queries answer from.
    #[command(after_help = models::MODELS_EXAMPLES)]
    Models(models::ModelsOptions),
}

pub fn recommend(task: RecommendTask) -> anyhow::Result<Said> {
    match task {
        RecommendTask::Evaluate(options) => evaluate::evaluate(&options).map(Said::from),
        RecommendTask::Export(options) => export::export(options).map(Said::from),
        RecommendTask::Train(options) => models::train(options).map(Said::from),
        RecommendTask::Models(options) => models::models(options).map(Said::from),
    }
}

/// A bar on standard error, where that is a terminal, for work of which the share that is done is known.
fn progress(what: &'static str) -> indicatif::ProgressBar {
    let bar = indicatif::ProgressBar::new(PROGRESS_STEPS).with_message(what);
    if let Ok(style) = indicatif::ProgressStyle::with_template("{msg:<10} {wide_bar} {percent}%, {elapsed}") {
        bar.set_style(style);
    }
    bar
}

const PROGRESS_STEPS: u64 = 1_000;

/// Shows that a share from 0 to 1 is done.
fn tell(bar: &indicatif::ProgressBar, done: f64) {
    bar.set_position((done * PROGRESS_STEPS as f64) as u64);
}

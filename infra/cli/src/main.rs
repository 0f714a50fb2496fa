//! `kontor`: the tool of operators and analysts. Each subcommand's `--help` has examples.

mod catalogue;
mod customers;
mod database;
mod events;
mod interruption;
mod moment;
mod notifications;
mod payments;
mod projections;
mod recommend;
mod search;
mod token;

use clap::{CommandFactory, Parser, Subcommand};
use std::io::Write;
use std::process::ExitCode;

/// The tool of those who run Kontor.
#[derive(Parser)]
#[command(name = "kontor", version, arg_required_else_help = true)]
struct CommandLine {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Print a token that says who calls, signed with the local platform's key.
    #[command(after_help = token::EXAMPLES)]
    Token(token::TokenOptions),
    /// Make the key that signs tokens, if it is not there; print where its public half is.
    #[command(after_help = "Example:\n  export KONTOR_IDENTITY__PUBLIC_KEY_FILE=$(kontor key)")]
    Key(token::Data),
    /// What is sold: import and export.
    Catalogue {
        #[command(subcommand)]
        task: catalogue::CatalogueTask,
    },
    /// What concerns customers and their personal data.
    Customers {
        #[command(subcommand)]
        task: customers::CustomersTask,
    },
    /// The log, for analysts: as files, and as a stream of lines.
    Events {
        #[command(subcommand)]
        task: events::EventsTask,
    },
    /// Mails to customers: which were sent, and what is to become of those that were not.
    Notifications {
        #[command(subcommand)]
        task: notifications::NotificationsTask,
    },
    /// What concerns payments.
    Payments {
        #[command(subcommand)]
        task: payments::PaymentsTask,
    },
    /// Read models: how far they are, built anew, verified.
    Projections {
        #[command(subcommand)]
        task: projections::ProjectionsTask,
    },
    /// What customers may want next: learnt, measured, and as lists.
    Recommend {
        #[command(subcommand)]
        task: recommend::RecommendTask,
    },
    /// What products are searched by.
    Search {
        #[command(subcommand)]
        task: search::SearchTask,
    },
    /// Print the completion script of a shell.
    #[command(after_help = "Example:\n  source <(kontor completions bash)")]
    Completions { shell: clap_complete::Shell },
}

/// What a task has to say, and the exit code with it.
struct Said {
    text: String,
    code: ExitCode,
}

impl From<String> for Said {
    fn from(text: String) -> Self {
        Self { text, code: ExitCode::SUCCESS }
    }
}

fn main() -> ExitCode {
    let CommandLine { task } = CommandLine::parse();
    let said = match task {
        Task::Token(options) => token::token(options).map(Said::from),
        Task::Key(data) => token::key(&data).map(Said::from),
        Task::Catalogue { task } => catalogue::catalogue(task).map(Said::from),
        Task::Customers { task } => customers::customers(task).map(Said::from),
        Task::Events { task } => events::events(task),
        Task::Notifications { task } => notifications::notifications(task).map(Said::from),
        Task::Payments { task } => payments::payments(task),
        Task::Projections { task } => projections::projections(task),
        Task::Recommend { task } => recommend::recommend(task),
        Task::Search { task } => search::search(task),
        Task::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut CommandLine::command(), "kontor", &mut script);
            Ok(String::from_utf8_lossy(&script).trim_end().to_owned().into())
        }
    };
    match said {
        Ok(Said { text, code }) if text.is_empty() => code,
        // Whoever reads may have had enough.
        Ok(Said { text, code }) => match writeln!(std::io::stdout().lock(), "{text}") {
            Ok(()) => code,
            Err(_) => ExitCode::FAILURE,
        },
        Err(error) => {
            eprintln!("kontor: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        CommandLine::command().debug_assert();
    }
}

//! What people see: steps with a spinner on a terminal, plain lines elsewhere.

use indicatif::{ProgressBar, ProgressStyle};
use kontor_local::Step;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Shows steps as they are told. Steps do not overlap.
pub struct Console {
    spinner: Option<ProgressBar>,
    step: String,
    since: Instant,
    /// The last reason that was shown on a plain console, and when.
    waits: Option<(String, Instant)>,
}

impl Console {
    pub fn new() -> Console {
        Console { spinner: None, step: String::new(), since: Instant::now(), waits: None }
    }

    /// Prints a line of its own.
    pub fn say(&self, line: &str) {
        match &self.spinner {
            Some(spinner) => spinner.suspend(|| out(line)),
            None => out(line),
        }
    }

    pub fn tell(&mut self, step: Step<'_>) {
        match step {
            Step::Begins(name) => {
                name.clone_into(&mut self.step);
                self.since = Instant::now();
                self.waits = None;
                if std::io::stdout().is_terminal() {
                    let style = ProgressStyle::with_template("  {spinner} {wide_msg}").expect("the template is right");
                    let spinner = ProgressBar::new_spinner().with_style(style).with_message(self.step.clone());
                    spinner.enable_steady_tick(Duration::from_millis(100));
                    self.spinner = Some(spinner);
                }
            }
            Step::Waits(why) => {
                let why = why.lines().next().unwrap_or_default();
                if let Some(spinner) = &self.spinner {
                    spinner.set_message(format!("{}: {why}", self.step));
                    return;
                }
                // Without a terminal only news, and that not too often.
                let known = self
                    .waits
                    .as_ref()
                    .is_some_and(|(shown, at)| shown == why || at.elapsed() < Duration::from_secs(5));
                if !known {
                    out(&format!("  … {}: {why}", self.step));
                    self.waits = Some((why.to_owned(), Instant::now()));
                }
            }
            Step::Done => {
                self.clear();
                let seconds = self.since.elapsed().as_secs_f64();
                out(&format!("  {} {:<40} {seconds:>5.1} s", green("✓"), self.step));
            }
        }
    }

    /// Takes the spinner away, for whatever is printed next.
    pub fn clear(&mut self) {
        if let Some(spinner) = self.spinner.take() {
            spinner.finish_and_clear();
        }
    }
}

/// Prints a line. That nobody reads it any more (a closed terminal, `| head`) is no reason to fail, so not `println!`.
pub fn out(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// One line on what went wrong.
pub fn fail(line: &str) {
    let name = if colours(std::io::stderr().is_terminal()) { "\x1b[31mkontor-local:\x1b[0m" } else { "kontor-local:" };
    let _ = writeln!(std::io::stderr(), "{name} {line}");
}

pub fn green(text: &str) -> String {
    painted("32", text)
}

pub fn bold(text: &str) -> String {
    painted("1", text)
}

fn painted(colour: &str, text: &str) -> String {
    if colours(std::io::stdout().is_terminal()) { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
}

/// Only for people, and only for those who want them (no-color.org).
fn colours(terminal: bool) -> bool {
    terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

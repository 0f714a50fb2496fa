//! How far we are: a bar with rate and time left on a terminal, a plain line every few seconds elsewhere.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

const LINE_EVERY: Duration = Duration::from_secs(3);

/// Progress of one piece of work, told on standard error.
pub struct Progress {
    what: &'static str,
    /// `None` where there is no terminal.
    bar: Option<ProgressBar>,
    state: Mutex<State>,
}

struct State {
    done: u64,
    total: u64,
    told_at: Instant,
    told: u64,
}

impl Progress {
    /// `what` is counted: `invoices`.
    pub fn new(what: &'static str, total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(10));
            let template = "{msg:<10} {wide_bar} {human_pos} of {human_len}, {per_sec:.0}, {eta} left";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.with_message(what)
        });
        Self { what, bar, state: Mutex::new(State { done: 0, total, told_at: Instant::now(), told: 0 }) }
    }

    /// `more` of them are done.
    pub fn advance(&self, more: u64) {
        let mut state = self.state.lock().expect("no holder panics");
        state.done += more;
        match &self.bar {
            Some(bar) => bar.set_position(state.done),
            None if state.told_at.elapsed() >= LINE_EVERY => {
                eprintln!("{}", state.line(self.what, state.told_at.elapsed()));
                (state.told, state.told_at) = (state.done, Instant::now());
            }
            None => {}
        }
    }

    /// Takes the bar away: what comes next is told below it.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish();
        }
    }
}

impl State {
    /// The rate is that of the time since the last line: what was there already, after an interruption, went faster.
    fn line(&self, what: &str, since: Duration) -> String {
        let rate = (self.done - self.told) as f64 / since.as_secs_f64();
        let left = self.total.saturating_sub(self.done) as f64 / rate.max(0.001);
        format!("{what}: {} of {}, {rate:.0}/s, {left:.0} s left", self.done, self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_rate_and_time_left() {
        let state = State { done: 700, total: 1_000, told_at: Instant::now(), told: 500 };
        assert_eq!(state.line("invoices", Duration::from_secs(2)), "invoices: 700 of 1000, 100/s, 3 s left");
    }
}

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

/// Whether a tier can do its work: what its components say of what they need. Clones are the same.
///
/// The components set their checks as they go about their work, so that asking costs nothing and never waits.
#[derive(Clone, Default)]
pub struct Health {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    draining: AtomicBool,
    checks: Mutex<Vec<Check>>,
}

/// What one component needs, such as `postgres`. Clones are the same.
#[derive(Clone)]
pub struct Check {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    /// As in `state`; read first, so that saying the same again costs next to nothing.
    is_ok: AtomicBool,
    state: Mutex<State>,
}

struct State {
    /// Why not. `None`: ok.
    failing: Option<String>,
    since: Instant,
}

impl Health {
    pub fn new() -> Self {
        Health::default()
    }

    /// Adds a check, which fails as `starting` until it is set.
    pub fn register(&self, name: impl Into<String>) -> Check {
        let state = State { failing: Some("starting".to_owned()), since: Instant::now() };
        let inner = Inner { name: name.into(), is_ok: AtomicBool::new(false), state: Mutex::new(state) };
        let check = Check { inner: Arc::new(inner) };
        self.shared.checks.lock().push(check.clone());
        check
    }

    /// From now on the tier is not ready: it is about to end, and wants no more work.
    pub fn drain(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
    }

    pub fn is_ready(&self) -> bool {
        !self.shared.draining.load(Ordering::Relaxed) && self.shared.checks.lock().iter().all(Check::is_ok)
    }

    /// A line for each check, in order of registration: `postgres: ok for 12 s`, or
    /// `nats: not ok for 3 s: connection refused`.
    pub fn report(&self) -> String {
        let mut report = String::new();
        if self.shared.draining.load(Ordering::Relaxed) {
            report.push_str("draining\n");
        }
        for check in self.shared.checks.lock().iter() {
            let state = check.inner.state.lock();
            let (name, seconds) = (&check.inner.name, state.since.elapsed().as_secs());
            let written = match &state.failing {
                None => writeln!(report, "{name}: ok for {seconds} s"),
                Some(reason) => writeln!(report, "{name}: not ok for {seconds} s: {}", one_line(reason)),
            };
            written.expect("a String takes any text");
        }
        report
    }
}

fn one_line(reason: &str) -> String {
    reason.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Check {
    /// What is checked is there. Cheap enough to be said for every batch.
    pub fn ok(&self) {
        if !self.is_ok() {
            self.set(None);
        }
    }

    /// What is checked is not there; `reason` is for operators, and holds no secret.
    pub fn failing(&self, reason: impl Into<String>) {
        self.set(Some(reason.into()));
    }

    pub fn is_ok(&self) -> bool {
        self.inner.is_ok.load(Ordering::Relaxed)
    }

    fn set(&self, failing: Option<String>) {
        let mut state = self.inner.state.lock();
        if state.failing.is_none() != failing.is_none() {
            state.since = Instant::now();
        }
        self.inner.is_ok.store(failing.is_none(), Ordering::Relaxed);
        state.failing = failing;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_is_ready_when_all_its_checks_are_ok() {
        let health = Health::new();
        assert!(health.is_ready());
        let (postgres, nats) = (health.register("postgres"), health.register("nats"));
        assert!(!health.is_ready());
        postgres.ok();
        nats.ok();
        assert!(health.is_ready());
        nats.failing("connection\nrefused");
        assert!(!health.is_ready());
        assert_eq!(health.report(), "postgres: ok for 0 s\nnats: not ok for 0 s: connection refused\n");
        nats.ok();
        assert!(health.is_ready());
    }

    #[test]
    fn a_tier_that_drains_is_not_ready_whatever_its_checks_say() {
        let health = Health::new();
        health.register("postgres").ok();
        health.drain();
        assert!(!health.is_ready());
        assert_eq!(health.report(), "draining\npostgres: ok for 0 s\n");
    }
}

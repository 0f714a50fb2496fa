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
    /// Whether the tier is not ready without it.
    is_needed: bool,
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
        self.add(name.into(), true, Some("starting".to_owned()))
    }

    /// Adds a check of what the tier can do without, which operators are told of all the same. It is ok until it is set.
    pub fn register_detail(&self, name: impl Into<String>) -> Check {
        self.add(name.into(), false, None)
    }

    fn add(&self, name: String, is_needed: bool, failing: Option<String>) -> Check {
        let is_ok = AtomicBool::new(failing.is_none());
        let inner = Inner { name, is_needed, is_ok, state: Mutex::new(State { failing, since: Instant::now() }) };
        let check = Check { inner: Arc::new(inner) };
        self.shared.checks.lock().push(check.clone());
        check
    }

    /// From now on the tier is not ready: it is about to end, and wants no more work.
    pub fn drain(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
    }

    pub fn is_ready(&self) -> bool {
        !self.shared.draining.load(Ordering::Relaxed) && self.shared.checks.lock().iter().all(Check::lets_be_ready)
    }

    /// A line for each check, in order of registration: `postgres: ok for 12 s`, or
    /// `nats: not ok for 3 s: connection refused`, or of what it can do without `search: not ok for 3 s, ready without it: ...`.
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
                Some(reason) => {
                    let without = if check.inner.is_needed { "" } else { ", ready without it" };
                    writeln!(report, "{name}: not ok for {seconds} s{without}: {}", one_line(reason))
                }
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

    fn lets_be_ready(&self) -> bool {
        self.is_ok() || !self.inner.is_needed
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
    fn what_a_tier_can_do_without_is_told_of_only() {
        let health = Health::new();
        let search = health.register_detail("search");
        assert_eq!(health.report(), "search: ok for 0 s\n");
        search.failing("connection refused");
        assert!(health.is_ready());
        assert_eq!(health.report(), "search: not ok for 0 s, ready without it: connection refused\n");
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

use super::outbox::Backlog;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// What notifications have done in this process, and what is left, for `/metrics`.
#[derive(Debug, Default)]
pub struct NotificationCounts {
    /// 1 while this process sends.
    pub leading: AtomicI64,
    pub sent: AtomicU64,
    /// Attempts that will be repeated.
    pub failed: AtomicU64,
    pub given_up: AtomicU64,
    pub dropped: AtomicU64,
    /// Of the whole outbox, as it was last looked at by the one that leads.
    pub waiting: AtomicI64,
    pub dead: AtomicI64,
    pub oldest_ms: AtomicI64,
}

impl NotificationCounts {
    pub fn look_at(&self, backlog: &Backlog) {
        self.waiting.store(backlog.waiting, Ordering::Relaxed);
        self.dead.store(backlog.dead, Ordering::Relaxed);
        self.oldest_ms.store((backlog.oldest_s * 1_000.0) as i64, Ordering::Relaxed);
    }
}

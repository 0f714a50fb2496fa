//! One mailbox an aggregate: commands enter one after another and find its state in memory.

use compact_str::CompactString;
use cqrs_es::Aggregate;
use futures::future::BoxFuture;
use kontor_event_store::Lineage;
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, UnitWeighter};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// The state of an aggregate after all commands that were decided, appended or still on their way.
#[derive(Clone)]
pub struct Cached<A> {
    pub aggregate: A,
    pub version: i64,
    pub lineage: Lineage,
}

/// A turn at an aggregate. `None`: its stream is to be read first.
pub type Turn<A> = OwnedMutexGuard<Option<Cached<A>>>;

/// The mailboxes of one type of aggregate. The least used are forgotten when there are too many, which the log's expected
/// versions make harmless.
pub struct Mailboxes<A> {
    by_id: Cache<CompactString, Arc<Mailbox<A>>, UnitWeighter, DefaultHashBuilder, UnlessInUse>,
    waiting_max: usize,
}

/// Keeps a mailbox while anybody has a turn at it or waits for the log: whoever came next would read a stream that lacks what
/// is on its way, be refused, and so on.
#[derive(Clone)]
struct UnlessInUse;

impl<A> Lifecycle<CompactString, Arc<Mailbox<A>>> for UnlessInUse {
    type RequestState = ();

    fn is_pinned(&self, _: &CompactString, mailbox: &Arc<Mailbox<A>>) -> bool {
        Arc::strong_count(mailbox) > 1
    }

    fn begin_request(&self) {}
}

/// The first to come is the first to be served: tokio's mutex is fair.
pub struct Mailbox<A> {
    state: Arc<Mutex<Option<Cached<A>>>>,
    waiting: AtomicUsize,
    /// How far the stream is known to go, whoever has written it.
    heard: AtomicI64,
}

/// More commands wait for this aggregate than may.
pub struct Full {
    pub waiting: usize,
}

impl<A: Aggregate> Mailboxes<A> {
    pub fn new(cached_max: usize, waiting_max: usize) -> Self {
        let (weighter, hashing) = (UnitWeighter, DefaultHashBuilder::default());
        let by_id = Cache::with(cached_max, cached_max as u64, weighter, hashing, UnlessInUse);
        Self { by_id, waiting_max }
    }

    pub fn of(&self, id: &str) -> Arc<Mailbox<A>> {
        if let Some(mailbox) = self.by_id.get(id) {
            return mailbox;
        }
        let fresh = || {
            let (waiting, heard) = (AtomicUsize::new(0), AtomicI64::new(0));
            Arc::new(Mailbox { state: Arc::new(Mutex::new(None)), waiting, heard })
        };
        let made: Result<_, std::convert::Infallible> =
            self.by_id.get_or_insert_with(&CompactString::from(id), || Ok(fresh()));
        match made {
            Ok(mailbox) => mailbox,
        }
    }

    /// Notes how far the stream of a cached aggregate goes.
    pub fn heard(&self, id: &str, sequence: i64) {
        if let Some(mailbox) = self.by_id.peek(id) {
            mailbox.heard.fetch_max(sequence, Ordering::Relaxed);
        }
    }

    /// Waits for a turn.
    pub async fn turn(&self, mailbox: &Arc<Mailbox<A>>) -> Result<Turn<A>, Full> {
        if let Ok(turn) = mailbox.state.clone().try_lock_owned() {
            return Ok(turn);
        }
        let place = Place::take(&mailbox.waiting, self.waiting_max)?;
        let turn = mailbox.state.clone().lock_owned().await;
        drop(place);
        Ok(turn)
    }
}

impl<A> Mailbox<A> {
    /// Whether the stream is known to go on after `version`.
    pub fn knows_of_more(&self, version: i64) -> bool {
        self.heard.load(Ordering::Relaxed) > version
    }
}

/// A place in the queue of a mailbox, given back also when the one who waits goes away.
struct Place<'m>(&'m AtomicUsize);

impl<'m> Place<'m> {
    fn take(waiting: &'m AtomicUsize, most: usize) -> Result<Self, Full> {
        let before = waiting.fetch_add(1, Ordering::Relaxed);
        let place = Self(waiting);
        if before >= most { Err(Full { waiting: before }) } else { Ok(place) }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A mailbox with the lineage under which it was read.
pub struct Read<A> {
    pub mailbox: Arc<Mailbox<A>>,
    pub lineage: Lineage,
}

/// What was read turned out to be out of date.
pub trait Forget: Send + Sync {
    /// Has the stream read again by the next command, unless somebody has done so already.
    fn forget(&self) -> BoxFuture<'_, ()>;
}

impl<A: Aggregate + 'static> Forget for Read<A> {
    fn forget(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let mut state = self.mailbox.state.lock().await;
            if state.as_ref().is_some_and(|cached| cached.lineage == self.lineage) {
                *state = None;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kontor_domain::stock::Stock;

    #[test]
    fn mailboxes_are_forgotten_but_for_those_in_use() {
        let mailboxes = Mailboxes::<Stock>::new(10, 1);
        let held: Vec<_> = ["a", "b", "c"].map(|id| (id, mailboxes.of(id))).into();
        for id in 0..1_000 {
            mailboxes.of(&id.to_string());
        }
        assert!(mailboxes.by_id.len() <= 10, "{} are cached", mailboxes.by_id.len());
        for (id, mailbox) in held {
            assert!(Arc::ptr_eq(&mailboxes.of(id), &mailbox), "another would read what is not there yet");
        }
    }
}

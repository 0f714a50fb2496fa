//! What is erased stays so, for every process, within the time that is set.

use crate::support::{Fixture, open, remembering, subject};
use kontor_local::Role;
use kontor_privacy::{Erasure, PrivacyError, PrivacySettings};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[tokio::test]
async fn what_is_erased_can_never_be_opened_again() {
    let fixture = Fixture::start().await;
    let keyring = fixture.keyring().await;
    let (ada, bob) = (subject("ada"), subject("bob"));
    let sealed = keyring.seal(&ada, "Ada").await.expect("it is sealed");
    let others = keyring.seal(&bob, "Bob").await.expect("it is sealed");
    let Ok(Erasure::Destroyed { created_at, erased_at }) = keyring.erase(&ada).await else { panic!("it is there") };
    assert!(created_at <= erased_at);
    for keyring in [&keyring, &fixture.keyring().await] {
        assert_eq!(keyring.open(&sealed).await.expect("an answer"), None);
        let refused = keyring.seal(&ada, "Ada").await;
        assert!(matches!(refused, Err(PrivacyError::Erased { .. })), "{refused:?}");
        assert_eq!(keyring.open(&others).await.expect("an answer"), open("Bob"));
    }
    let row = fixture.sql("select wrapped is null, master_key is null from privacy.subject_keys where subject = 'ada'");
    assert_eq!(row.await, "t|t");
    // Again: nothing changes, and the first time is told.
    let again = keyring.erase(&ada).await.expect("an answer");
    assert_eq!(again, Erasure::Already { created_at, erased_at });
}

#[tokio::test]
async fn who_was_never_there_cannot_be_erased_and_may_still_come() {
    let fixture = Fixture::start().await;
    let keyring = fixture.keyring().await;
    assert_eq!(keyring.erase(&subject("ada")).await.expect("an answer"), Erasure::NoSuchSubject);
    assert_eq!(fixture.sql("select count(*) from privacy.subject_keys").await, "0");
    let sealed = keyring.seal(&subject("ada"), "Ada").await.expect("it is sealed");
    assert_eq!(keyring.open(&sealed).await.expect("it is opened"), open("Ada"));
}

#[tokio::test]
async fn another_process_forgets_the_key_within_the_time_that_is_set() {
    let fixture = Fixture::start().await;
    let erasing = fixture.keyring().await;
    let bounded = fixture.keyring_as(Role::Query, remembering(1)).await;
    let always_asking = fixture.keyring_as(Role::Query, remembering(0)).await;
    let patient = fixture.keyring_as(Role::Query, remembering(3_600)).await;
    let sealed = erasing.seal(&subject("ada"), "Ada").await.expect("it is sealed");
    for keyring in [&always_asking, &patient, &bounded] {
        assert_eq!(keyring.open(&sealed).await.expect("it is opened"), open("Ada"));
    }
    erasing.erase(&subject("ada")).await.expect("it is erased");
    let erased_at = Instant::now();
    assert_eq!(always_asking.open(&sealed).await.expect("an answer"), None);
    assert_eq!(patient.open(&sealed).await.expect("an answer"), open("Ada"), "this is what the time bounds");
    // It may open for a second more, and each time later not at all.
    loop {
        let asked_at = Instant::now();
        match bounded.open(&sealed).await.expect("an answer") {
            None => break,
            Some(_) => assert!(asked_at - erased_at < Duration::from_secs(1), "it was remembered for too long"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn who_is_erased_is_erased_as_the_guest_too_that_they_were() {
    let fixture = Fixture::start().await;
    let keyring = fixture.keyring().await;
    let (ada, bob) = (subject("ada"), subject("bob"));
    let [first, second, stranger] = ["guest.1", "guest.2", "guest.3"].map(subject);
    let mut sealed = Vec::new();
    for guest in [&first, &second, &stranger] {
        sealed.push(keyring.seal(guest, "Ada").await.expect("it is sealed"));
    }
    keyring.give(&first, &ada).await.expect("the guest is Ada, who has had no key");
    keyring.give(&second, &ada).await.expect("so is this one");
    keyring.give(&second, &ada).await.expect("it is said twice");
    keyring.give(&stranger, &bob).await.expect("this one is not");
    let erasure = keyring.erase(&ada).await.expect("an answer");
    assert!(matches!(erasure, Erasure::Destroyed { .. }), "{erasure:?}");
    for keyring in [&keyring, &fixture.keyring().await] {
        assert_eq!(keyring.open_all(&sealed).await.expect("an answer"), [None, None, open("Ada")]);
        let refused = keyring.seal(&first, "Ada").await;
        assert!(matches!(refused, Err(PrivacyError::Erased { .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn nobody_who_was_erased_is_given_or_given_to() {
    let fixture = Fixture::start().await;
    // The one that gives remembers keys that the other destroys.
    let (giving, erasing) = (fixture.keyring().await, fixture.keyring().await);
    let [ada, bob, gone, there] = ["ada", "bob", "guest.1", "guest.2"].map(subject);
    for subject in [&ada, &bob, &gone, &there] {
        giving.seal(subject, "Ada").await.expect("it is sealed");
    }
    erasing.erase(&gone).await.expect("it is erased");
    erasing.erase(&ada).await.expect("it is erased");
    for keyring in [&giving, &erasing] {
        let refused = keyring.give(&gone, &bob).await;
        assert!(matches!(&refused, Err(PrivacyError::Erased { subject }) if *subject == gone), "{refused:?}");
        let refused = keyring.give(&there, &ada).await;
        assert!(matches!(&refused, Err(PrivacyError::Erased { subject }) if *subject == ada), "{refused:?}");
    }
    assert_eq!(fixture.sql("select count(belongs_to) from privacy.subject_keys").await, "0");
}

/// Step 1: a guest becomes a customer, and the transaction stays open. Step 2: the customer is erased: that waits. Step 3: the
/// guest has become the customer, and is erased.
#[tokio::test]
async fn a_guest_does_not_outlive_the_customer_whom_they_are_becoming() {
    let fixture = Fixture::start().await;
    let keyring = fixture.keyring().await;
    let (ada, guest) = (subject("ada"), subject("guest.1"));
    keyring.seal(&ada, "Ada").await.expect("it is sealed");
    let sealed = keyring.seal(&guest, "Ada").await.expect("it is sealed");
    let mut giving = fixture.connect(Role::Command).await;
    sqlx::raw_sql("begin; select privacy.give_guest('guest.1', 'ada')").execute(&mut giving).await.expect("given");
    let (erasure, ()) = tokio::join!(keyring.erase(&ada), async {
        let waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'";
        while fixture.sql(waits).await == "0" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        sqlx::raw_sql("commit").execute(&mut giving).await.expect("it commits");
    });
    assert!(matches!(erasure, Ok(Erasure::Destroyed { .. })), "{erasure:?}");
    assert_eq!(keyring.open(&sealed).await.expect("an answer"), None);
}

/// What is sealed while somebody erases is refused, or as lost as the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn erasing_while_sealing_leaves_nothing_to_open() {
    let fixture = Fixture::start().await;
    let settings = || PrivacySettings { keys_cached_max: 4, ..remembering(30) };
    let keyrings = [fixture.keyring_as(Role::Command, settings()).await, fixture.keyring().await].map(Arc::new);
    for round in 0..20 {
        let subject = subject(&format!("S{round}"));
        keyrings[round % 2].seal(&subject, "the first").await.expect("it is sealed");
        let mut sealing = tokio::task::JoinSet::new();
        for number in 0..16 {
            let (keyring, subject) = (keyrings[number % 2].clone(), subject.clone());
            sealing.spawn(async move { keyring.seal(&subject, &format!("text {number}")).await });
        }
        let erasure = keyrings[0].erase(&subject).await.expect("an answer");
        assert!(matches!(erasure, Erasure::Destroyed { .. }), "{erasure:?}");
        // In the process that erased, nothing is sealed from then on.
        let refused = keyrings[0].seal(&subject, "too late").await;
        assert!(matches!(refused, Err(PrivacyError::Erased { .. })), "{refused:?}");
        let fresh = fixture.keyring().await;
        for sealed in sealing.join_all().await {
            match sealed {
                Ok(personal) => {
                    assert_eq!(fresh.open(&personal).await.expect("an answer"), None);
                    assert_eq!(keyrings[0].open(&personal).await.expect("an answer"), None);
                }
                Err(PrivacyError::Erased { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
    let keys = fixture.sql("select count(*), count(wrapped) from privacy.subject_keys").await;
    assert_eq!(keys, "20|0");
}

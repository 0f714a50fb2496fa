//! One subject has one key, whoever makes it, and only that key opens.

use crate::support::{Fixture, open, passed_off, remembering, subject};
use kontor_local::Role;
use kontor_privacy::{Keyring, MasterKey, PrivacyError, Unreadable};
use sqlx::Connection;

#[tokio::test]
async fn what_one_process_seals_another_opens() {
    let fixture = Fixture::start().await;
    let (one, other) = (fixture.keyring().await, fixture.keyring().await);
    let (ada, bob) = (subject("ada"), subject("bob"));
    let sealed = one.seal(&ada, "12 St James's Square").await.expect("it is sealed");
    assert_eq!(other.open(&sealed).await.expect("it is opened"), open("12 St James's Square"));
    assert_eq!(other.seal(&ada, "12 St James's Square").await.expect("it is sealed"), sealed);
    let neighbour = one.seal(&bob, "12 St James's Square").await.expect("it is sealed");
    assert_ne!(neighbour.sealed, sealed.sealed);
    let found = other.open(&passed_off(&sealed, "bob")).await;
    assert!(matches!(found, Err(PrivacyError::Unreadable { reason: Unreadable::Forged, .. })), "{found:?}");
    let found = other.open(&passed_off(&sealed, "nobody")).await;
    assert!(matches!(found, Err(PrivacyError::NoKey { .. })), "{found:?}");
    assert_eq!(fixture.sql("select count(*) from privacy.subject_keys").await, "2", "opening makes no key");
}

#[tokio::test]
async fn two_processes_that_make_a_key_at_once_end_with_the_same() {
    let fixture = Fixture::start().await;
    let (one, other) = (fixture.keyring().await, fixture.keyring().await);
    for number in 0..50 {
        let subject = subject(&format!("S{number}"));
        let seals = [&one, &other, &one, &other].map(|keyring| keyring.seal(&subject, "Ada"));
        let sealed = futures::future::try_join_all(seals).await.expect("all are sealed");
        assert!(sealed.iter().all(|personal| *personal == sealed[0]), "{subject} has one key");
        let fresh = fixture.keyring().await;
        assert_eq!(fresh.open(&sealed[0]).await.expect("it is opened"), open("Ada"));
        assert_eq!(fresh.seal(&subject, "Ada").await.expect("it is sealed"), sealed[0]);
    }
    assert_eq!(fixture.sql("select count(*) from privacy.subject_keys").await, "50");
}

/// Step 1: somebody's key is added, but not committed. Step 2: another process, which cannot see it, adds its own and waits.
/// Step 3: the first commits. The second goes on with the first one's key.
#[tokio::test]
async fn who_comes_second_takes_the_key_of_the_first() {
    let fixture = Fixture::start().await;
    let (one, other) = (fixture.keyring().await, fixture.keyring().await);
    let (first, second) = (subject("first"), subject("second"));
    one.seal(&first, "Ada").await.expect("it is sealed");
    let mut connection = fixture.connect(Role::Command).await;
    let mut transaction = connection.begin().await.expect("it takes a transaction");
    // Another subject's key does not unwrap, so whose key is used shows.
    let copy = "insert into privacy.subject_keys (subject, wrapped, master_key) \
                select 'second', wrapped, master_key from privacy.subject_keys where subject = 'first'";
    sqlx::query(copy).execute(&mut *transaction).await.expect("it is added");
    let sealing = tokio::spawn(async move { other.seal(&second, "Bob").await });
    while fixture.sql("select count(*) from pg_locks where not granted").await != "1" {}
    transaction.commit().await.expect("it is committed");
    let sealed = sealing.await.expect("it does not panic");
    assert!(matches!(sealed, Err(PrivacyError::KeyForged { .. })), "{sealed:?}");
}

#[tokio::test]
async fn a_list_costs_one_question() {
    let fixture = Fixture::start().await;
    let keyring = fixture.keyring().await;
    let mut all = Vec::new();
    for number in 0..20 {
        let subject = subject(&format!("S{}", number % 7));
        all.push(keyring.seal(&subject, &format!("text {number}")).await.expect("it is sealed"));
    }
    keyring.erase(&subject("S3")).await.expect("it is erased");
    let expected: Vec<_> = (0..20).map(|number| (number % 7 != 3).then(|| format!("text {number}"))).collect();
    assert_eq!(keyring.open_all(&all).await.expect("they are opened"), expected);

    let pool = fixture.pool(Role::Query).await;
    let master = MasterKey::read(fixture.master_key_file()).expect("the master key");
    let fresh = Keyring::new(pool.clone(), master, &remembering(30));
    assert_eq!(fresh.open_all(&all).await.expect("they are opened"), expected);
    assert_eq!(fresh.open_all([]).await.expect("nothing to do"), Vec::<Option<String>>::new());
    // All are known now: it needs no database any more.
    pool.close().await;
    assert_eq!(fresh.open_all(&all).await.expect("they are opened"), expected);
    let unknown = passed_off(&all[0], "unknown");
    let unknown = fresh.open_all([&all[0], &unknown]).await;
    assert!(matches!(unknown, Err(PrivacyError::Database(_))), "{unknown:?}");
}

#[tokio::test]
async fn another_master_key_opens_nothing() {
    let fixture = Fixture::start().await;
    let ours = fixture.keyring().await;
    let sealed = ours.seal(&subject("ada"), "Ada").await.expect("it is sealed");
    let folder = tempfile::tempdir().expect("a folder");
    let theirs = MasterKey::find_or_make(folder.path()).expect("a key");
    let theirs = Keyring::new(fixture.pool(Role::Command).await, theirs, &remembering(30));
    let found = theirs.open(&sealed).await;
    assert!(matches!(found, Err(PrivacyError::MasterKeyMissing { .. })), "{found:?}");
    let found = theirs.seal(&subject("ada"), "Ada").await;
    assert!(matches!(found, Err(PrivacyError::MasterKeyMissing { .. })), "{found:?}");
}

#[tokio::test]
async fn no_key_is_printed() {
    let fixture = Fixture::start().await;
    let keyring = fixture.keyring().await;
    keyring.seal(&subject("ada"), "Ada").await.expect("it is sealed");
    let number = fixture.sql("select master_key from privacy.subject_keys").await;
    assert_eq!(format!("{keyring:?}"), format!("Keyring(MasterKey({number}), 1 cached)"));
}

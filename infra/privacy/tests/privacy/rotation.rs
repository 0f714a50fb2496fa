//! Another master key: what was sealed stays readable, and the old master key is of no use any more.

use crate::support::{Fixture, open, subject};
use kontor_local::Role;
use kontor_privacy::{Keyring, MasterKey, PrivacyError, PrivacySettings, rewrap};
use std::fs;

/// Step 1: keys under the first master key, one of them destroyed. Step 2: a second one is put before it: new keys are
/// wrapped with it. Step 3: all are rewrapped. Step 4: the second alone opens everything, the first nothing.
#[tokio::test]
async fn the_master_key_can_be_replaced() {
    let fixture = Fixture::start().await;
    let first = fixture.keyring().await;
    let mut all = Vec::new();
    for number in 0..30 {
        all.push(first.seal(&subject(&format!("S{number}")), "Ada").await.expect("it is sealed"));
    }
    first.erase(&subject("S7")).await.expect("it is erased");

    let folder = tempfile::tempdir().expect("a folder");
    let alone = MasterKey::find_or_make(folder.path()).expect("a key");
    let [new, old] = [&MasterKey::file(folder.path()), fixture.master_key_file()]
        .map(|path| fs::read_to_string(path).expect("it is text"));
    let both = folder.path().join("both");
    fs::write(&both, new + &old).expect("a file");
    let both = || MasterKey::read(&both).expect("two keys");
    assert_eq!(both().number(), alone.number());
    let keyring = async |master| Keyring::new(fixture.pool(Role::Command).await, master, &PrivacySettings::default());
    let between = keyring(both()).await;
    all.push(between.seal(&subject("S30"), "Ada").await.expect("it is sealed"));

    let owner = fixture.pool(Role::Migrator).await;
    let stuck = rewrap(&owner, &alone).await;
    assert!(matches!(stuck, Err(PrivacyError::MasterKeyMissing { .. })), "the old key is needed for it: {stuck:?}");
    assert_eq!(rewrap(&owner, &both()).await.expect("they are rewrapped"), 29);
    assert_eq!(rewrap(&owner, &both()).await.expect("nothing is left to do"), 0);

    let expected: Vec<_> = (0..31).map(|number| if number == 7 { None } else { open("Ada") }).collect();
    let after = keyring(alone).await;
    assert_eq!(after.open_all(&all).await.expect("all are opened"), expected);
    assert_eq!(after.seal(&subject("S1"), "Ada").await.expect("it is sealed"), all[1], "its key is the same");
    let before = fixture.keyring().await.open(&all[0]).await;
    assert!(matches!(before, Err(PrivacyError::MasterKeyMissing { .. })), "{before:?}");
}

//! `kontor recommend train` and `models`, as an operator calls them.

use kontor_event_store::MIGRATIONS;
use kontor_local::{Need, Role, Servers};
use kontor_projection_services::migrate;
use kontor_projection_services::projections::recommendations::Recommendations;
use kontor_projection_services::runtime::store::StoreOptions;
use kontor_projection_services::runtime::{Kept, switch};
use serde_json::Value;
use sqlx::{Connection, PgConnection, PgPool};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

struct Shop {
    servers: Servers,
}

impl Shop {
    /// A log with three products, and a read model that no projector keeps.
    async fn open() -> Self {
        let servers = Servers::start(&[Need::Postgres]).await.expect("Postgres starts");
        let owner = servers.postgres().url(Role::Migrator);
        let mut connection = PgConnection::connect(&owner).await.expect("it takes connections");
        MIGRATIONS.run(&mut connection).await.expect("the log has its tables");
        migrate(owner.parse().expect("a URL")).await.expect("the read models have theirs");
        kontor_privacy::migrate(owner.parse().expect("a URL")).await.expect("the keys have theirs");
        let url = servers.postgres().url(Role::Projector);
        let control = PgPool::connect(&url).await.expect("it takes connections");
        let stores = StoreOptions { postgres: url.parse().expect("a URL"), redis: None, search: None, writers_max: 1 };
        switch::ensure(&control, &Kept::new(Arc::new(Recommendations), &stores)).await.expect("it is made");
        let products = r#"insert into events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload,
                metadata, position, recorded_at)
            select 'product', 'MUG-' || n, 1, 'Registered', '1.0',
                json_build_object('Registered', json_build_object('name', 'Mug no. ' || n, 'description', null)),
                json_build_object('event_id', gen_random_uuid(), 'correlation_id', gen_random_uuid(),
                    'causation_id', gen_random_uuid(), 'actor', 'test'), n, now()
            from generate_series(1, 3) n;
            insert into log_batches (position, recorded_at) values (3, now())"#;
        servers.postgres().sql(products).await.expect("they are appended");
        Shop { servers }
    }

    fn kontor(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kontor"));
        for variable in ["KONTOR_DATABASE_URL", "KONTOR_VECTORS_URL"] {
            command.env_remove(variable);
        }
        command.stdin(Stdio::null()).args(arguments).arg("--data").arg(self.servers.folder()).output().expect("it runs")
    }

    /// What it prints, when it ends well.
    fn said(&self, arguments: &[&str]) -> String {
        let output = self.kontor(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }
}

/// Step 1: there is nothing to learn from, which is told. Step 2: there is, and it is learnt. Step 3: it is listed, the newest first.
#[tokio::test]
async fn a_model_is_learnt_and_listed() {
    let shop = Shop::open().await;
    // 1
    let refused = shop.kontor(&["recommend", "train"]);
    assert_eq!(refused.status.code(), Some(1));
    let complaint = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(complaint.contains("there is nothing to learn from"), "{complaint}");
    // 2
    shop.said(&["projections", "rebuild", "recommendations"]);
    let told = shop.said(&["recommend", "train"]);
    assert!(told.starts_with("Model ") && told.contains(" from 0 documents of 3 products in "), "{told}");
    let model: Value = serde_json::from_str(&shop.said(&["recommend", "train", "--json"])).expect("JSON");
    assert_eq!((&model["position"], &model["products"]), (&3.into(), &3.into()));
    // 3
    let listed: Value = serde_json::from_str(&shop.said(&["recommend", "models", "--json"])).expect("JSON");
    assert_eq!(listed.as_array().map(Vec::len), Some(2));
    assert_eq!(listed[0], model);
    let table = shop.said(&["recommend", "models"]);
    assert!(table.trim_start().starts_with("VERSION"), "{table}");
    assert_eq!(table.lines().count(), 3, "{table}");
}

#[tokio::test]
async fn an_address_of_another_kind_is_refused_and_not_repeated() {
    let shop = Shop::open().await;
    let refused = shop.kontor(&["recommend", "train", "--vectors-url", "not a url with hunter2"]);
    let complaint = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(complaint.trim_end(), "kontor: --vectors-url is no URL of Qdrant");
}

//! What every store of vectors does: the same stories with rows in Postgres, and with a real Qdrant where KONTOR_VECTORS_URL
//! names one.

use kontor_local::{Need, Role, Servers};
use kontor_vectors::{Exact, Near, Point, Qdrant, To, Vectors, VectorsError, migrate};
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;
use std::collections::BTreeSet;
use std::time::Duration;

/// Rows in a Postgres of its own.
struct Rows {
    servers: Servers,
}

impl Rows {
    async fn start() -> Self {
        let servers = Servers::start(&[Need::Postgres]).await.expect("Postgres starts");
        let rows = Self { servers };
        migrate(rows.options(Role::Migrator)).await.expect("the migrations run");
        rows
    }

    fn options(&self, role: Role) -> PgConnectOptions {
        self.servers.postgres().url(role).parse().expect("a URL of Postgres")
    }

    /// As one more process has them.
    fn store(&self, role: Role) -> Exact {
        Exact::new(PgPool::connect_lazy_with(self.options(role)))
    }
}

/// `None`: no Qdrant is named. Collections are this story's own, which may run beside others.
fn qdrant() -> Option<Qdrant> {
    let url = std::env::var("KONTOR_VECTORS_URL").ok().filter(|url| !url.is_empty())?;
    Some(Qdrant::new(&url.parse().expect("a URL"), None, Duration::from_secs(10)).expect("a URL of Qdrant"))
}

/// Tells each story to every store: `writer` fills, `reader` is asked, as another process.
macro_rules! stories {
    ($($story:ident,)*) => {
        mod exact {
            $(#[tokio::test]
            async fn $story() {
                let rows = crate::Rows::start().await;
                crate::$story(&rows.store(crate::Role::Projector), &rows.store(crate::Role::Query)).await;
            })*
        }

        mod qdrant {
            $(#[tokio::test]
            async fn $story() {
                if let (Some(writer), Some(reader)) = (crate::qdrant(), crate::qdrant()) {
                    crate::$story(&writer, &reader).await;
                }
            })*
        }
    };
}

stories! {
    the_nearest_come_first,
    only_what_has_all_tags_is_found,
    a_point_is_not_near_to_itself,
    a_point_that_is_put_again_has_moved,
    many_points_are_counted,
    an_alias_shows_one_collection_after_the_other,
    a_collection_that_is_removed_is_gone,
    what_is_not_there_is_named,
}

async fn the_nearest_come_first(writer: &dyn Vectors, reader: &dyn Vectors) {
    let here = "kontor_test_nearest";
    fill(writer, here, &[("A", [1.0, 0.0], &[]), ("B", [0.8, 0.6], &[]), ("C", [0.0, 1.0], &[])]).await;
    assert_eq!(skus(&nearest(reader, here, To::Vector(&[1.0, 0.1]), &[], 10).await), ["A", "B", "C"]);
    assert_eq!(skus(&nearest(reader, here, To::Vector(&[0.1, 1.0]), &[], 2).await), ["C", "B"]);
    let found = nearest(reader, here, To::Vector(&[0.0, 2.0]), &[], 1).await;
    assert!((found[0].score - 2.0).abs() < 1e-5, "the score is the dot product: {found:?}");
    assert_eq!(nearest(reader, here, To::Vector(&[1.0, 0.0]), &[], 0).await, []);
    writer.remove(here).await.expect("it is removed");
}

async fn only_what_has_all_tags_is_found(writer: &dyn Vectors, reader: &dyn Vectors) {
    let here = "kontor_test_tags";
    let points: [(&str, [f32; 2], &[&str]); 3] = [
        ("A", [1.0, 0.0], &["public"]),
        ("B", [0.9, 0.0], &["public", "available", "currency:GBP"]),
        ("C", [0.8, 0.0], &["available"]),
    ];
    fill(writer, here, &points).await;
    let to = To::Vector(&[1.0, 0.0]);
    assert_eq!(skus(&nearest(reader, here, to, &["public"], 10).await), ["A", "B"]);
    assert_eq!(skus(&nearest(reader, here, to, &["available"], 1).await), ["B"]);
    assert_eq!(skus(&nearest(reader, here, to, &["public", "available", "currency:GBP"], 10).await), ["B"]);
    assert_eq!(nearest(reader, here, to, &["public", "currency:EUR"], 10).await, []);
    writer.remove(here).await.expect("it is removed");
}

async fn a_point_is_not_near_to_itself(writer: &dyn Vectors, reader: &dyn Vectors) {
    let here = "kontor_test_itself";
    fill(writer, here, &[("A 1", [1.0, 0.0], &[]), ("B", [0.8, 0.6], &[]), ("C", [0.0, 1.0], &[])]).await;
    assert_eq!(skus(&nearest(reader, here, To::Sku("A 1"), &[], 10).await), ["B", "C"]);
    assert_eq!(skus(&nearest(reader, here, To::Sku("C"), &[], 1).await), ["B"]);
    writer.remove(here).await.expect("it is removed");
}

async fn a_point_that_is_put_again_has_moved(writer: &dyn Vectors, reader: &dyn Vectors) {
    let here = "kontor_test_again";
    fill(writer, here, &[("A", [1.0, 0.0], &["public"]), ("B", [0.8, 0.6], &["public"])]).await;
    put(writer, here, &[("A", [0.0, 1.0], &[])]).await;
    assert_eq!(writer.count(here).await.expect("it is counted"), 2);
    assert_eq!(skus(&nearest(reader, here, To::Vector(&[1.0, 0.0]), &[], 10).await), ["B", "A"]);
    assert_eq!(skus(&nearest(reader, here, To::Vector(&[1.0, 0.0]), &["public"], 10).await), ["B"]);
    writer.remove(here).await.expect("it is removed");
}

async fn many_points_are_counted(writer: &dyn Vectors, reader: &dyn Vectors) {
    let here = "kontor_test_many";
    writer.create(here, 2).await.expect("it is made");
    assert_eq!(reader.count(here).await.expect("it is counted"), 0);
    let point = |n: u32| {
        let angle = n as f32 / 2_500.0;
        let tags = if n.is_multiple_of(2) { vec!["public".to_owned()] } else { vec![] };
        Point { sku: format!("S{n:04}"), vector: vec![angle.cos(), angle.sin()], tags }
    };
    let points: Vec<_> = (0..2_500).map(point).collect();
    writer.upsert(here, &points).await.expect("they are put");
    assert_eq!(reader.count(here).await.expect("it is counted"), 2_500);
    let found = nearest(reader, here, To::Sku("S1000"), &["public"], 4).await;
    // Those at the same distance on both sides are in any order.
    let found: BTreeSet<_> = found.iter().map(|near| near.sku.as_str()).collect();
    assert_eq!(found, BTreeSet::from(["S0996", "S0998", "S1002", "S1004"]));
    writer.remove(here).await.expect("it is removed");
}

async fn an_alias_shows_one_collection_after_the_other(writer: &dyn Vectors, reader: &dyn Vectors) {
    let (alias, first, second) = ("kontor_test_alias", "kontor_test_alias_1", "kontor_test_alias_2");
    fill(writer, first, &[("A", [1.0, 0.0], &[])]).await;
    fill(writer, second, &[("B", [1.0, 0.0], &[])]).await;
    assert_eq!(reader.shown(alias).await.expect("an answer"), None);
    for (collection, sku) in [(first, "A"), (second, "B"), (second, "B"), (first, "A")] {
        writer.show(alias, collection).await.expect("it is shown");
        assert_eq!(reader.shown(alias).await.expect("an answer").as_deref(), Some(collection));
        assert_eq!(skus(&nearest(reader, alias, To::Vector(&[1.0, 0.0]), &[], 10).await), [sku]);
    }
    writer.remove(first).await.expect("it is removed");
    assert_eq!(reader.shown(alias).await.expect("an answer"), None);
    writer.remove(second).await.expect("it is removed");
}

async fn a_collection_that_is_removed_is_gone(writer: &dyn Vectors, reader: &dyn Vectors) {
    let here = "kontor_test_gone";
    let is_listed = async || reader.collections().await.expect("an answer").iter().any(|name| name == here);
    fill(writer, here, &[("A", [1.0, 0.0], &[])]).await;
    assert!(is_listed().await);
    // One that is made anew is empty, and may have other dimensions.
    writer.create(here, 3).await.expect("it is made");
    assert_eq!(reader.count(here).await.expect("it is counted"), 0);
    writer.remove(here).await.expect("it is removed");
    assert!(!is_listed().await);
    writer.remove(here).await.expect("there is nothing to remove");
}

async fn what_is_not_there_is_named(writer: &dyn Vectors, reader: &dyn Vectors) {
    let (nowhere, here) = ("kontor_test_nowhere", "kontor_test_named");
    let of = |name: &str| VectorsError::UnknownCollection(name.to_owned()).to_string();
    let point = [Point { sku: "A".to_owned(), vector: vec![1.0, 0.0], tags: vec![] }];
    assert_eq!(writer.upsert(nowhere, &point).await.expect_err("no collection").to_string(), of(nowhere));
    assert_eq!(writer.show("kontor_test_none", nowhere).await.expect_err("no collection").to_string(), of(nowhere));
    assert_eq!(reader.count(nowhere).await.expect_err("no collection").to_string(), of(nowhere));
    for to in [To::Sku("A"), To::Vector(&[1.0, 0.0])] {
        let error = reader.nearest(nowhere, to, &[], 1).await.expect_err("no collection");
        assert_eq!(error.to_string(), of(nowhere));
    }
    fill(writer, here, &[("A", [1.0, 0.0], &[])]).await;
    let error = reader.nearest(here, To::Sku("B"), &[], 1).await.expect_err("no point");
    assert_eq!(error.to_string(), "kontor_test_named has no point B");
    reader.nearest(here, To::Vector(&[1.0]), &[], 1).await.expect_err("too few dimensions");
    writer.remove(here).await.expect("it is removed");
}

type Given<'a> = (&'a str, [f32; 2], &'a [&'a str]);

async fn fill(store: &dyn Vectors, collection: &str, points: &[Given<'_>]) {
    store.create(collection, 2).await.expect("it is made");
    put(store, collection, points).await;
}

async fn put(store: &dyn Vectors, collection: &str, points: &[Given<'_>]) {
    let point = |(sku, vector, tags): &Given<'_>| Point {
        sku: (*sku).to_owned(),
        vector: vector.to_vec(),
        tags: tags.iter().map(ToString::to_string).collect(),
    };
    let points: Vec<_> = points.iter().map(point).collect();
    store.upsert(collection, &points).await.expect("they are put");
}

async fn nearest(store: &dyn Vectors, collection: &str, to: To<'_>, tags: &[&str], most: usize) -> Vec<Near> {
    store.nearest(collection, to, tags, most).await.expect("an answer")
}

fn skus(found: &[Near]) -> Vec<&str> {
    found.iter().map(|near| near.sku.as_str()).collect()
}

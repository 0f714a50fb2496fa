//! The demo shop.

use crate::{said, start};

#[tokio::test]
async fn the_demo_shop_is_there_once_however_often_it_is_filled() {
    let running = start().await;
    let (commands, queries) = running.apis();
    let first = kontor_load_tests::demo::run(&commands, &queries).await.expect("it is filled");
    assert_eq!(first.replayed, 0);
    let second = kontor_load_tests::demo::run(&commands, &queries).await.expect("it is there");
    assert_eq!(second.position, first.position);
    assert_eq!(second.replayed as usize, 3 * first.products + first.orders + first.cancelled);

    let output = running.load(&["demo"]).output().await.expect("it starts");
    let (told, complained) = said(&output);
    assert!(output.status.success(), "{complained}");
    assert!(told.starts_with("The demo shop has 200 products and 300 orders"), "{told}");
}

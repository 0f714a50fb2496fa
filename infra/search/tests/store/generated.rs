//! Many products, each looked for by its own name as somebody in a hurry types it.

use crate::support::{Store, product};
use kontor_search::Query;

const COLOURS: [&str; 6] = ["RED", "BLUE", "IVORY", "PURPLE", "GREEN", "SILVER"];
const STYLES: [&str; 10] = [
    "VINTAGE",
    "POLKADOT",
    "EDWARDIAN",
    "T-LIGHT",
    "SCANDINAVIAN",
    "GINGHAM",
    "WOODLAND",
    "PAISLEY",
    "REGENCY",
    "BABUSHKA",
];
const THINGS: [&str; 10] = [
    "LUNCH BOX",
    "UMBRELLA",
    "CAKESTAND",
    "NOTEBOOK",
    "DOORSTOP",
    "LANTERN",
    "CUSHION",
    "NAPKINS",
    "WATERING CAN",
    "NECKLACE",
];

/// Every colour, style and thing.
fn titles() -> Vec<String> {
    let of = |colour: &'static str| {
        STYLES.iter().flat_map(move |style| THINGS.iter().map(move |thing| format!("{colour} {style} {thing}")))
    };
    COLOURS.into_iter().flat_map(of).collect()
}

/// Of the longest word, two letters swapped in its middle.
fn misspelt(title: &str) -> String {
    let longest = title.split([' ', '-']).max_by_key(|word| word.len()).expect("a title has a word");
    let mut letters: Vec<char> = longest.chars().collect();
    let at = letters.len() / 2;
    letters.swap(at - 1, at);
    title.replace(longest, &letters.into_iter().collect::<String>())
}

fn turned(title: &str) -> String {
    title.split(' ').rev().collect::<Vec<_>>().join(" ")
}

fn unfinished(title: &str) -> String {
    title[..title.len() - 2].to_lowercase()
}

fn written_as_one(title: &str) -> String {
    title.replace('-', "").replace("LUNCH BOX", "LUNCHBOX").replace("CAKESTAND", "CAKE STAND").to_lowercase()
}

/// How people type the name of a product.
type Way = (&'static str, fn(&str) -> String);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_product_is_the_first_that_its_name_finds_however_it_is_typed() {
    let store = Store::in_a_folder();
    let titles = titles();
    store.fill(titles.iter().enumerate().map(|(n, title)| product(&format!("P{n}"), title)).collect()).await;
    let ways: [Way; 5] = [
        ("as it is", str::to_lowercase),
        ("misspelt", misspelt),
        ("in another order", turned),
        ("unfinished", unfinished),
        ("as one word or two", written_as_one),
    ];
    for (way, typed) in ways {
        for (n, title) in titles.iter().enumerate() {
            let text = typed(title);
            let found = store.found(&Query { limit: 1, ..Query::of(&text) }).await;
            assert_eq!(found, [format!("P{n}")], "{title} {way}: {text}");
        }
    }
}

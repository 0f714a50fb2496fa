//! What a text finds.

use crate::support::{Store, product, sorted};
use kontor_search::{Document, Query, Synonym};

fn shop() -> Vec<Document> {
    [
        ("85123A", "WHITE HANGING HEART T-LIGHT HOLDER"),
        ("22423", "REGENCY CAKESTAND 3 TIER"),
        ("22382", "LUNCH BAG SPACEBOY DESIGN"),
        ("22629", "SPACEBOY LUNCH BOX"),
        ("21080", "SET/20 RED RETROSPOT PAPER NAPKINS"),
        ("22577", "WOODEN HEART CHRISTMAS SCANDINAVIAN"),
        ("20679", "EDWARDIAN PARASOL RED"),
        ("21706", "FOLDING UMBRELLA RED/WHITE POLKADOT"),
        ("22138", "BAKING SET 9 PIECE RETROSPOT"),
    ]
    .map(|(code, title)| product(code, title))
    .into()
}

pub async fn a_word_finds_what_has_it_in_any_order(store: Store) {
    store.fill(shop()).await;
    assert_eq!(sorted(store.found_by("heart").await), ["22577", "85123A"]);
    assert_eq!(store.found_by("scandinavian heart").await, ["22577"]);
    assert_eq!(store.found_by("box lunch spaceboy").await, ["22629"]);
    assert_eq!(store.found_by("").await.len(), shop().len());
    store.clear().await;
}

pub async fn the_last_word_may_be_unfinished(store: Store) {
    store.fill(shop()).await;
    assert_eq!(sorted(store.found_by("spac").await), ["22382", "22629"]);
    assert_eq!(store.found_by("edwardian par").await, ["20679"]);
    assert_eq!(store.found_by("regency c").await, ["22423"]);
    store.clear().await;
}

pub async fn a_misspelt_word_is_found(store: Store) {
    store.fill(shop()).await;
    for text in ["umbrela", "umberlla", "foldign umbrella", "unbrella"] {
        assert_eq!(store.found_by(text).await, ["21706"], "{text}");
    }
    assert_eq!(store.found_by("scandinvain").await, ["22577"], "two edits");
    store.clear().await;
}

pub async fn hyphens_and_numbers_are_found_as_people_type_them(store: Store) {
    store.fill(shop()).await;
    for text in ["t-light holder", "t light holder", "tlight holder"] {
        assert_eq!(store.found_by(text).await, ["85123A"], "{text}");
    }
    assert_eq!(store.found_by("red white umbrella").await, ["21706"]);
    assert_eq!(store.found_by("20 napkins").await, ["21080"]);
    assert_eq!(store.found_by("3 tier cake stand").await, ["22423"]);
    store.clear().await;
}

pub async fn nonsense_finds_nothing(store: Store) {
    store.fill(shop()).await;
    for text in ["qzxv", "asdfghjkl", "blorptang wibble", "9999999", "!!!", "diesel generator"] {
        assert!(store.found_by(text).await.is_empty(), "{text}");
    }
    store.clear().await;
}

pub async fn a_sku_is_found(store: Store) {
    let variant = Document { skus: vec!["MUG-77".into(), "MUG-78".into()], ..product("MUG7", "A cup") };
    store.fill([shop(), vec![variant]].concat()).await;
    assert_eq!(store.found_by("85123A").await, ["85123A"]);
    assert_eq!(store.found_by("85123a").await, ["85123A"]);
    assert_eq!(store.found_by("22629").await, ["22629"]);
    assert_eq!(store.found_by("MUG-78").await, ["MUG7"]);
    store.clear().await;
}

pub async fn synonyms_are_found_and_can_be_replaced(store: Store) {
    let before = store.synonyms().await.expect("those in force");
    store.fill(shop()).await;
    let synonyms = [
        Synonym::Equal(vec!["parasol".into(), "sunshade".into()]),
        Synonym::OneWay { word: "serviette".into(), finds: vec!["napkins".into()] },
    ];
    store.set_synonyms(&synonyms).await.expect("they are taken");
    assert_eq!(store.synonyms().await.expect("those in force"), synonyms);
    assert_eq!(store.found_by("sunshade").await, ["20679"]);
    assert_eq!(store.found_by("serviette").await, ["21080"]);
    store.set_synonyms(&synonyms[..1]).await.expect("they are taken");
    assert!(store.found_by("serviette ").await.is_empty());
    let refused = store.set_synonyms(&[Synonym::Equal(vec!["alone".into()])]).await;
    assert!(refused.is_err());
    store.set_synonyms(&before).await.expect("they are taken");
    store.clear().await;
}

pub async fn of_what_matches_alike_the_best_selling_comes_first(store: Store) {
    let sold = |code: &str, sold| Document { sold, ..product(code, "Striped mug") };
    let other = Document { sold: 9_000.0, ..product("OTHER", "Plate, goes with the striped mug and much else") };
    store.fill(vec![sold("FEW", 1.0), sold("MANY", 500.0), sold("SOME", 20.0), other]).await;
    assert_eq!(store.found_by("striped mug").await[..3], ["MANY", "SOME", "FEW"]);
    store.clear().await;
}

pub async fn what_matched_is_marked_in_safe_html(store: Store) {
    let text = "Made of <china> & steel: the teapot of the house.";
    let teapot = Document { description: Some(text.to_owned()), ..product("T", "<b>Tea</b> \"teapot\" & cup") };
    store.fill(vec![teapot]).await;
    let answer = store.search(&store.name, &Query::of("teapot")).await.expect("an answer");
    assert_eq!(answer.hits[0].title, "&lt;b&gt;Tea&lt;/b&gt; &quot;<mark>teapot</mark>&quot; &amp; cup");
    let excerpt = answer.hits[0].excerpt.as_deref().expect("it matches the description, too");
    assert!(excerpt.contains("the <mark>teapot</mark> of") && !excerpt.contains("<china>"), "{excerpt}");
    let marked = store.search(&store.name, &Query::of("teap")).await.expect("an answer").hits[0].title.clone();
    assert!(marked.contains("<mark>teap"), "{marked}");
    store.clear().await;
}

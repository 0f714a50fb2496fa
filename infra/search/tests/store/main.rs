//! What every search store must do, each against an index in a folder, and against a Typesense where one is named:
//!
//!     KONTOR_SEARCH_URL=http://127.0.0.1:8108 KONTOR_SEARCH__API_KEY=... cargo nextest run -p kontor-search
//!
//! What is said to it and by it is held against Typesense's own description of its API, if `KONTOR_TEST_TYPESENSE_SPEC` names it
//! (`openapi.yml` of its repository typesense-api-spec).

mod between;
mod finding;
mod folder;
mod generated;
mod narrowing;
mod spec;
mod stand_in;
mod support;
mod writing;

/// One test for each store of each of these functions.
macro_rules! contract {
    ($module:ident: $($name:ident),+ $(,)?) => {
        mod $module {
            $(
                mod $name {
                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn in_a_folder() {
                        crate::$module::$name(crate::support::Store::in_a_folder()).await;
                    }

                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn in_typesense() {
                        if let Some(store) = crate::support::Store::in_typesense() {
                            crate::$module::$name(store).await;
                        }
                    }
                }
            )+
        }
    };
}

mod contract {
    contract!(writing:
        what_is_written_is_read_back,
        a_document_replaces_the_one_of_the_same_product_and_one_that_is_removed_is_gone,
        a_writer_with_a_lower_fence_is_refused,
        an_alias_shows_one_collection_at_a_time,
        a_collection_that_is_removed_is_gone,
        names_are_checked_and_what_is_unknown_is_told,
    );
    contract!(finding:
        a_word_finds_what_has_it_in_any_order,
        the_last_word_may_be_unfinished,
        a_misspelt_word_is_found,
        hyphens_and_numbers_are_found_as_people_type_them,
        nonsense_finds_nothing,
        a_sku_is_found,
        synonyms_are_found_and_can_be_replaced,
        of_what_matches_alike_the_best_selling_comes_first,
        what_matched_is_marked_in_safe_html,
    );
    contract!(narrowing:
        filters_hold_together,
        facets_count_what_all_filters_but_their_own_let_through,
        prices_are_counted_by_bands,
        hits_are_sorted_as_asked_and_paged,
        what_is_not_public_is_found_by_who_asks_for_it,
        a_query_that_breaks_a_rule_is_refused,
    );
}

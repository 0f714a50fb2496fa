//! Every projection there is: one line each.

pub mod analytics;
pub mod catalogue;
pub mod customers;
pub mod orders;
pub mod product_cards;
pub mod product_search;
pub mod recommendations;
pub mod stock;

use crate::runtime::Projection;
use std::sync::Arc;

/// All projections, in the order in which they are listed.
pub fn all() -> Vec<Arc<dyn Projection>> {
    vec![
        Arc::new(catalogue::Catalogue),
        Arc::new(orders::Orders),
        Arc::new(product_cards::ProductCards),
        Arc::new(product_search::ProductSearch),
        Arc::new(stock::StockLevels),
        Arc::new(customers::Customers),
        Arc::new(analytics::Analytics),
        Arc::new(recommendations::Recommendations),
    ]
}

/// Their names.
pub fn names() -> Vec<&'static str> {
    all().iter().map(|projection| projection.name()).collect()
}

/// No projection has this name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no projection \"{0}\", only {known}", known = names().join(", "))]
pub struct UnknownProjection(pub String);

/// Those named; all if none is.
pub fn chosen(wanted: &[String]) -> Result<Vec<Arc<dyn Projection>>, UnknownProjection> {
    if let Some(unknown) = wanted.iter().find(|name| !names().contains(&name.as_str())) {
        return Err(UnknownProjection(unknown.clone()));
    }
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    Ok(all().into_iter().filter(|projection| is_wanted(projection.name())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_of(wanted: &[&str]) -> Result<Vec<&'static str>, UnknownProjection> {
        let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
        chosen(&wanted).map(|projections| projections.iter().map(|projection| projection.name()).collect())
    }

    #[test]
    fn projections_are_chosen_by_name() {
        let all = [
            "catalogue",
            "orders",
            "product-cards",
            "product-search",
            "stock",
            "customers",
            "analytics",
            "recommendations",
        ];
        assert_eq!(names_of(&[]), Ok(all.to_vec()));
        assert_eq!(names_of(&["orders"]), Ok(vec!["orders"]));
        assert_eq!(names_of(&["orders", "oders"]), Err(UnknownProjection("oders".to_owned())));
    }
}

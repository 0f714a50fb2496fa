//! What can be asked.

use super::catalogue::{
    Availability, CategoryNode, ProductFilter, ProductNode, ProductPage, ProductSort, SearchPage, SearchSort,
};
use super::loaders::Loaders;
use super::orders::{OrderNode, OrderPage, SummaryNode};
use super::{Reached, error};
use crate::orders::ID_RULE;
use crate::paging::Asked;
use crate::parameters::from_path;
use crate::problem::Problem;
use crate::product_search::{self, Searcher};
use crate::products::filters::Filters;
use crate::products::listing::{Sort, Wanted};
use crate::view::{AS_OF, View};
use crate::{categories, orders, products};
use actix_web::web::Data;
use async_graphql::{Context, Object, Result};
use futures::future::join_all;
use kontor_identity::{Caller, Permission};
use std::sync::Arc;

/// Of one question.
const SKUS_MAX: usize = 100;

pub struct Query;

/// Who asks, and what they see.
fn asking<'a>(context: &Context<'a>) -> Result<(&'a View, &'a Caller, &'a Reached)> {
    Ok((context.data()?, context.data()?, context.data::<Arc<Reached>>()?))
}

/// `first`, checked as a limit; what is not positive is refused there.
fn limit(first: i32) -> Option<usize> {
    Some(usize::try_from(first).unwrap_or(0))
}

#[Object]
impl Query {
    /// A page of the products that are wanted; `first` is 1 to 100.
    #[graphql(complexity = "usize::try_from(first).unwrap_or(0).min(100) * child_complexity + 1")]
    async fn products(
        &self,
        context: &Context<'_>,
        #[graphql(default)] filter: ProductFilter,
        #[graphql(default)] sort: ProductSort,
        #[graphql(default = 20)] first: i32,
        after: Option<String>,
    ) -> Result<ProductPage> {
        let (view, caller, reached) = asking(context)?;
        let ProductFilter { category, currency, price_min, price_max, available, attributes } = filter;
        let sort = match sort {
            ProductSort::Sku => Sort::Sku,
            ProductSort::Name => Sort::Name,
            ProductSort::Price => Sort::Price,
            ProductSort::PriceDescending => Sort::PriceDescending,
            ProductSort::Newest => Sort::Newest,
        };
        let filters = Filters { category, currency, price_min, price_max, available, attributes };
        let wanted = Wanted { filters, status: None, sort };
        let asked = Asked::given(limit(first), after.as_deref()).map_err(error)?;
        let (page, _) = products::listing::page(view, caller, &wanted, asked).await.map_err(error)?;
        reached.at(page.position);
        let items = page.items.into_iter().map(|product| ProductNode(Arc::new(product))).collect();
        Ok(ProductPage { items, next_cursor: page.next_cursor })
    }

    /// A page of the products that match what somebody typed, those that match best first; `first` is 1 to 100.
    #[graphql(complexity = "usize::try_from(first).unwrap_or(0).min(100) * child_complexity + 1")]
    async fn search(
        &self,
        context: &Context<'_>,
        text: String,
        #[graphql(default)] filter: ProductFilter,
        #[graphql(default)] sort: SearchSort,
        #[graphql(default = 20)] first: i32,
        after: Option<String>,
    ) -> Result<SearchPage> {
        let (view, caller, reached) = asking(context)?;
        let (searcher, loaders) = (context.data::<Data<Searcher>>()?, context.data::<Loaders>()?);
        if view.is_as_of() {
            return Err(error(Problem::parameter(AS_OF, "is not for searches: the index is as the shop is now")));
        }
        let ProductFilter { category, currency, price_min, price_max, available, attributes } = filter;
        let filters = Filters { category, currency, price_min, price_max, available, attributes };
        let asked = Asked::given(limit(first), after.as_deref()).map_err(error)?;
        let query = product_search::query(text, filters, sort.into(), caller, &asked).map_err(error)?;
        let (answer, degraded) =
            product_search::find(searcher, &view.replica, &view.positions, &query, view.min).await.map_err(error)?;
        reached.at(answer.position);
        let products = join_all(answer.hits.iter().map(|hit| loaders.product(&hit.product))).await;
        // One that is gone in between is passed over.
        let items = products.into_iter().filter_map(Result::transpose).collect::<Result<Vec<_>>>()?;
        let next_cursor = product_search::next_cursor(&query, &answer);
        Ok(SearchPage { items, total: answer.total, degraded, next_cursor })
    }

    /// The product with this SKU, or with this slug; null: there is none.
    async fn product(
        &self,
        context: &Context<'_>,
        sku: Option<String>,
        slug: Option<String>,
    ) -> Result<Option<ProductNode>> {
        let (view, caller, reached) = asking(context)?;
        let (column, value) = match (&sku, &slug) {
            (Some(sku), None) => ("sku", sku),
            (None, Some(slug)) => ("slug", slug),
            _ => return Err(error(Problem::parameter("sku", "or slug must be given, and not both"))),
        };
        let (position, found) = products::find(column, value, caller, view).await.map_err(error)?;
        reached.at(position);
        Ok(found.map(|(detail, _)| ProductNode(Arc::new(detail.product))))
    }

    /// Those at the top, by name.
    async fn categories(&self, context: &Context<'_>) -> Result<Vec<CategoryNode>> {
        let (view, _, reached) = asking(context)?;
        let (position, tree) = categories::find(view).await.map_err(error)?;
        reached.at(position);
        Ok(tree.into_iter().map(CategoryNode).collect())
    }

    /// How much there is of up to 100 SKUs, in the order in which they are asked for. 0: also of what is not there.
    #[graphql(complexity = "skus.len() * child_complexity + 1")]
    async fn availability(&self, context: &Context<'_>, skus: Vec<String>) -> Result<Vec<Availability>> {
        let (view, _, reached) = asking(context)?;
        if skus.len() > SKUS_MAX {
            return Err(error(Problem::parameter("skus", format_args!("may be {SKUS_MAX}"))));
        }
        let (position, mut found) = products::available(&skus, view).await.map_err(error)?;
        reached.at(position);
        let of = |sku: String| {
            let available = found.remove(&sku).unwrap_or_default();
            Availability { sku, available }
        };
        Ok(skus.into_iter().map(of).collect())
    }

    /// The orders of the customer who asks, newest first; `first` is 1 to 100.
    #[graphql(complexity = "usize::try_from(first).unwrap_or(0).min(100) * child_complexity + 1")]
    async fn my_orders(
        &self,
        context: &Context<'_>,
        #[graphql(default = 20)] first: i32,
        after: Option<String>,
    ) -> Result<OrderPage> {
        let (view, caller, reached) = asking(context)?;
        caller.may(Permission::ReadOrders).map_err(|denied| error(denied.into()))?;
        let Some(customer) = caller.customer() else {
            return Err(error(Problem::parameter("myOrders", "is for customers")));
        };
        let asked = Asked::given(limit(first), after.as_deref()).map_err(error)?;
        let page = orders::page(customer.as_str(), view, asked).await.map_err(error)?;
        reached.at(page.position);
        let items = page.items.into_iter().map(SummaryNode).collect();
        Ok(OrderPage { items, next_cursor: page.next_cursor })
    }

    /// An order, for its customer and those who look after the shop.
    async fn order(&self, context: &Context<'_>, order_id: String) -> Result<OrderNode> {
        let (view, caller, reached) = asking(context)?;
        caller.may(Permission::ReadOrders).map_err(|denied| error(denied.into()))?;
        let id = from_path("order_id", &order_id, ID_RULE).map_err(error)?;
        let (position, found) = orders::find(id, caller, view).await.map_err(error)?;
        reached.at(position);
        Ok(OrderNode(found.order))
    }
}

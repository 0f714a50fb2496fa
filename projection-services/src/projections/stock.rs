//! `stock`: what is there of each SKU, in all and at each location. One Postgres row a SKU.

use crate::runtime::store::{Store, StoreOptions};
use crate::runtime::{ApplyError, Event, PostgresProjection, PostgresStore, Projection};
use cqrs_es::Aggregate;
use futures::FutureExt;
use futures::future::BoxFuture;
use kontor_domain::stock::{Change, Stock, StockEvent};
use kontor_domain::{LocationId, Quantity, Sku};
use kontor_event_schemas::Fact;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection};
use std::collections::BTreeMap;
use std::sync::Arc;

pub struct StockLevels;

/// The stock of one SKU.
#[derive(Debug, Clone, Default, PartialEq)]
struct Levels {
    on_hand: Quantity,
    available: Quantity,
    back_ordered: Quantity,
    back_orders_max: Quantity,
    /// Every one that ever had any.
    locations: BTreeMap<LocationId, Place>,
    /// Of the last event folded in.
    position: i64,
}

/// The units at one location.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Place {
    on_hand: Quantity,
    available: Quantity,
}

/// Which units of a location change.
#[derive(Debug, Clone, Copy)]
enum Units {
    /// In the building and available.
    Free,
    /// In the building and held for an order.
    Held,
    /// Available units that become held, or held ones that become available.
    Available,
}

impl Levels {
    /// Folds an event in, unless it is in already.
    fn fold(&mut self, sku: &Sku, event: &StockEvent, position: i64) -> Result<(), ApplyError> {
        if position <= self.position {
            return Ok(());
        }
        self.fold_locations(event)
            .ok_or_else(|| ApplyError::Contradiction(format!("{sku} has fewer units than event {position} takes")))?;
        self.position = position;
        self.on_hand = event.on_hand_after().unwrap_or(self.on_hand);
        self.available = event.available_after();
        self.back_ordered = event.back_ordered_after().unwrap_or(self.back_ordered);
        if let StockEvent::BackOrdersLimited { up_to, .. } = event {
            self.back_orders_max = *up_to;
        }
        Ok(())
    }

    /// `None`: what goes was not there.
    fn fold_locations(&mut self, event: &StockEvent) -> Option<()> {
        match event {
            StockEvent::Received { quantity, location, .. }
            | StockEvent::Returned { quantity, location, .. }
            | StockEvent::Adjusted { change: Change::Up(quantity), location, .. } => {
                self.add(Units::Free, location, *quantity)
            }
            StockEvent::Adjusted { change: Change::Down(quantity), location, .. } => {
                self.take(Units::Free, location, *quantity)
            }
            StockEvent::Transferred { quantity, from, to, .. } => {
                self.take(Units::Free, from, *quantity)?;
                self.add(Units::Free, to, *quantity)
            }
            StockEvent::Reserved { quantity, shares, .. } | StockEvent::Filled { quantity, shares, .. } => {
                shares.of(*quantity).iter().try_for_each(|(at, units)| self.take(Units::Available, at, *units))
            }
            StockEvent::Released { quantity, shares, .. } => {
                shares.of(*quantity).iter().try_for_each(|(at, units)| self.add(Units::Available, at, *units))
            }
            StockEvent::Shipped { quantity, shares, available_after, .. } => {
                // Over the counter goes what no order holds.
                let units = if *available_after == self.available { Units::Held } else { Units::Free };
                shares.of(*quantity).iter().try_for_each(|(at, share)| self.take(units, at, *share))
            }
            StockEvent::Confirmed { .. } | StockEvent::BackOrdersLimited { .. } => Some(()),
        }
    }

    fn add(&mut self, units: Units, location: &LocationId, quantity: Quantity) -> Option<()> {
        self.change(units, location, |there| there.checked_add(quantity))
    }

    fn take(&mut self, units: Units, location: &LocationId, quantity: Quantity) -> Option<()> {
        self.change(units, location, |there| there.checked_sub(quantity))
    }

    fn change(
        &mut self,
        units: Units,
        location: &LocationId,
        change: impl Fn(Quantity) -> Option<Quantity>,
    ) -> Option<()> {
        let place = self.locations.entry(location.clone()).or_default();
        if let Units::Free | Units::Held = units {
            place.on_hand = change(place.on_hand)?;
        }
        if let Units::Free | Units::Available = units {
            place.available = change(place.available)?;
        }
        Some(())
    }
}

#[derive(FromRow)]
struct Row {
    sku: String,
    on_hand: i64,
    available: i64,
    back_ordered: i64,
    back_orders_max: i64,
    locations: Json<BTreeMap<LocationId, Place>>,
    position: i64,
}

impl Row {
    fn read(self) -> Result<(Sku, Levels), ApplyError> {
        let unreadable = |what: &str| ApplyError::Contradiction(format!("{what} of stock {} is unreadable", self.sku));
        let units =
            |units: i64| u64::try_from(units).ok().and_then(Quantity::new).ok_or_else(|| unreadable("a number"));
        let levels = Levels {
            on_hand: units(self.on_hand)?,
            available: units(self.available)?,
            back_ordered: units(self.back_ordered)?,
            back_orders_max: units(self.back_orders_max)?,
            locations: self.locations.0,
            position: self.position,
        };
        Ok((self.sku.parse().map_err(|_| unreadable("the SKU"))?, levels))
    }
}

impl Projection for StockLevels {
    fn name(&self) -> &'static str {
        "stock"
    }

    fn aggregate_types(&self) -> &'static [&'static str] {
        &[Stock::TYPE]
    }

    fn store(self: Arc<Self>, options: &StoreOptions) -> Arc<dyn Store> {
        PostgresStore::of(self, options)
    }
}

impl PostgresProjection for StockLevels {
    fn tables(&self) -> &'static str {
        include_str!("../../tables/stock.sql")
    }

    fn apply<'a>(&'a self, view: &'a mut PgConnection, events: &'a [Event]) -> BoxFuture<'a, Result<(), ApplyError>> {
        async move {
            let mut by_sku: BTreeMap<&Sku, Vec<(&StockEvent, i64)>> = BTreeMap::new();
            for Event { position, fact } in events {
                let Fact::Stock(sku, event) = fact else { continue }; // It is not asked for others.
                by_sku.entry(sku).or_default().push((event, *position));
            }
            let mut stock = read(view, by_sku.keys()).await?;
            for (sku, events) in by_sku {
                let levels = stock.entry(sku.clone()).or_default();
                for (event, position) in events {
                    levels.fold(sku, event, position)?;
                }
            }
            write(view, &stock).await?;
            Ok(())
        }
        .boxed()
    }
}

async fn read<'a>(
    view: &mut PgConnection,
    skus: impl Iterator<Item = &'a &'a Sku>,
) -> Result<BTreeMap<Sku, Levels>, ApplyError> {
    let rows: Vec<Row> = sqlx::query_as("select * from stock where sku = any($1)")
        .bind(skus.map(|sku| sku.as_str()).collect::<Vec<_>>())
        .fetch_all(view)
        .await?;
    rows.into_iter().map(Row::read).collect()
}

async fn write(view: &mut PgConnection, stock: &BTreeMap<Sku, Levels>) -> sqlx::Result<()> {
    let units = |of: fn(&Levels) -> Quantity| -> Vec<i64> {
        stock.values().map(|levels| i64::try_from(of(levels).units()).expect("the largest quantity fits")).collect()
    };
    let json = |levels: &Levels| serde_json::to_string(&levels.locations).expect("locations have a JSON form");
    sqlx::query(
        "insert into stock as s (sku, on_hand, available, back_ordered, back_orders_max, locations, position)
         select sku, on_hand, available, back_ordered, back_orders_max, locations::json, position
         from unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::bigint[])
             as c (sku, on_hand, available, back_ordered, back_orders_max, locations, position)
         on conflict (sku) do update set on_hand = excluded.on_hand, available = excluded.available,
             back_ordered = excluded.back_ordered, back_orders_max = excluded.back_orders_max,
             locations = excluded.locations, position = excluded.position
         where s.position < excluded.position",
    )
    .bind(stock.keys().map(Sku::as_str).collect::<Vec<_>>())
    .bind(units(|levels| levels.on_hand))
    .bind(units(|levels| levels.available))
    .bind(units(|levels| levels.back_ordered))
    .bind(units(|levels| levels.back_orders_max))
    .bind(stock.values().map(json).collect::<Vec<_>>())
    .bind(stock.values().map(|levels| levels.position).collect::<Vec<_>>())
    .execute(view)
    .await?;
    Ok(())
}

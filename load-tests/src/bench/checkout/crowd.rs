//! A shop with goods, and so many shoppers at once.

use super::{Run, from_intended_start, in_us};
use crate::bench::cpu;
use crate::client::Api;
use crate::dice::Dice;
use crate::goods::put_on_sale;
use crate::shopper::{Ending, Shopper, Step};
use anyhow::{Result, ensure};
use kontor_event_schemas::upcast::Upcasters;
use kontor_event_store::LogReader;
use kontor_identity::Role as Caller;
use kontor_local::{Platform, Role};
use sqlx::postgres::{PgPool, PgPoolOptions};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

/// The last row of the costs.
pub const LOAD_GENERATOR: &str = "load generator";

const PRODUCTS: usize = 1_000;
/// Of each product.
const UNITS: i64 = 1_000_000;
const LINES_MAX: usize = 3;
const CUSTOMERS: usize = 1_000;
/// Connections, caches and plans are made before it counts.
const WARM_UP: Duration = Duration::from_secs(1);

/// A platform with goods on sale.
pub struct Shop<'p> {
    platform: &'p Platform,
    database: PgPool,
    skus: Arc<[String]>,
    /// The customers' tokens.
    customers: Arc<[Arc<str>]>,
}

/// What one shopper did while it counted.
#[derive(Default)]
struct Shopped {
    purchases: Vec<Duration>,
    steps: Vec<(Step, Duration)>,
}

/// How far everything was at one moment.
struct Reading {
    position: i64,
    cpu: Vec<f64>,
}

impl<'p> Shop<'p> {
    /// Puts the goods on sale.
    pub async fn open(platform: &'p Platform) -> Result<Self> {
        let identity = platform.identity();
        let skus: Arc<[String]> = (0..PRODUCTS).map(|product| format!("BENCH-{product:04}")).collect();
        let staff = identity.token("bench", Caller::Staff, None);
        put_on_sale(&Api::new(&platform.command_url().parse()?, Some(&staff))?, &skus, UNITS).await?;
        let customer = |n: usize| {
            let id = format!("bench-{n}");
            identity.token(&id, Caller::Customer, Some(&id)).into()
        };
        let database = PgPoolOptions::new().max_connections(1).connect(&platform.postgres().url(Role::Command)).await?;
        Ok(Self { platform, database, skus, customers: (0..CUSTOMERS).map(customer).collect() })
    }

    /// Lets so many shoppers buy for `length`.
    pub async fn measure(&self, shoppers: usize, length: Duration) -> Result<Run> {
        let from = Instant::now() + WARM_UP;
        let until = from + length;
        let mut shopping = JoinSet::new();
        for number in 0..shoppers {
            let shopper = Shopper::new(&[self.platform.ports().command]);
            shopping.spawn(shop(shopper, number, self.skus.clone(), self.customers.clone(), from, until));
        }
        sleep_until(from.into()).await;
        let before = self.read().await?;
        sleep_until(until.into()).await;
        let after = self.read().await?;
        let (mut purchases, mut steps) = (Vec::new(), Vec::new());
        while let Some(shopped) = shopping.join_next().await {
            let shopped = shopped??;
            purchases.extend(shopped.purchases);
            steps.extend(shopped.steps);
        }
        let names = self.platform.processes().into_iter().map(|process| process.name).chain([LOAD_GENERATOR]);
        let spent = after.cpu.iter().zip(&before.cpu).map(|(after, before)| after - before);
        let of = |step| in_us(steps.iter().filter(|(taken, _)| *taken == step).map(|(_, took)| *took));
        Ok(Run {
            shoppers,
            seconds: length.as_secs_f64(),
            orders: purchases.len() as u64,
            purchases: from_intended_start(&in_us(purchases.into_iter())),
            steps: Step::ALL.into_iter().map(of).collect(),
            placed_to_confirmed: self.placed_to_confirmed(before.position, after.position).await?,
            cpu: names.zip(spent).collect(),
        })
    }

    async fn read(&self) -> Result<Reading> {
        let mut cpu = cpu::of_platform(&self.platform.processes());
        cpu.push(cpu::of_process(std::process::id()));
        let log = LogReader::new(self.database.clone(), Arc::new(Upcasters::default()));
        Ok(Reading { position: log.head().await?, cpu })
    }

    /// Of the orders that were placed between two positions, as recorded just before the commits.
    async fn placed_to_confirmed(&self, after: i64, up_to: i64) -> Result<hdrhistogram::Histogram<u64>> {
        let sql = "select extract(epoch from confirmed.recorded_at - placed.recorded_at)::float8
            from events placed
            join events confirmed on confirmed.aggregate_type = 'order' and confirmed.event_type = 'Confirmed'
                and confirmed.aggregate_id = placed.aggregate_id
            where placed.position > $1 and placed.position <= $2
                and placed.aggregate_type = 'order' and placed.event_type = 'Placed'";
        let times: Vec<f64> = sqlx::query_scalar(sql).bind(after).bind(up_to).fetch_all(&self.database).await?;
        Ok(in_us(times.into_iter().map(|seconds| Duration::from_secs_f64(seconds.max(0.0)))))
    }
}

/// Buys until the end; counts what was settled since the beginning. Every other purchase is a guest's.
async fn shop(
    mut shopper: Shopper,
    number: usize,
    skus: Arc<[String]>,
    customers: Arc<[Arc<str>]>,
    from: Instant,
    until: Instant,
) -> Result<Shopped> {
    let mut dice = Dice::new(number as u64);
    let mut shopped = Shopped::default();
    let mut begun = Instant::now();
    for purchase in number.. {
        let guest = purchase.is_multiple_of(2);
        shopper.token = (!guest).then(|| customers[dice.roll(customers.len())].clone());
        let lines: Vec<(&str, usize)> =
            (0..1 + dice.roll(LINES_MAX)).map(|_| (skus[dice.roll(skus.len())].as_str(), 1 + dice.roll(2))).collect();
        let ending = shopper.buy(&lines, "tok_success").await?;
        ensure!(ending == Ending::Confirmed, "a purchase of {lines:?} ended as {ending:?}");
        let settled = Instant::now();
        if settled >= until {
            break;
        }
        if settled < from {
            shopper.took.clear();
        } else {
            shopped.purchases.push(settled - begun);
        }
        begun = settled;
    }
    ensure!(shopper.repeated == 0, "{} requests had no answer", shopper.repeated);
    shopped.steps = shopper.took;
    Ok(shopped)
}

//! Many appenders at once, each with one append in flight, for a given time.

use crate::bench::cpu;
use hdrhistogram::Histogram;
use std::future::Future;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// One client of the log, with one append in flight at a time.
pub trait Appender: Send + 'static {
    fn append(&mut self) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// What came of one run.
#[derive(Debug, Clone)]
pub struct Measured {
    pub appends: u64,
    pub seconds: f64,
    /// Microseconds from call to answer; `None` where only the rate was asked for.
    pub latency_us: Option<Histogram<u64>>,
    /// Processor seconds of whoever appends.
    pub client_cpu: f64,
    /// Processor seconds of Postgres.
    pub server_cpu: f64,
}

impl Measured {
    /// Appends a second.
    pub fn rate(&self) -> f64 {
        self.appends as f64 / self.seconds
    }

    /// Milliseconds; not a number where it was not measured.
    pub fn p50_ms(&self) -> f64 {
        self.quantile_ms(0.5)
    }

    pub fn p99_ms(&self) -> f64 {
        self.quantile_ms(0.99)
    }

    fn quantile_ms(&self, quantile: f64) -> f64 {
        self.latency_us.as_ref().map_or(f64::NAN, |latency| latency.value_at_quantile(quantile) as f64 / 1_000.0)
    }

    /// Processor seconds of client and server for 1,000 appends.
    pub fn cpu_per_thousand(&self) -> f64 {
        (self.client_cpu + self.server_cpu) / self.appends as f64 * 1_000.0
    }

    pub fn client_cpu_per_thousand(&self) -> f64 {
        self.client_cpu / self.appends as f64 * 1_000.0
    }
}

/// Lets `appenders` append in this process for `length`; `server` is the process id of Postgres.
pub async fn drive<A: Appender>(appenders: Vec<A>, length: Duration, server: u32) -> anyhow::Result<Measured> {
    let own = std::process::id();
    let cpu_before = (cpu::of_process(own), cpu::of_tree(server));
    let start = Instant::now();
    let until = start + length;
    let mut running = JoinSet::new();
    for mut appender in appenders {
        running.spawn(async move {
            let mut latencies_us: Vec<u32> = Vec::with_capacity(1 << 12);
            loop {
                let called = Instant::now();
                if called >= until {
                    return anyhow::Ok(latencies_us);
                }
                appender.append().await?;
                latencies_us.push(called.elapsed().as_micros().try_into().unwrap_or(u32::MAX));
            }
        });
    }
    let mut all = Vec::new();
    while let Some(done) = running.join_next().await {
        all.push(done??);
    }
    let seconds = start.elapsed().as_secs_f64();
    let cpu_after = (cpu::of_process(own), cpu::of_tree(server));
    let latency_us = histogram(all.iter().flatten().map(|&latency| u64::from(latency)));
    Ok(Measured {
        appends: latency_us.len(),
        seconds,
        latency_us: Some(latency_us),
        client_cpu: cpu_after.0 - cpu_before.0,
        server_cpu: cpu_after.1 - cpu_before.1,
    })
}

/// Microseconds with three significant digits, up to an hour.
pub fn histogram(values: impl Iterator<Item = u64>) -> Histogram<u64> {
    let mut histogram = Histogram::new_with_max(3_600_000_000, 3).expect("three digits are allowed");
    for value in values {
        histogram.saturating_record(value);
    }
    histogram
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_kept_to_three_digits() {
        let latency_us = histogram([100, 1_234, 5_000_000_000].into_iter());
        let measured =
            Measured { appends: 3, seconds: 1.5, latency_us: Some(latency_us), client_cpu: 0.25, server_cpu: 0.5 };
        assert_eq!((measured.rate(), measured.p50_ms()), (2.0, 1.234));
        assert_eq!((measured.cpu_per_thousand(), measured.client_cpu_per_thousand()), (250.0, 250.0 / 3.0));
    }
}

//! What the command tier tells `/metrics`.

use crate::executor::Executor;
use crate::notifications::NotificationCounts;
use crate::processes::ProcessCounts;
use crate::relay::RelayCounts;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Reads what each component has counted at each scrape.
pub struct CommandMetrics {
    pub executor: Option<Arc<Executor>>,
    pub relay: Arc<RelayCounts>,
    pub processes: Arc<ProcessCounts>,
    pub notifications: Arc<NotificationCounts>,
}

impl fmt::Debug for CommandMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CommandMetrics")
    }
}

impl Collector for CommandMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut write = |name: &str, help: &str, metric: &dyn Encode| metric.write(&mut encoder, name, help);
        let counter = |value: u64| ConstCounter::new(value);
        if let Some(executor) = &self.executor {
            let log = executor.log();
            let counts = log.counts();
            let load = |count: &std::sync::atomic::AtomicU64| counter(count.load(Ordering::Relaxed));
            write("kontor_log_batches", "Batches appended to the log", &load(&counts.batches))?;
            write("kontor_log_appends", "Commands appended to the log", &load(&counts.appends))?;
            write("kontor_log_events", "Events appended to the log", &load(&counts.events))?;
            write("kontor_log_refused_batches", "Batches that met a conflict", &load(&counts.refused_batches))?;
            write("kontor_log_reconnects", "Connections to the log that broke", &load(&counts.reconnects))?;
            write("kontor_log_waiting_appends", "Appends waiting for a batch", &ConstGauge::new(log.waiting() as i64))?;
            write("kontor_log_epoch", "Generation of the log", &ConstGauge::new(log.epoch()))?;
            write("kontor_executor_conflicts", "Commands decided again", &counter(executor.conflicts()))?;
        }
        let relay = &self.relay;
        let gauge = |value: &std::sync::atomic::AtomicI64| ConstGauge::new(value.load(Ordering::Relaxed));
        let load = |count: &std::sync::atomic::AtomicU64| counter(count.load(Ordering::Relaxed));
        write("kontor_relay_leading", "1 while this relay leads", &gauge(&relay.leading))?;
        write("kontor_relay_position", "Last position on the stream", &gauge(&relay.position))?;
        write("kontor_relay_events", "Events published", &load(&relay.events))?;
        write("kontor_relay_batches", "Batches published", &load(&relay.batches))?;
        write("kontor_relay_interruptions", "Times the relay had to resume", &load(&relay.interruptions))?;
        let processes = &self.processes;
        write("kontor_processes_leading", "1 while this process acts", &gauge(&processes.leading))?;
        write("kontor_processes_position", "Last position that was heard", &gauge(&processes.position))?;
        write("kontor_processes_orders", "Orders that something is to be done about", &gauge(&processes.orders))?;
        write("kontor_processes_in_flight", "Reactions under way", &gauge(&processes.in_flight))?;
        let mail = &self.notifications;
        let oldest = ConstGauge::new(mail.oldest_ms.load(Ordering::Relaxed) as f64 / 1_000.0);
        write("kontor_notifications_leading", "1 while this process sends mail", &gauge(&mail.leading))?;
        write("kontor_notifications_waiting_mails", "Mails that are due or being sent", &gauge(&mail.waiting))?;
        write("kontor_notifications_dead_mails", "Mails that were given up and wait for a person", &gauge(&mail.dead))?;
        write("kontor_notifications_oldest_seconds", "Age of the mail that has waited longest", &oldest)?;
        write("kontor_notifications_sent", "Mails that a server has taken", &load(&mail.sent))?;
        write("kontor_notifications_failed", "Attempts that will be repeated", &load(&mail.failed))?;
        write("kontor_notifications_given_up", "Mails that were given up", &load(&mail.given_up))?;
        write("kontor_notifications_dropped", "Mails that were not to be sent any more", &load(&mail.dropped))
    }
}

/// A metric with a value of its own.
trait Encode {
    fn write(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str) -> Result<(), fmt::Error>;
}

impl<M: EncodeMetric> Encode for M {
    fn write(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str) -> Result<(), fmt::Error> {
        let metric = encoder.encode_descriptor(name, help, None, self.metric_type())?;
        self.encode(metric)
    }
}

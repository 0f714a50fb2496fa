//! Traces, metrics, logs and health of every tier.

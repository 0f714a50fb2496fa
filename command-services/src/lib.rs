//! Commands over HTTP, their execution against the log, and the relay to JetStream.

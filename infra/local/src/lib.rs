//! The local platform: the servers and tiers that infra/up, the tests and the benchmarks start.

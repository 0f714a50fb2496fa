//! Importers of real data and benchmarks, over the HTTP APIs.

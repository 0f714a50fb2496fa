//! Configuration of every tier: one file, overridden by the environment.

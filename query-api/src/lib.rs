//! Queries over the read models.

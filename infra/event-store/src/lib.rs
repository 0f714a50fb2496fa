//! The log: append, read a stream, read the log from a position.

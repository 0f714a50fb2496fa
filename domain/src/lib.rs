//! The rules of commerce: aggregates, commands, events and money. Pure: no clock, no I/O.

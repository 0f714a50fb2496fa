//! The projector runtime and the read models it keeps.

//! The published contract: envelope, subjects and upcasters.

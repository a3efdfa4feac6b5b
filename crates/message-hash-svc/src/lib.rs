//! The SHA-256 digest of a message, and the message back.

//! `lockctl doctor` names what was planted.

//! Starts real etcd and Vault API servers and the Holdfast services, for tests and for a run on one machine.

//! Client of shared-lock-svc: locks that renew themselves and tell when they are lost.

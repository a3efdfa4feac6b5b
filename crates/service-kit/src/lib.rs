//! What the three Holdfast services share: settings, server lifecycle, problem+json, telemetry, health.

//! What runs, in the order in which it was started.

use std::{env, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use testbed::{Process, RunningService, Service};
use tokio::task::JoinSet;

use crate::{
    Mode,
    console::{Console, keep_log},
    layout::Layout,
    stores::Stores,
};

/// What one part may take to end before it is killed.
const ENDED: Duration = Duration::from_secs(15);

type Part = (&'static str, Arc<Process>);

/// Everything that was started. Dropping it kills what still runs.
pub(crate) struct Stack {
    console: Console,
    stores: Stores,
    services: Vec<(&'static str, RunningService)>,
}

impl Stack {
    /// Starts the stores and then the services, each when what it stands on is ready.
    pub(crate) async fn start(layout: &Layout, console: Console) -> Result<Self> {
        let stores = match layout.mode() {
            Mode::Real => Stores::start_servers(layout).await?,
            Mode::Embedded | Mode::Down => Stores::Embedded,
        };
        let mut stack = Self {
            console,
            stores,
            services: Vec::new(),
        };
        for (name, process) in stack.stores.processes() {
            keep_log(&layout.log(name), process.log())?;
        }
        // They were built with this program, and lie beside it.
        let binaries = env::current_exe()?;
        for (name, settings) in stack.stores.services(layout)? {
            let service = Service::new(name).binary(binaries.with_file_name(name));
            let service = settings
                .into_iter()
                .fold(service, |service, (name, value)| service.env(name, value));
            let service = service.start().await?;
            stack
                .console
                .follow(name, stack.parts().len(), &service.logs());
            stack.services.push((name, service));
        }
        Ok(stack)
    }

    /// Where PostgreSQL is, when it was started.
    pub(crate) fn postgres(&self) -> Option<String> {
        self.stores.postgres()
    }

    /// Resolves when a part has ended by itself, and says which and how.
    pub(crate) async fn first_end(&self) -> Result<String> {
        let mut ends = JoinSet::new();
        for (name, process) in self.parts() {
            ends.spawn(async move {
                anyhow::Ok(format!(
                    "{name} ended by itself: {}",
                    process.ended().await?
                ))
            });
        }
        ends.join_next().await.context("nothing runs")??
    }

    /// Ends the parts, the last one first: whoever is asked to end can still reach what it stands on.
    pub(crate) async fn stop(&self) -> Result<()> {
        end(self.services()).await?;
        end(self.stores.processes()).await
    }

    fn parts(&self) -> Vec<Part> {
        [self.stores.processes(), self.services()].concat()
    }

    fn services(&self) -> Vec<Part> {
        self.services
            .iter()
            .map(|(name, service)| (*name, service.process()))
            .collect()
    }
}

async fn end(parts: Vec<Part>) -> Result<()> {
    for (_, process) in parts.iter().rev() {
        if process.exit_status().is_none() && process.terminate(ENDED).await.is_err() {
            process.kill()?;
        }
    }
    Ok(())
}

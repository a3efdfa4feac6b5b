//! What runs, in the order in which it was started.

use std::{env, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use testbed::{Process, RunningService, Service};
use tokio::task::JoinSet;

use crate::{Mode, console::Console, layout::Layout, stores::Stores};

/// What one part may take to end before it is killed.
const ENDED: Duration = Duration::from_secs(15);

/// Everything that was started. Dropping it kills what still runs.
pub(crate) struct Stack {
    parts: Vec<(&'static str, Arc<Process>)>,
    services: Vec<RunningService>,
    stores: Stores,
}

impl Stack {
    /// Starts the stores and then the services, each when what it stands on is ready.
    pub(crate) async fn start(layout: &Layout, console: Console) -> Result<Self> {
        let mut stack = match layout.mode() {
            Mode::Real => Self::on(Stores::start_servers(layout).await?),
            Mode::Embedded | Mode::Down => Self::on(Stores::Embedded),
        };
        if let Stores::Real { etcd, openbao, .. } = &stack.stores {
            let servers = [("etcd", etcd.process()), ("openbao", openbao.process())];
            servers
                .into_iter()
                .for_each(|(name, process)| stack.add(name, process, console));
        }
        // They were built with this program, and lie beside it.
        let binaries = env::current_exe()?;
        for (name, settings) in stack.stores.services(layout)? {
            let service = Service::new(name).binary(binaries.with_file_name(name));
            let service = settings
                .into_iter()
                .fold(service, |service, (name, value)| service.env(name, value));
            let service = service.start().await?;
            stack.add(name, service.process(), console);
            stack.services.push(service);
        }
        Ok(stack)
    }

    /// Resolves when a part has ended by itself, and says which and how.
    pub(crate) async fn first_end(&self) -> Result<String> {
        let mut ends = JoinSet::new();
        for (name, process) in self.parts.clone() {
            ends.spawn(async move {
                process
                    .ended()
                    .await
                    .map(|status| format!("{name} ended by itself: {status}"))
            });
        }
        ends.join_next().await.context("nothing runs")??
    }

    /// Ends the parts, the last one first: whoever is asked to end can still reach what it stands on.
    pub(crate) async fn stop(&self) -> Result<()> {
        for (_, process) in self.parts.iter().rev() {
            if process.exit_status().is_none() && process.terminate(ENDED).await.is_err() {
                process.kill()?;
            }
        }
        Ok(())
    }

    fn on(stores: Stores) -> Self {
        Self {
            parts: Vec::new(),
            services: Vec::new(),
            stores,
        }
    }

    fn add(&mut self, name: &'static str, process: Arc<Process>, console: Console) {
        console.follow(name, self.parts.len(), process.log());
        self.parts.push((name, process));
    }
}

//! Runs Errand's services on threads of their own, so that `Drop` can block the test's thread until they have stopped.

use std::{panic::resume_unwind, thread};

use errand_shared::service::lifecycle::Lifecycle;
use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::JoinHandle,
};

/// The runtime of one test's services. What still runs on it when it is dropped is dropped too.
#[derive(Debug)]
pub(crate) struct ServiceRuntime(Option<Runtime>);

impl ServiceRuntime {
    #[expect(clippy::unwrap_used, reason = "a test without its runtime can only fail")]
    pub(crate) fn new() -> Self {
        // One thread, because many tests run at the same time.
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Self(Some(runtime.unwrap()))
    }

    #[expect(clippy::unwrap_used, reason = "it is only taken when dropped")]
    fn handle(&self) -> &Handle {
        self.0.as_ref().unwrap().handle()
    }

    /// Calls a function that spawns tasks on the current runtime.
    pub(crate) fn enter<T>(&self, function: impl FnOnce() -> T) -> T {
        let _entered = self.handle().enter();
        function()
    }

    /// Runs a future on this runtime and returns its output.
    #[expect(clippy::unwrap_used, reason = "a test whose service panicked can only fail")]
    pub(crate) async fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        self.handle().spawn(future).await.unwrap()
    }

    /// Starts a service that ends after `lifecycle` has been asked to stop.
    pub(crate) fn spawn(
        &self,
        service: impl Future<Output = ()> + Send + 'static,
        lifecycle: Lifecycle,
    ) -> Service {
        Service {
            lifecycle,
            ended: Some(self.handle().spawn(service)),
            runtime: self.handle().clone(),
        }
    }

    /// Blocks the current thread until the future is ready.
    pub(crate) fn wait_for<T: Send>(&self, future: impl Future<Output = T> + Send) -> T {
        wait_for(self.handle(), future)
    }
}

impl Drop for ServiceRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Waiting is not allowed on a thread that runs the test's own runtime.
            runtime.shutdown_background();
        }
    }
}

/// A running API or worker. Dropping it stops it and waits until it has stopped, unless the test has failed.
#[derive(Debug)]
pub(crate) struct Service {
    lifecycle: Lifecycle,
    ended: Option<JoinHandle<()>>,
    runtime: Handle,
}

impl Service {
    /// Asks the service to stop and waits until it has stopped. Panics if it panicked.
    #[expect(clippy::unwrap_used, reason = "a test whose service panicked can only fail")]
    pub(crate) async fn stop(mut self) {
        self.lifecycle.stop();
        if let Some(ended) = self.ended.take() {
            ended.await.unwrap();
        }
    }
}

impl Drop for Service {
    #[expect(clippy::unwrap_used, reason = "a test whose service panicked can only fail")]
    fn drop(&mut self) {
        self.lifecycle.stop();
        if let Some(ended) = self.ended.take()
            && !thread::panicking()
        {
            wait_for(&self.runtime, ended).unwrap();
        }
    }
}

/// Blocks the current thread, which may be running another runtime, until the future is ready.
fn wait_for<T: Send>(runtime: &Handle, future: impl Future<Output = T> + Send) -> T {
    thread::scope(|scope| {
        let waiting = scope.spawn(|| runtime.block_on(future));
        waiting.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

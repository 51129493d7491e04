//! The tokio runtime of a program and how its tasks share threads.

use std::{io, num::NonZero, panic, thread};

use tokio::{runtime::Builder, sync::mpsc, task::yield_now};

/// Settings of the runtime.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct RuntimeSettings {
    /// Number of threads. 0 means half of the cores, but at least one. Threads never block, and with little load one busy thread
    /// responds faster than two that wake each other.
    #[arg(long, env = "RUNTIME_THREADS", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=1024))]
    pub runtime_threads: u16,
}

impl RuntimeSettings {
    /// Runs a program to completion, on the same threads as its tasks. On a thread of its own, each handover between the program
    /// and its tasks would wake another thread.
    ///
    /// # Errors
    /// If the operating system cannot create the threads.
    pub fn run<F>(self, program: F) -> io::Result<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let threads = threads(self.runtime_threads.into(), cores);
        let mut builder = match threads {
            1 => Builder::new_current_thread(),
            _ => Builder::new_multi_thread(),
        };
        let runtime = builder.worker_threads(threads).enable_all().build()?;
        match runtime.block_on(runtime.spawn(program)) {
            Ok(output) => Ok(output),
            Err(ended) => panic::resume_unwind(ended.into_panic()),
        }
    }
}

/// The other half is left to Postgres, Redis and other processes on the same machine.
fn threads(wanted: usize, cores: usize) -> usize {
    if wanted > 0 { wanted } else { (cores / 2).max(1) }
}

/// Lets every other ready task run once, then moves what they sent into `received`, up to `max` items in total.
///
/// Tokio runs a woken task before the tasks that were already ready. Without the yield, a receiver woken by the first of many
/// simultaneous requests would process that request alone. With no other ready task the yield costs one poll of the I/O driver.
pub(crate) async fn drain_ready<T>(inbox: &mut mpsc::Receiver<T>, received: &mut Vec<T>, max: usize) {
    yield_now().await;
    while received.len() < max
        && let Ok(item) = inbox.try_recv()
    {
        received.push(item);
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Handle;

    use super::*;

    #[test]
    fn defaults_to_half_of_the_cores() {
        let of = |wanted, cores| threads(wanted, cores);
        assert_eq!([of(0, 1), of(0, 2), of(0, 3), of(0, 16)], [1, 1, 1, 8]);
        assert_eq!([of(3, 1), of(1, 16)], [3, 1]);
    }

    #[test]
    fn a_program_runs_on_the_configured_number_of_threads() {
        let wanted = RuntimeSettings { runtime_threads: 3 };
        let program = async { (Handle::current().metrics().num_workers(), thread::current().id()) };
        let (threads, its_own) = wanted.run(program).unwrap();
        assert_eq!(threads, 3);
        assert_ne!(its_own, thread::current().id());
    }

    #[test]
    fn a_single_thread_is_shared_with_the_program() {
        let wanted = RuntimeSettings { runtime_threads: 1 };
        let of_a_task = || Handle::current().spawn(async { thread::current().id() });
        let threads = wanted.run(async move { [of_a_task().await.unwrap(), thread::current().id()] });
        assert_eq!(threads.unwrap(), [thread::current().id(); 2]);
    }
}

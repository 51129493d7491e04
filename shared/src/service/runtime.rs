//! The threads that a program's tasks run on.

use std::{io, num::NonZero, panic, thread};

use tokio::{runtime::Builder, sync::mpsc, task::yield_now};

/// How many threads there are.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct RuntimeSettings {
    /// Threads that requests and runs are served on; 0 for half of the cores, at least one. None of them waits for anything, and
    /// what comes by itself is served sooner by one that is awake than by two that wake each other.
    #[arg(long, env = "RUNTIME_THREADS", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=1024))]
    pub runtime_threads: u16,
}

impl RuntimeSettings {
    /// Runs a program to its end, on the same threads as its tasks: the thread that waits for the end would have to be woken for
    /// whatever the program itself has to do with each run.
    ///
    /// # Errors
    /// If the system gives no threads.
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

/// The other half is for Postgres and Redis, or for the next program of the kind.
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
    fn half_of_the_cores_unless_it_is_said() {
        let of = |wanted, cores| threads(wanted, cores);
        assert_eq!([of(0, 1), of(0, 2), of(0, 3), of(0, 16)], [1, 1, 1, 8]);
        assert_eq!([of(3, 1), of(1, 16)], [3, 1]);
    }

    #[test]
    fn a_program_runs_on_as_many_threads_as_are_wanted() {
        let wanted = RuntimeSettings { runtime_threads: 3 };
        let program = async { (Handle::current().metrics().num_workers(), thread::current().id()) };
        let (threads, its_own) = wanted.run(program).unwrap();
        assert_eq!(threads, 3);
        assert_ne!(its_own, thread::current().id());
    }

    #[test]
    fn one_thread_is_the_programs_own() {
        let wanted = RuntimeSettings { runtime_threads: 1 };
        let of_a_task = || Handle::current().spawn(async { thread::current().id() });
        let threads = wanted.run(async move { [of_a_task().await.unwrap(), thread::current().id()] });
        assert_eq!(threads.unwrap(), [thread::current().id(); 2]);
    }
}

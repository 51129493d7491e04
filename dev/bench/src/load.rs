//! Many clients at the same time, each of which sends its next chat when the last one is answered, and measures its time.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::{sync::Mutex as TurnLock, task::JoinSet};

use crate::{
    Result,
    client::{Client, Session},
    seed_data,
    stack::Stack,
};

/// The number of users that the clients share: registration uses much CPU time, to protect passwords.
const USERS: usize = 64;

/// The time limit of a chat, above the API's wait of 300 s.
pub(crate) const CHAT_TIMEOUT: Duration = Duration::from_secs(330);

/// The running clients.
pub(crate) struct Load {
    shared: Arc<Shared>,
    clients: JoinSet<Result<()>>,
}

#[derive(Default)]
struct Shared {
    is_counting: AtomicBool,
    is_stopping: AtomicBool,
    number: AtomicUsize,
    times: Mutex<Vec<Duration>>,
    /// Held during a chat, when the clients of two stacks alternate.
    turn: Option<Arc<TurnLock<()>>>,
}

impl Load {
    /// Starts the clients, spread over the time of a chat. With `messages`, each user has a conversation of that length to
    /// continue. Clients that share `turn` send one chat at a time, in turn.
    pub(crate) async fn start(
        stack: &Stack,
        clients: usize,
        spread: Duration,
        messages: Option<u32>,
        turn: Option<Arc<TurnLock<()>>>,
    ) -> Result<Self> {
        let mut sessions = Vec::with_capacity(USERS);
        let mut registrar = Client::connect(stack.api).await?;
        for number in 0..clients.min(USERS) {
            sessions.push(registrar.register(number).await?);
        }
        if let Some(messages) = messages {
            let user_ids: Vec<_> = sessions.iter().map(Session::user_id).collect();
            let conversations = seed_data::conversations(stack, &user_ids, messages).await?;
            for (session, conversation) in sessions.iter_mut().zip(conversations) {
                session.set_conversation(conversation);
            }
        }
        let shared = Arc::new(Shared {
            turn,
            ..Shared::default()
        });
        let mut tasks = JoinSet::new();
        for (number, session) in sessions.iter().cycle().take(clients).enumerate() {
            let delay = spread * u32::try_from(number)? / u32::try_from(clients)?;
            tasks.spawn(send_chats(stack.api, session.clone(), Arc::clone(&shared), delay));
        }
        Ok(Self {
            shared,
            clients: tasks,
        })
    }

    /// Lets the clients run for this time.
    ///
    /// # Errors
    /// The first wrong answer, immediately.
    pub(crate) async fn run_for(&mut self, time: Duration) -> Result<()> {
        match tokio::time::timeout(time, self.clients.join_next()).await {
            Err(_time_is_over) => Ok(()),
            Ok(Some(Ok(Err(error)))) => Err(error),
            Ok(Some(Err(error))) => Err(error.into()),
            Ok(Some(Ok(Ok(()))) | None) => Err("a client stopped by itself".into()),
        }
    }

    /// Starts measuring.
    pub(crate) fn start_counting(&self) {
        self.shared.is_counting.store(true, Ordering::SeqCst);
    }

    /// Stops measuring. Returns the times of the chats that were answered since the start.
    pub(crate) fn stop_counting(&self) -> Vec<Duration> {
        self.shared.is_counting.store(false, Ordering::SeqCst);
        let mut times = self.shared.times.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut times)
    }

    /// Waits until every client has received its last answer.
    ///
    /// # Errors
    /// The first wrong answer.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.shared.is_stopping.store(true, Ordering::SeqCst);
        while let Some(ended) = self.clients.join_next().await {
            ended??;
        }
        Ok(())
    }
}

async fn send_chats(api: SocketAddr, session: Session, shared: Arc<Shared>, delay: Duration) -> Result<()> {
    tokio::time::sleep(delay).await;
    // Only now, because the API closes idle connections.
    let mut client = Client::connect(api).await?;
    while !shared.is_stopping.load(Ordering::SeqCst) {
        // The lock is fair.
        let _turn = match &shared.turn {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        let number = shared.number.fetch_add(1, Ordering::SeqCst);
        let sent = Instant::now();
        client.chat(&session, &format!("measure {number}")).await?;
        if shared.is_counting.load(Ordering::SeqCst) {
            let mut times = shared.times.lock().unwrap_or_else(PoisonError::into_inner);
            times.push(sent.elapsed());
        }
    }
    Ok(())
}

/// The times of the chats in milliseconds, without the time of the model.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Summary {
    /// Chats answered in the measured time.
    pub(crate) chats: usize,
    /// The measured time.
    pub(crate) seconds: f64,
    /// Chats per second.
    pub(crate) rate: f64,
    /// Median.
    pub(crate) p50: f64,
    /// 95th percentile.
    pub(crate) p95: f64,
    /// 99th percentile.
    pub(crate) p99: f64,
    /// Maximum.
    pub(crate) max: f64,
}

/// Summarizes the times of chats whose model took `ideal`.
///
/// # Errors
/// If `times` is empty.
pub(crate) fn summary(mut times: Vec<Duration>, window: Duration, ideal: Duration) -> Result<Summary> {
    times.sort_unstable();
    let at = |share: f64| -> Result<f64> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "at most some million chats"
        )]
        let rank = (share * (times.len().saturating_sub(1)) as f64).round() as usize;
        let time = times
            .get(rank)
            .ok_or("no chat was answered in the measured time")?;
        Ok((time.as_secs_f64() - ideal.as_secs_f64()) * 1000.0)
    };
    #[expect(clippy::cast_precision_loss, reason = "at most some million chats")]
    let rate = times.len() as f64 / window.as_secs_f64();
    Ok(Summary {
        chats: times.len(),
        seconds: window.as_secs_f64(),
        rate,
        p50: at(0.5)?,
        p95: at(0.95)?,
        p99: at(0.99)?,
        max: at(1.0)?,
    })
}

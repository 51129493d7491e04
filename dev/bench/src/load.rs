//! Many callers at once, each sending its next chat when the last is answered, and how long each chat took.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::{sync::Mutex as Turns, task::JoinSet};

use crate::{
    Result,
    client::{Client, Session},
    fill,
    stack::Stack,
};

/// Users that the callers share: registering costs a core for a while, by design.
const USERS: usize = 64;

/// The callers.
pub(crate) struct Load {
    shared: Arc<Shared>,
    callers: JoinSet<Result<()>>,
}

#[derive(Default)]
struct Shared {
    counts: AtomicBool,
    stops: AtomicBool,
    number: AtomicUsize,
    times: Mutex<Vec<Duration>>,
    /// Whose chat it is, where callers of two stacks take turns.
    turns: Option<Arc<Turns<()>>>,
}

impl Load {
    /// Starts the callers, spread over the time that a chat takes; they go on in conversations of so many messages, if any.
    /// Callers who share `turns` send one chat at a time, each after the other.
    pub(crate) async fn start(
        stack: &Stack,
        clients: usize,
        spread: Duration,
        messages: Option<u32>,
        turns: Option<Arc<Turns<()>>>,
    ) -> Result<Self> {
        let mut sessions = Vec::with_capacity(USERS);
        let mut registrar = Client::connect(stack.api).await?;
        for number in 0..clients.min(USERS) {
            sessions.push(registrar.register(number).await?);
        }
        if let Some(messages) = messages {
            let user_ids: Vec<_> = sessions.iter().map(Session::user_id).collect();
            let conversations = fill::conversations(stack, &user_ids, messages).await?;
            for (session, conversation) in sessions.iter_mut().zip(conversations) {
                session.go_on(conversation);
            }
        }
        let shared = Arc::new(Shared {
            turns,
            ..Shared::default()
        });
        let mut callers = JoinSet::new();
        for (number, session) in sessions.iter().cycle().take(clients).enumerate() {
            let late = spread * u32::try_from(number)? / u32::try_from(clients)?;
            let caller = call(stack.api, session.clone(), Arc::clone(&shared), late);
            callers.spawn(caller);
        }
        Ok(Self { shared, callers })
    }

    /// Lets the callers go on for this long.
    ///
    /// # Errors
    /// The first answer that was not right, as soon as it has come.
    pub(crate) async fn go_on(&mut self, time: Duration) -> Result<()> {
        match tokio::time::timeout(time, self.callers.join_next()).await {
            Err(_time_is_over) => Ok(()),
            Ok(Some(Ok(Err(error)))) => Err(error),
            Ok(Some(Err(error))) => Err(error.into()),
            Ok(Some(Ok(Ok(()))) | None) => Err("a caller ended by itself".into()),
        }
    }

    /// Counts from now on.
    pub(crate) fn begin(&self) {
        self.shared.counts.store(true, Ordering::SeqCst);
    }

    /// Counts no more; gives the times of the chats that were answered meanwhile.
    pub(crate) fn end(&self) -> Vec<Duration> {
        self.shared.counts.store(false, Ordering::SeqCst);
        let mut times = self.shared.times.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut times)
    }

    /// Lets every caller end its chat.
    ///
    /// # Errors
    /// The first answer that was not right.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.shared.stops.store(true, Ordering::SeqCst);
        while let Some(ended) = self.callers.join_next().await {
            ended??;
        }
        Ok(())
    }
}

async fn call(api: SocketAddr, session: Session, shared: Arc<Shared>, late: Duration) -> Result<()> {
    tokio::time::sleep(late).await;
    // Not before: the API closes a connection that says nothing.
    let mut client = Client::connect(api).await?;
    while !shared.stops.load(Ordering::SeqCst) {
        // Whoever waits the longest is next.
        let _turn = match &shared.turns {
            Some(turns) => Some(turns.lock().await),
            None => None,
        };
        let number = shared.number.fetch_add(1, Ordering::SeqCst);
        let sent = Instant::now();
        client.chat(&session, &format!("measure {number}")).await?;
        if shared.counts.load(Ordering::SeqCst) {
            let mut times = shared.times.lock().unwrap_or_else(PoisonError::into_inner);
            times.push(sent.elapsed());
        }
    }
    Ok(())
}

/// How fast the chats were, in milliseconds beyond what the model took.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Summary {
    /// Chats answered in the window.
    pub(crate) chats: usize,
    /// The window, in seconds.
    pub(crate) seconds: f64,
    /// Chats a second.
    pub(crate) rate: f64,
    /// Half the chats took no longer.
    pub(crate) p50: f64,
    /// 95 % took no longer.
    pub(crate) p95: f64,
    /// 99 % took no longer.
    pub(crate) p99: f64,
    /// None took longer.
    pub(crate) max: f64,
}

/// Sums up the times of chats whose model took `ideal`.
///
/// # Errors
/// If there was none.
pub(crate) fn summary(mut times: Vec<Duration>, window: Duration, ideal: Duration) -> Result<Summary> {
    times.sort_unstable();
    let at = |share: f64| -> Result<f64> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a rank among at most some million chats"
        )]
        let rank = (share * (times.len().saturating_sub(1)) as f64).round() as usize;
        let time = times.get(rank).ok_or("no chat was answered in the window")?;
        Ok((time.as_secs_f64() - ideal.as_secs_f64()) * 1000.0)
    };
    #[expect(clippy::cast_precision_loss, reason = "some million chats at most")]
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

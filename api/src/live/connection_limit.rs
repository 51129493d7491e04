//! Limits the number of open WebSockets of a user in this process.

use std::{collections::HashMap, sync::Arc};

use errand_shared::Uuid;
use parking_lot::Mutex;

/// The number of open WebSockets by user. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectionLimit(Arc<Mutex<HashMap<Uuid, u32>>>);

/// The permit of one WebSocket. Released when dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    limit: ConnectionLimit,
    user_id: Uuid,
}

impl ConnectionLimit {
    /// A permit, unless the user already has `max`. There is no limit if `max` is 0.
    pub(crate) fn acquire(&self, user_id: Uuid, max: u32) -> Option<ConnectionPermit> {
        let mut open = self.0.lock();
        let count = open.entry(user_id).or_insert(0);
        if max > 0 && *count >= max {
            return None;
        }
        *count += 1;
        drop(open);
        Some(ConnectionPermit {
            limit: self.clone(),
            user_id,
        })
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut open = self.limit.0.lock();
        if let Some(count) = open.get_mut(&self.user_id) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.user_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_user_has_a_limit_of_their_own() {
        let limit = ConnectionLimit::default();
        let (ada, bob) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let first = limit.acquire(ada, 1).unwrap();
        assert!(limit.acquire(ada, 1).is_none());
        assert!(limit.acquire(bob, 1).is_some());
        drop(first);
        let _again = limit.acquire(ada, 1).unwrap();
        assert!(limit.acquire(ada, 0).is_some(), "0 means no limit");
        assert_eq!(limit.0.lock().len(), 1, "users without connections are removed");
    }
}

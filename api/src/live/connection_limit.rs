//! How many WebSockets a user has open here.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use errand_shared::Uuid;

/// The seats of all users; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectionLimit(Arc<Mutex<HashMap<Uuid, u32>>>);

/// One WebSocket's seat, free again when dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    seats: ConnectionLimit,
    user_id: Uuid,
}

impl ConnectionLimit {
    /// A seat for a user, unless `most` are taken; 0 is no bound.
    pub(crate) fn take(&self, user_id: Uuid, most: u32) -> Option<ConnectionPermit> {
        let mut taken = self.taken();
        let count = taken.entry(user_id).or_insert(0);
        if most > 0 && *count >= most {
            return None;
        }
        *count += 1;
        drop(taken);
        Some(ConnectionPermit {
            seats: self.clone(),
            user_id,
        })
    }

    /// No code that panics runs under the lock, so a poisoned one is as good as any.
    fn taken(&self) -> MutexGuard<'_, HashMap<Uuid, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut taken = self.seats.taken();
        if let Some(count) = taken.get_mut(&self.user_id) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.user_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_free_again_when_it_is_left_and_users_do_not_share() {
        let seats = ConnectionLimit::default();
        let (ada, bob) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let first = seats.take(ada, 1).unwrap();
        assert!(seats.take(ada, 1).is_none());
        assert!(seats.take(bob, 1).is_some());
        drop(first);
        let _again = seats.take(ada, 1).unwrap();
        assert!(seats.take(ada, 0).is_some(), "0 is no bound");
        assert_eq!(seats.taken().len(), 1, "who has left is forgotten");
    }
}

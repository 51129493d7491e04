//! Chooses whose notification is next when there are more than free slots, so that users share the workers fairly.
//!
//! Start-time fair queueing with a run as the unit of work. Each user has a queue and a virtual start time. A user who was served and has
//! more runs is due 1 after the current virtual time, a user who arrives 0.5 after it. So a user with a single message is served before the
//! next message of a user with many, who is served right after.

use errand_shared::signals::{redis_client::RedisClient, wire::ReadyNotice};
use redis::{RedisError, Script, aio::MultiplexedConnection};

/// Moves notifications from the list to the queues of their users, then takes the first ones in virtual time. If some are left, it appends
/// an empty entry to the list, which wakes a worker that is blocked there.
///
/// Keys: the list; the users by virtual start time (sorted set); the current virtual time. Arguments: how many to take; the key prefix of
/// users' queues, which contain run ids; the maximum number of entries to move.
const TAKE: &str = r"
local ready, users, clock = KEYS[1], KEYS[2], KEYS[3]
local max_taken, prefix, max_moved = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local now = tonumber(redis.call('GET', clock) or '0')
local first = redis.call('ZRANGE', users, 0, 0, 'WITHSCORES')
if first[2] then
    now = math.max(now, tonumber(first[2]) - 1)
end
local moved = 0
while moved < max_moved do
    local entries = redis.call('LPOP', ready, 1000)
    if not entries then
        break
    end
    for _, entry in ipairs(entries) do
        if #entry == 41 and string.sub(entry, 1, 1) == 'r' then
            local user, run = string.sub(entry, 2, 17), string.sub(entry, 18, 33)
            redis.call('RPUSH', prefix .. user, run)
            redis.call('ZADD', users, 'NX', now + 0.5, user)
        end
    end
    moved = moved + #entries
end
local taken = {}
while #taken < max_taken do
    local next = redis.call('ZPOPMIN', users)
    local user = next[1]
    if not user then
        break
    end
    local run = redis.call('LPOP', prefix .. user)
    if run then
        now = tonumber(next[2])
        taken[#taken + 1] = 'r' .. user .. run .. string.rep('\0', 8)
        if redis.call('EXISTS', prefix .. user) == 1 then
            redis.call('ZADD', users, now + 1, user)
        end
    end
end
redis.call('SET', clock, now)
if redis.call('EXISTS', users) == 1 and redis.call('EXISTS', ready) == 0 then
    redis.call('RPUSH', ready, '')
end
return taken
";

/// The maximum number of entries that one script call moves, which takes Redis a fraction of a second.
const MAX_MOVED: usize = 20_000;

/// Takes notifications from the queues of users.
pub(super) struct FairQueue {
    script: Script,
    keys: [String; 3],
    prefix: String,
}

impl std::fmt::Debug for FairQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FairQueue").finish_non_exhaustive()
    }
}

impl FairQueue {
    pub(super) fn new(redis: &RedisClient) -> Self {
        Self {
            script: Script::new(TAKE),
            keys: [redis.ready_key(), redis.turns_key(), redis.turn_key()],
            prefix: redis.lane_prefix(),
        }
    }

    /// Takes at most `max` notifications; fewer only if there are no more.
    ///
    /// # Errors
    /// A Redis error.
    pub(super) async fn take(
        &self,
        connection: &mut MultiplexedConnection,
        max: usize,
    ) -> Result<Vec<ReadyNotice>, RedisError> {
        let mut call = self.script.prepare_invoke();
        for key in &self.keys {
            call.key(key);
        }
        call.arg(max).arg(&self.prefix).arg(MAX_MOVED);
        let entries: Vec<Vec<u8>> = call.invoke_async(connection).await?;
        Ok(entries
            .iter()
            .filter_map(|entry| ReadyNotice::decode(entry))
            .collect())
    }
}

//! Whose hint is next when there is not room for all: users take turns.
//!
//! Start-time fair queueing, with a run as the unit: a user who comes is due half a turn after the one that was served last, one
//! who was served and has more a whole turn after. So who comes with one message goes before the next of somebody's many, and
//! those many still have their turn after that.

use errand_shared::signals::{redis_client::RedisClient, wire::ReadyNotice};
use redis::{RedisError, Script, aio::MultiplexedConnection};

/// Sorts what has come into the lanes of its users, then takes by turns. What is left is for the next one to take: an empty
/// entry in the list says so to a worker that waits there.
///
/// Keys: the list, the turns, the turn. Arguments: how many to take, what lanes begin with, how many to sort at most. A lane
/// holds ids of runs.
const TAKE: &str = r"
local ready, turns, turn = KEYS[1], KEYS[2], KEYS[3]
local room, lane, most = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local now = tonumber(redis.call('GET', turn) or '0')
local first = redis.call('ZRANGE', turns, 0, 0, 'WITHSCORES')
if first[2] then
    now = math.max(now, tonumber(first[2]) - 1)
end
local sorted = 0
while sorted < most do
    local entries = redis.call('LPOP', ready, 1000)
    if not entries then
        break
    end
    for _, entry in ipairs(entries) do
        if #entry == 41 and string.sub(entry, 1, 1) == 'r' then
            local user, run = string.sub(entry, 2, 17), string.sub(entry, 18, 33)
            redis.call('RPUSH', lane .. user, run)
            redis.call('ZADD', turns, 'NX', now + 0.5, user)
        end
    end
    sorted = sorted + #entries
end
local taken = {}
while #taken < room do
    local next = redis.call('ZPOPMIN', turns)
    local user = next[1]
    if not user then
        break
    end
    local run = redis.call('LPOP', lane .. user)
    if run then
        now = tonumber(next[2])
        taken[#taken + 1] = 'r' .. user .. run .. string.rep('\0', 8)
        if redis.call('EXISTS', lane .. user) == 1 then
            redis.call('ZADD', turns, now + 1, user)
        end
    end
end
redis.call('SET', turn, now)
if redis.call('EXISTS', turns) == 1 and redis.call('EXISTS', ready) == 0 then
    redis.call('RPUSH', ready, '')
end
return taken
";

/// Hints sorted in one go, at most: a fraction of a second of Redis's time.
const MOST_SORTED: usize = 20_000;

/// Takes hints by turns.
pub(super) struct Turns {
    script: Script,
    keys: [String; 3],
    lanes: String,
}

impl std::fmt::Debug for Turns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turns").finish_non_exhaustive()
    }
}

impl Turns {
    pub(super) fn new(redis: &RedisClient) -> Self {
        Self {
            script: Script::new(TAKE),
            keys: [redis.ready_key(), redis.turns_key(), redis.turn_key()],
            lanes: redis.lane_prefix(),
        }
    }

    /// Takes at most `room` hints; less only if there are no more.
    ///
    /// # Errors
    /// A fault of Redis.
    pub(super) async fn take(
        &self,
        connection: &mut MultiplexedConnection,
        room: usize,
    ) -> Result<Vec<ReadyNotice>, RedisError> {
        let mut call = self.script.prepare_invoke();
        for key in &self.keys {
            call.key(key);
        }
        call.arg(room).arg(&self.lanes).arg(MOST_SORTED);
        let entries: Vec<Vec<u8>> = call.invoke_async(connection).await?;
        Ok(entries
            .iter()
            .filter_map(|entry| ReadyNotice::decode(entry))
            .collect())
    }
}

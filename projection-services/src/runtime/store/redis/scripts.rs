//! What Redis does in one step. `checkpoint` of a generation is a hash: `position`, `event_id` and `log_epoch` of its mark,
//! `lane:N` of lanes that are ahead of it (position and, perhaps, event id), `fence`, and `shown_from`: until it has come
//! there, queries ask Postgres.

use redis::Script;
use std::sync::LazyLock;

/// KEYS: checkpoint, live. ARGV: prefix, fence, `live` or nothing, `shown_from`, `new` or nothing.
///
/// Takes the generation for the holder of the fence, whatever it has. Answers `fenced`, `lost` if there is nothing and it is
/// not to be made `new`, or `taken`.
pub static TAKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local mark = redis.call('hmget', KEYS[1], 'fence', 'position', 'shown_from')
         local prefix, fence, is_live, shown_from = ARGV[1], ARGV[2], ARGV[3] == 'live', tonumber(ARGV[4])
         if not mark[1] then
             if ARGV[5] ~= 'new' then return 'lost' end
             redis.call('hset', KEYS[1], 'position', '0', 'event_id', '', 'log_epoch', '0')
         elseif tonumber(mark[1]) > tonumber(fence) then
             return 'fenced'
         end
         redis.call('hset', KEYS[1], 'fence', fence)
         local position = tonumber(mark[2] or '0')
         shown_from = math.max(shown_from, tonumber(mark[3] or '0'))
         if position < shown_from then
             redis.call('hset', KEYS[1], 'shown_from', string.format('%.0f', shown_from))
             if redis.call('get', KEYS[2]) == prefix then redis.call('del', KEYS[2]) end
         elseif is_live then
             redis.call('hdel', KEYS[1], 'shown_from')
             redis.call('set', KEYS[2], prefix)
         end
         return 'taken'",
    )
});

/// KEYS: checkpoint, hold, live. ARGV: prefix, fence, `live` or nothing, position before, fields and values of the checkpoint
/// as one list with its length, position after (or nothing), then operations: name, key, value.
///
/// Answers `fenced`, `lost` if the generation is not where it was left, `held` while it is read, or `written`.
pub static WRITE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local mark = redis.call('hmget', KEYS[1], 'fence', 'position', 'shown_from')
         if not mark[1] then return 'lost' end
         if mark[1] ~= ARGV[2] then return 'fenced' end
         if mark[2] ~= ARGV[4] then return 'lost' end
         if redis.call('exists', KEYS[2]) == 1 then return 'held' end
         local prefix, fields, after = ARGV[1], tonumber(ARGV[5]), ARGV[6]
         for i = 7, 6 + fields, 2 do redis.call('hset', KEYS[1], ARGV[i], ARGV[i + 1]) end
         for i = 7 + fields, #ARGV, 3 do
             local key, value = prefix .. ARGV[i + 1], ARGV[i + 2]
             if ARGV[i] == 'set' then redis.call('set', key, value)
             elseif ARGV[i] == 'del' then redis.call('del', key)
             else redis.call(ARGV[i], key, value) end
         end
         if after ~= '' and mark[3] and tonumber(after) >= tonumber(mark[3]) then
             redis.call('hdel', KEYS[1], 'shown_from')
             if ARGV[3] == 'live' then redis.call('set', KEYS[3], prefix) end
         end
         return 'written'",
    )
});

/// KEYS: checkpoint, live. ARGV: prefix. Shows the generation if it is there as a whole, else none.
pub static SHOW: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local mark = redis.call('hmget', KEYS[1], 'fence', 'shown_from')
         if mark[1] and not mark[2] then return redis.call('set', KEYS[2], ARGV[1]) end
         return redis.call('del', KEYS[2])",
    )
});

//! Reading what a generation holds: whichever is live, how far it is and what it has, in one round trip.

use crate::keys;
use redis::Script;
use redis::aio::ConnectionManager;
use redis::{RedisResult, Value};
use std::sync::LazyLock;
use std::time::Duration;

/// Something that was found, and the position of the log at which it is true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub position: i64,
    pub value: Vec<u8>,
}

/// KEYS: live, meanwhile. ARGV: kind, `by slug` or nothing, names. Answers position and value of each name, or false twice.
static READ: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local live = redis.call('get', KEYS[1])
         local position = live and redis.call('hget', live .. 'checkpoint', 'position')
         local found = {}
         for i = 3, #ARGV do
             local name, value = ARGV[i], false
             if position then
                 local key = name
                 if ARGV[2] ~= '' then key = redis.call('get', live .. ARGV[2] .. name) end
                 value = key and redis.call('get', live .. ARGV[1] .. key)
             end
             if value then
                 found[2 * i - 5], found[2 * i - 4] = position, value
             else
                 local meanwhile = redis.call('hmget', KEYS[2] .. ARGV[1] .. ARGV[2] .. name, 'position', 'value')
                 found[2 * i - 5], found[2 * i - 4] = meanwhile[1], meanwhile[2]
             end
         end
         return found",
    )
});

/// KEYS: the meanwhile key. ARGV: position, value, milliseconds. What is there and newer stays.
static STAND_IN: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local there = redis.call('hget', KEYS[1], 'position')
         if there and tonumber(there) >= tonumber(ARGV[1]) then return 0 end
         redis.call('hset', KEYS[1], 'position', ARGV[1], 'value', ARGV[2])
         return redis.call('pexpire', KEYS[1], ARGV[3])",
    )
});

/// Reads one projection.
#[derive(Clone)]
pub struct Reader {
    connection: ConnectionManager,
    live: String,
    meanwhile: String,
}

impl Reader {
    pub fn new(connection: ConnectionManager, projection: &str) -> Reader {
        Reader { connection, live: keys::live(projection), meanwhile: keys::meanwhile(projection) }
    }

    /// The values of this kind under these names, in their order. `by`: they are names of the values' names, such as
    /// [`keys::SLUG`]. `None`: Redis has none, which does not mean that there is none.
    pub async fn read(&self, kind: &str, by: Option<&str>, names: &[&str]) -> RedisResult<Vec<Option<Found>>> {
        let mut call = READ.key(&self.live);
        call.key(&self.meanwhile).arg(kind).arg(by.unwrap_or_default()).arg(names);
        let found: Vec<Value> = call.invoke_async(&mut self.connection.clone()).await?;
        let mut found = found.into_iter();
        Ok(names.iter().map(|_| pair(found.next()?, found.next()?)).collect())
    }

    /// Keeps for a moment what Postgres has answered at its position and Redis lacks, unless there is something newer: no
    /// projector keeps it up to date.
    pub async fn stand_in(
        &self,
        kind: &str,
        by: Option<&str>,
        name: &str,
        Found { position, value }: &Found,
        moment: Duration,
    ) -> RedisResult<()> {
        let mut call = STAND_IN.key(format!("{}{kind}{}{name}", self.meanwhile, by.unwrap_or_default()));
        call.arg(*position).arg(value.as_slice()).arg(moment.as_millis() as u64);
        call.invoke_async(&mut self.connection.clone()).await
    }
}

fn pair(position: Value, value: Value) -> Option<Found> {
    let (Value::BulkString(position), Value::BulkString(value)) = (position, value) else { return None };
    Some(Found { position: std::str::from_utf8(&position).ok()?.parse().ok()?, value })
}

-- The log: every event of the shop, once, in commit order. Written by append_batch only; never updated, never deleted.
--
-- A superset of the table of postgres-es, so that its stock repository reads it: `position` and `recorded_at` are ours.
-- Hash partitions keep each index small enough to stay in memory as the log grows.
create table events (
    aggregate_type text        collate "C" not null, -- compared byte by byte: the indexes are half as costly
    aggregate_id   text        collate "C" not null,
    sequence       bigint      not null check (sequence >= 1), -- place in the aggregate's stream: 1, 2, 3 ...
    event_type     text        not null,
    event_version  text        not null, -- semantic version of the event type
    payload        json        compression lz4 not null, -- as it was sent: jsonb would cost a parse and lose the text
    metadata       json        not null,
    position       bigint      not null, -- place in the log: 1, 2, 3 ... without a gap
    recorded_at    timestamptz not null, -- when the batch of this event was appended
    primary key (aggregate_type, aggregate_id, sequence)
) partition by hash (aggregate_id);

create table events_0 partition of events for values with (modulus 4, remainder 0);
create table events_1 partition of events for values with (modulus 4, remainder 1);
create table events_2 partition of events for values with (modulus 4, remainder 2);
create table events_3 partition of events for values with (modulus 4, remainder 3);

-- Not unique: on a partitioned table a unique index must contain aggregate_id. The gate in append_batch makes it so.
create index events_position on events (position);

-- The gate: one row, locked for the length of an append, so that position order is commit order. It is locked, not
-- updated: a row version for every batch would pile up behind any old snapshot and slow every append down.
create table log_head (
    one      boolean primary key default true check (one),
    epoch    bigint  not null, -- raised when the log may have lost commits
    timeline text    not null  -- of the Postgres cluster, when the epoch was raised
);
insert into log_head (epoch, timeline) values (1, substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8));

-- Where each batch ended, and when. The last row tells the head of the log at a third of what asking every partition for
-- its last position costs.
create table log_batches (
    position    bigint primary key, -- of the batch's last event
    recorded_at timestamptz not null
);

-- What became of each command: written with its events, so that a retry gets the first outcome.
create table idempotency_keys (
    key            uuid   primary key, -- of the principal and the client's key
    fingerprint    bigint not null,    -- of the request: the same key with another request is refused
    first_position bigint not null,    -- of the command's first event: it tells the aggregate
    position       bigint not null,    -- of the command's last event
    version        bigint not null     -- of the command's first stream, after it
) with (fillfactor = 100);
-- For pruning: keys are written in the order of positions.
create index idempotency_keys_position on idempotency_keys using brin (position);

-- The state of long streams at some version: a cache, written apart from the log, which may be emptied at any time.
create table snapshots (
    aggregate_type text   not null,
    aggregate_id   text   not null,
    sequence       bigint not null, -- of the last event folded in
    form           bigint not null, -- fingerprint of the state's Rust type: another form is not read
    payload        json   not null,
    primary key (aggregate_type, aggregate_id)
);

-- Appends a batch whole, or refuses it whole and writes nothing; the caller then asks stream_versions and the keys why.
--
-- Streams: those that must exist, or must not (0), with the version they must be at; a first event checks itself.
-- Keys: for each append, its key, fingerprint, the numbers of its first and last event in the batch, the version it
-- leads to.
-- Events: in the order of their positions.
-- Returns the position before the first event of the batch.
create function append_batch(
    expected_epoch bigint,
    stream_types text[], stream_ids text[], stream_versions bigint[],
    keys uuid[], fingerprints bigint[], first_events bigint[], last_events bigint[], key_versions bigint[],
    types text[], ids text[], sequences bigint[], event_types text[], event_versions text[], payloads text[], metadata text[]
) returns bigint
language plpgsql security definer
-- Index lookups only: a plan made while the tables were empty must not scan them when they are large.
set search_path = public, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set plan_cache_mode = force_generic_plan
set lock_timeout = '10s'
as $$
declare
    head     bigint;
    current  bigint;
    found_at bigint;
    beyond   bigint;
    now_at   timestamptz;
begin
    select epoch into current from log_head for no key update;
    if current <> expected_epoch then
        raise exception 'the log is at epoch %, the writer at %', current, expected_epoch using errcode = 'KT001';
    end if;
    select position into head from log_batches order by position desc limit 1;
    head := coalesce(head, 0);
    now_at := clock_timestamp();

    if cardinality(stream_ids) > 0 then
        select count(*) filter (where e.sequence = s.version), count(*) filter (where e.sequence > s.version)
        into found_at, beyond
        from unnest(stream_types, stream_ids, stream_versions) as s (type, id, version)
        join events e on e.aggregate_type = s.type and e.aggregate_id = s.id
            and e.sequence between s.version and s.version + 1;
        if found_at <> (select count(*) from unnest(stream_versions) v where v > 0) or beyond > 0 then
            raise exception 'a stream is not at its expected version' using errcode = 'KT002';
        end if;
    end if;

    if cardinality(ids) = 0 then
        return head;
    end if;
    -- Keys first: a retry is refused before anything large is written.
    insert into idempotency_keys (key, fingerprint, first_position, position, version)
    select k.key, k.fingerprint, head + k.first_event, head + k.last_event, k.version
    from unnest(keys, fingerprints, first_events, last_events, key_versions)
        as k (key, fingerprint, first_event, last_event, version);

    insert into events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, position,
        recorded_at)
    select e.type, e.id, e.sequence, e.event_type, e.event_version, e.payload::json, e.metadata::json, head + e.n,
        now_at
    from unnest(types, ids, sequences, event_types, event_versions, payloads, metadata) with ordinality
        as e (type, id, sequence, event_type, event_version, payload, metadata, n);

    insert into log_batches (position, recorded_at) values (head + cardinality(ids), now_at);
    return head;
end
$$;

-- Why a batch was refused: the version that each stream is at (0: none), in the order given.
create function stream_versions(stream_types text[], stream_ids text[]) returns setof bigint
language sql stable
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
    select coalesce((
        select e.sequence from events e
        where e.aggregate_type = s.type and e.aggregate_id = s.id
        order by e.sequence desc limit 1
    ), 0)
    from unnest(stream_types, stream_ids) with ordinality as s (type, id, n)
    order by s.n
$$;

-- Called by every writer when it connects. A cluster on another timeline than the log's last was promoted or restored,
-- and may have lost commits that writers still hold in memory: the epoch is raised, and writers forget what they hold.
create function open_log() returns bigint
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
    now_on text := substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8);
    result bigint;
begin
    update log_head set epoch = epoch + 1, timeline = now_on where timeline <> now_on;
    select epoch into result from log_head;
    return result;
end
$$;

-- Forgets up to `most` keys whose command was recorded before `before`; returns how many.
create function prune_idempotency_keys(before timestamptz, most bigint) returns bigint
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
    low     bigint := 0;
    high    bigint;
    middle  bigint;
    removed bigint;
begin
    -- Positions are in the order of recorded_at, so the last one to forget is found by halving.
    select coalesce(max(position), 0) into high from log_batches;
    while low < high loop
        middle := (low + high + 1) / 2;
        if (select recorded_at from log_batches where position >= middle order by position limit 1) < before then
            low := middle;
        else
            high := middle - 1;
        end if;
    end loop;
    delete from idempotency_keys where ctid = any (array(
        select ctid from idempotency_keys where position <= low limit most
    ));
    get diagnostics removed = row_count;
    return removed;
end
$$;

-- The second wall behind the grants: not even the owner edits the log.
create function refuse_to_edit_the_log() returns trigger language plpgsql as $$
begin
    raise exception 'the log is never edited: % on % refused', tg_op, tg_table_name using errcode = 'insufficient_privilege';
end
$$;
create trigger events_are_final before update or delete on events
    for each row execute function refuse_to_edit_the_log();
create trigger batches_are_final before update or delete on log_batches
    for each row execute function refuse_to_edit_the_log();
create trigger batches_are_kept before truncate on log_batches execute function refuse_to_edit_the_log();
-- Row triggers reach the partitions by themselves, truncate triggers do not.
create trigger events_are_kept before truncate on events execute function refuse_to_edit_the_log();
create trigger events_are_kept before truncate on events_0 execute function refuse_to_edit_the_log();
create trigger events_are_kept before truncate on events_1 execute function refuse_to_edit_the_log();
create trigger events_are_kept before truncate on events_2 execute function refuse_to_edit_the_log();
create trigger events_are_kept before truncate on events_3 execute function refuse_to_edit_the_log();

revoke all on function append_batch, open_log, prune_idempotency_keys from public;
grant execute on function append_batch, open_log, prune_idempotency_keys to kontor_command;
grant select on events, log_head, log_batches to kontor_command, kontor_relay, kontor_projector, kontor_query, kontor_auditor;
grant select on idempotency_keys to kontor_command, kontor_auditor;
grant select, insert, update, delete on snapshots to kontor_command;

-- append_batch does before its gate whatever may be done there, beside the commit of the batch ahead of it: it reads the
-- JSON, which is an argument of that type now, finds the events that the batch builds on, and books its keys. Those events
-- stay in the log once they are there; that the next ones are not is told by the primary key as before. A key that somebody
-- else is booking is waited for.

drop function append_batch;

-- Positions are given out behind the gate, so a key names its batch, and the places of its events within it.
create sequence log_batch_ids;
alter table log_batches
    add column batch  bigint unique, -- none before this migration
    add column before bigint;        -- position before the batch's first event
alter table idempotency_keys rename column first_position to first_event;
alter table idempotency_keys rename column position to last_event;
alter table idempotency_keys add column batch bigint not null default 0; -- 0: the events' places are positions
alter table idempotency_keys alter column batch drop default;
drop index idempotency_keys_position;
-- For pruning: keys are written in the order of batches, or nearly.
create index idempotency_keys_batch on idempotency_keys using brin (batch);

-- What became of each command.
create view command_outcomes as
    select k.key, k.fingerprint, coalesce(b.before, 0) + k.first_event as first_position,
        coalesce(b.before, 0) + k.last_event as position, k.version
    from idempotency_keys k left join log_batches b on b.batch = k.batch;

-- Appends a batch whole, or refuses it whole and writes nothing; the caller then asks stream_versions and the keys why.
--
-- Present: events that the batch builds on. Absent: events that must not be there although the batch does not add them,
-- since an append of it was decided on their stream without going on it.
-- Keys: for each append, its key, fingerprint, the numbers of its first and last event in the batch, the version it
-- leads to.
-- Events: in the order of their positions.
-- Returns the position before the first event of the batch.
create function append_batch(
    expected_epoch bigint,
    present_types text[], present_ids text[], present_sequences bigint[],
    absent_types text[], absent_ids text[], absent_sequences bigint[],
    keys uuid[], fingerprints bigint[], first_events bigint[], last_events bigint[], key_versions bigint[],
    types text[], ids text[], sequences bigint[], event_types text[], event_versions text[], payloads json[], metadata json[]
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
    head    bigint;
    current bigint;
    known   bigint;
    now_at  timestamptz;
    ours    bigint;
begin
    if cardinality(present_ids) > 0 then
        select count(*) into known
        from unnest(present_types, present_ids, present_sequences) as s (type, id, sequence)
        join events e on e.aggregate_type = s.type and e.aggregate_id = s.id and e.sequence = s.sequence;
        if known < cardinality(present_ids) then
            raise exception 'a stream is not at its expected version' using errcode = 'KT002';
        end if;
    end if;

    if cardinality(keys) > 0 then
        ours := nextval('log_batch_ids');
        insert into idempotency_keys (key, fingerprint, batch, first_event, last_event, version)
        select k.key, k.fingerprint, ours, k.first_event, k.last_event, k.version
        from unnest(keys, fingerprints, first_events, last_events, key_versions)
            as k (key, fingerprint, first_event, last_event, version)
        order by k.key; -- So that two batches with the same keys cannot wait on each other.
    end if;

    -- The gate. Each statement after it sees all that was committed before.
    select epoch into current from log_head for no key update;
    if current <> expected_epoch then
        raise exception 'the log is at epoch %, the writer at %', current, expected_epoch using errcode = 'KT001';
    end if;
    select position into head from log_batches order by position desc limit 1;
    head := coalesce(head, 0);
    now_at := clock_timestamp();

    if cardinality(absent_ids) > 0 then
        perform from unnest(absent_types, absent_ids, absent_sequences) as s (type, id, sequence)
        join events e on e.aggregate_type = s.type and e.aggregate_id = s.id and e.sequence = s.sequence;
        if found then
            raise exception 'a stream is not at its expected version' using errcode = 'KT002';
        end if;
    end if;

    if cardinality(ids) = 0 then
        return head;
    end if;
    insert into events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, position,
        recorded_at)
    select e.type, e.id, e.sequence, e.event_type, e.event_version, e.payload, e.metadata, head + e.n, now_at
    from unnest(types, ids, sequences, event_types, event_versions, payloads, metadata) with ordinality
        as e (type, id, sequence, event_type, event_version, payload, metadata, n);

    insert into log_batches (position, recorded_at, batch, before) values (head + cardinality(ids), now_at, ours, head);
    return head;
end
$$;

revoke all on function append_batch from public;
grant execute on function append_batch to kontor_command;

-- Forgets up to `most` keys whose command was recorded before `before`; returns how many.
create or replace function prune_idempotency_keys(before timestamptz, most bigint) returns bigint
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
    low     bigint := 0;
    high    bigint;
    middle  bigint;
    last    bigint;
    removed bigint;
begin
    -- Positions are in the order of recorded_at, so the last one to forget is found by halving.
    select coalesce(max(position), 0) into high from log_batches;
    while low < high loop
        middle := (low + high + 1) / 2;
        if (select recorded_at from log_batches where position >= middle order by position limit 1) < $1 then
            low := middle;
        else
            high := middle - 1;
        end if;
    end loop;
    select batch into last from log_batches where position <= low order by position desc limit 1;
    delete from idempotency_keys where ctid = any (array(
        select ctid from idempotency_keys where batch <= last limit most
    ));
    get diagnostics removed = row_count;
    return removed;
end
$$;

grant select on command_outcomes to kontor_command, kontor_auditor;

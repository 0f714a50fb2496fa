-- append_batch does before its gate whatever may be done there, beside the commit of the batch ahead of it: it reads the
-- JSON, which is an argument of that type now, and finds the events that the batch builds on. Those stay in the log once
-- they are there, and that the next ones are not is told by the primary key as before.

drop function append_batch;

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
begin
    if cardinality(present_ids) > 0 then
        select count(*) into known
        from unnest(present_types, present_ids, present_sequences) as s (type, id, sequence)
        join events e on e.aggregate_type = s.type and e.aggregate_id = s.id and e.sequence = s.sequence;
        if known < cardinality(present_ids) then
            raise exception 'a stream is not at its expected version' using errcode = 'KT002';
        end if;
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
    -- Keys first: a retry is refused before anything large is written.
    insert into idempotency_keys (key, fingerprint, first_position, position, version)
    select k.key, k.fingerprint, head + k.first_event, head + k.last_event, k.version
    from unnest(keys, fingerprints, first_events, last_events, key_versions)
        as k (key, fingerprint, first_event, last_event, version);

    insert into events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, position,
        recorded_at)
    select e.type, e.id, e.sequence, e.event_type, e.event_version, e.payload, e.metadata, head + e.n, now_at
    from unnest(types, ids, sequences, event_types, event_versions, payloads, metadata) with ordinality
        as e (type, id, sequence, event_type, event_version, payload, metadata, n);

    insert into log_batches (position, recorded_at) values (head + cardinality(ids), now_at);
    return head;
end
$$;

revoke all on function append_batch from public;
grant execute on function append_batch to kontor_command;

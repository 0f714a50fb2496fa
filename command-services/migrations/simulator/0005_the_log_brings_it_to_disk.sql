-- A request does not wait for the disk: what the shop notes of the answer is a later commit to the same write-ahead log, and
-- reaches the disk with it or after it. Without that note the shop asks again, under the attempt's key. Most requests are
-- authorisations that nobody is told of, and cost nothing but their line.

-- Does what each attempt asks for, unless it was done before; answers with the rows of all of them. `states` and `codes`
-- are what the tokens want to become of them, `told_*` what the shop will be told of those that are new.
create or replace function perform(
    attempts uuid[], payments uuid[], orders uuid[], operations text[], methods text[], amounts bigint[],
    currencies text[], states text[], codes text[],
    told_attempts uuid[], told_events text[], told_deliveries integer[], told_states text[], told_codes text[],
    told_after_ms bigint[]
) returns setof ledger
language plpgsql security definer
set search_path = simulator, pg_temp
set plan_cache_mode = force_generic_plan -- As of 0004.
set enable_seqscan = off
as $$
declare
    fresh   uuid[];
    request record;
    why     text;
begin
    perform set_config('synchronous_commit', 'off', true); -- Until the end of the transaction.
    -- In order, so that the batches of two processes cannot wait on each other.
    with new as (
        insert into ledger (attempt, payment, order_id, operation, method, amount_minor, currency, state, code)
            select * from unnest(attempts, payments, orders, operations, methods, amounts, currencies, states, codes)
                as r (attempt, payment, order_id, operation, method, amount_minor, currency, state, code)
            where r.operation = 'authorise' order by r.payment, r.attempt
            on conflict do nothing
            returning attempt
    )
    select coalesce(array_agg(attempt), '{}') into fresh from new;
    -- Each of the others on what those before it have left.
    if cardinality(array_remove(operations, 'authorise')) > 0 then
        for request in
            select * from unnest(attempts, payments, orders, operations, methods, amounts, currencies, states, codes)
                as r (attempt, payment, order_id, operation, method, amount_minor, currency, state, code)
            where r.operation <> 'authorise' order by r.payment, r.attempt
        loop
            perform from ledger l where l.payment = request.payment and l.operation = 'authorise' for update;
            continue when exists (select from ledger l where l.attempt = request.attempt);
            why := refusal(request.operation, request.payment, request.amount_minor, request.currency);
            insert into ledger (attempt, payment, order_id, operation, method, amount_minor, currency, state, code)
                values (request.attempt, request.payment, request.order_id, request.operation, request.method,
                        request.amount_minor, request.currency,
                        case when why is null then request.state else 'failed' end, coalesce(why, request.code));
            if why is null then fresh := fresh || request.attempt; end if;
        end loop;
    end if;
    if cardinality(told_attempts) > 0 then
        insert into webhooks (event, delivery, attempt, state, code, due_at)
            select t.event, t.delivery, t.attempt, t.state, t.code, clock_timestamp() + t.after_ms * interval '1 ms'
            from unnest(told_attempts, told_events, told_deliveries, told_states, told_codes, told_after_ms)
                as t (attempt, event, delivery, state, code, after_ms)
            where t.attempt = any (fresh)
            on conflict do nothing; -- The same attempt twice in one batch.
    end if;
    return query select l.* from ledger l where l.attempt = any (attempts);
end
$$;

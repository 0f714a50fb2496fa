-- A refund that was done may fail all the same: the customer's bank sends it back, and the money is the shop's again.

-- Takes up to `most` webhooks that are due. What a webhook tells comes to be when it is taken. One that is not marked as
-- delivered falls due again, later each time: the shop, or the process that took it, was not there.
create or replace function take_webhooks(most integer, again_after_ms bigint)
    returns table (event text, delivery integer, now timestamptz, number bigint, attempt uuid, payment uuid,
                   order_id uuid, operation text, method text, amount_minor bigint, currency text,
                   state text, code text, asked_at timestamptz)
language plpgsql security definer
set search_path = simulator, pg_temp
as $$
#variable_conflict use_column
begin
    return query
        with due as (
            select w.event, w.delivery from webhooks w
            where w.delivered_at is null and w.due_at <= clock_timestamp()
            order by w.due_at, w.event, w.delivery limit most for update skip locked
        ), taken as (
            update webhooks w set tries = w.tries + 1,
                due_at = clock_timestamp() + least(again_after_ms * (1 << least(w.tries, 6)), 60000) * interval '1 ms'
            from due where w.event = due.event and w.delivery = due.delivery
            returning w.*
        ), settled as (
            update ledger l set state = t.state, code = t.code from taken t
            where l.attempt = t.attempt
                and (l.state = 'pending' and t.state <> 'pending' or l.state = 'done' and t.state = 'expired'
                     or l.state = 'done' and t.state = 'failed' and l.operation = 'refund')
        )
        select t.event, t.delivery, clock_timestamp(), l.number, l.attempt, l.payment, l.order_id, l.operation, l.method,
               l.amount_minor, l.currency, t.state, t.code, l.asked_at
        from taken t join ledger l on l.attempt = t.attempt order by t.due_at, t.event, t.delivery;
end
$$;

-- The ledger of the built-in payment simulator: what an outside provider would know, apart from the log and never read to
-- decide anything. kontor_command acts and looks through the functions below; nobody edits a row.
grant usage on schema simulator to kontor_command, kontor_auditor;

create table ledger (
    number       bigint      generated always as identity primary key, -- order of the export
    attempt      uuid        not null unique, -- the key under which it is done once
    payment      uuid        not null,
    order_id     uuid        not null,
    operation    text        not null check (operation in ('authorise', 'capture', 'void', 'refund')),
    method       text        not null, -- the test token
    amount_minor bigint      not null check (amount_minor > 0),
    currency     text        not null,
    state        text        not null check (state in ('pending', 'failed', 'done', 'expired')),
    code         text, -- why it failed
    asked_at     timestamptz not null default clock_timestamp(),
    check (state <> 'failed' or code is not null)
);
create unique index one_authorisation on ledger (payment) where operation = 'authorise';
create index what_followed on ledger (payment) where operation <> 'authorise';

-- What the shop is to be told, from `due_at` on and until it has answered.
create table webhooks (
    event        text        not null, -- the same for every delivery of one event
    delivery     integer     not null,
    attempt      uuid        not null references ledger (attempt),
    state        text        not null, -- that it tells
    code         text,
    due_at       timestamptz not null,
    tries        integer     not null default 0,
    delivered_at timestamptz,
    primary key (event, delivery)
);
create index undelivered on webhooks (due_at) where delivered_at is null;

-- Why the provider cannot do it; null: it can. The caller has locked the payment.
create function refusal(of_operation text, of_payment uuid, of_amount bigint, of_currency text) returns text
language plpgsql stable as $$
declare
    held     record;
    captured bigint;
    refunded bigint;
    voided   boolean;
begin
    select state, amount_minor, currency into held
        from simulator.ledger where payment = of_payment and operation = 'authorise';
    if not found then return 'no_such_payment'; end if;
    if held.currency <> of_currency then return 'other_currency'; end if;
    if held.state = 'expired' and of_operation <> 'refund' then return 'authorisation_expired'; end if;
    if held.state in ('pending', 'failed') then return 'not_authorised'; end if;
    -- What is pending counts as moved: it may be.
    select coalesce(sum(amount_minor) filter (where operation = 'capture'), 0),
           coalesce(sum(amount_minor) filter (where operation = 'refund'), 0),
           coalesce(bool_or(operation = 'void'), false)
        into captured, refunded, voided
        from simulator.ledger where payment = of_payment and operation <> 'authorise' and state <> 'failed';
    return case
        when of_operation in ('capture', 'void') and voided then 'voided'
        when of_operation = 'void' and captured > 0 then 'already_captured'
        when of_operation = 'capture' and captured + of_amount > held.amount_minor then 'amount_too_large'
        when of_operation = 'refund' and refunded + of_amount > captured then 'amount_too_large'
    end;
end
$$;

-- Does what each attempt asks for, unless it was done before; answers with the rows of all of them. `states` and `codes`
-- are what the tokens want to become of them, `told_*` what the shop will be told of those that are new.
create function perform(
    attempts uuid[], payments uuid[], orders uuid[], operations text[], methods text[], amounts bigint[],
    currencies text[], states text[], codes text[],
    told_attempts uuid[], told_events text[], told_deliveries integer[], told_states text[], told_codes text[],
    told_after_ms bigint[]
) returns setof ledger
language plpgsql security definer
set search_path = simulator, pg_temp
as $$
declare
    fresh   uuid[];
    request record;
    why     text;
begin
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
    insert into webhooks (event, delivery, attempt, state, code, due_at)
        select t.event, t.delivery, t.attempt, t.state, t.code, clock_timestamp() + t.after_ms * interval '1 ms'
        from unnest(told_attempts, told_events, told_deliveries, told_states, told_codes, told_after_ms)
            as t (attempt, event, delivery, state, code, after_ms)
        where t.attempt = any (fresh)
        on conflict do nothing; -- The same attempt twice in one batch.
    return query select l.* from ledger l where l.attempt = any (attempts);
end
$$;

-- Takes up to `most` webhooks that are due. What a webhook tells comes to be when it is taken. One that is not marked as
-- delivered falls due again, later each time: the shop, or the process that took it, was not there.
create function take_webhooks(most integer, again_after_ms bigint)
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
                and (l.state = 'pending' and t.state <> 'pending' or l.state = 'done' and t.state = 'expired')
        )
        select t.event, t.delivery, clock_timestamp(), l.number, l.attempt, l.payment, l.order_id, l.operation, l.method,
               l.amount_minor, l.currency, t.state, t.code, l.asked_at
        from taken t join ledger l on l.attempt = t.attempt order by t.due_at, t.event, t.delivery;
end
$$;

create function webhook_delivered(of_event text, of_delivery integer) returns void
language sql security definer
set search_path = simulator, pg_temp
as $$
    update webhooks set delivered_at = clock_timestamp() where event = of_event and delivery = of_delivery
$$;

revoke all on function refusal, perform, take_webhooks, webhook_delivered from public;
grant execute on function perform, take_webhooks, webhook_delivered to kontor_command;
grant select on ledger to kontor_command, kontor_auditor;

-- Mail to customers: one row for each event that calls for a mail, written together with the checkpoint, so that each such
-- event has its mail exactly once. Nothing here is personal: names and addresses stay sealed in the log until a mail is sent.
create table outbox (
    id              uuid        primary key, -- of the event; the Message-ID is derived from it
    position        bigint      not null,    -- of the event in the log
    kind            text        not null check (kind in ('order-confirmed', 'shipped', 'refunded', 'cart-abandoned')),
    order_id        uuid,
    cart_id         uuid,
    sequence        bigint      not null,    -- of the event in the stream of its order or cart
    -- due -> sending -> sent, due again after a passing failure, dead after a final one; dropped: not to be sent any more
    status          text        not null default 'due' check (status in ('due', 'sending', 'sent', 'dead', 'dropped')),
    attempts        integer     not null default 0,
    next_attempt_at timestamptz not null default now(),
    last_error      text,                    -- why it failed or was dropped, without the customer's address
    queued_at       timestamptz not null default now(),
    settled_at      timestamptz,             -- when it was sent, given up or dropped
    check ((order_id is null) <> (cart_id is null))
) with (fillfactor = 80);

-- What is to be sent next; most rows are sent and in no index but these two of the last three.
create index outbox_due on outbox (next_attempt_at) where status = 'due';
create index outbox_waiting on outbox (queued_at) where status in ('due', 'sending');
create index outbox_not_sent on outbox (status, position) where status in ('dead', 'dropped');
create index outbox_position on outbox (position);
create index outbox_order on outbox (order_id) where order_id is not null;

-- Up to which position every event that calls for a mail is in the outbox.
create table checkpoint (
    one      boolean primary key default true check (one),
    position bigint  not null
);
-- Where the log ends now: nobody is to be mailed about what happened before there was mail.
insert into checkpoint (position) select coalesce(max(position), 0) from public.log_batches;

grant usage on schema notifications to kontor_command, kontor_auditor;
grant select, insert, update on outbox to kontor_command;
grant select, update on checkpoint to kontor_command;
grant select on outbox, checkpoint to kontor_auditor;

-- Orders: one row an order, as it was placed and as it stands.
create table orders (
    order_id       uuid        primary key,
    reference      text,                   -- the shop's own number
    customer_id    text,                   -- null: a guest
    country        text        not null,
    lines          json        compression lz4 not null, -- [{sku, quantity, unit_price: {amount_minor, currency}}];
                                           -- nobody searches it, so it is kept as text and never parsed
    order_lines    bigint      not null,
    units          bigint      not null,
    total_minor    bigint      not null,   -- minor units of `currency`
    currency       text        not null,   -- ISO 4217
    fulfilment     text        not null,   -- reserve, ship, checkout
    status         text        not null check (status in
        ('placed', 'authorised', 'confirmed', 'partly-shipped', 'shipped', 'delivered', 'cancelled')),
    placed_at      timestamptz not null,   -- business time
    cancelled_at   timestamptz,            -- business time
    position       bigint      not null,   -- last event folded in; an older one must not overwrite a newer one
    number         text,                   -- for people; null: not from checkout
    due_minor      bigint,                 -- what is to be paid, in `currency`
    captured_minor bigint      not null default 0,
    refunded_minor bigint      not null default 0,
    payment_id     uuid,                   -- null: not paid through us
    cancel_reason  text,
    -- Documents, as the events have them; nobody searches them. Null: there is none.
    breakdown      json compression lz4,   -- why the order costs what is due
    contact        json compression lz4,   -- {email, shipping_address, billing_address}; who it is is sealed: nothing here
                                           -- can be read without the subject's key
    shipments      json compression lz4,   -- [{shipment_id, parts, charge, tracking, shipped_at, delivered_at}]
    returns        json compression lz4,   -- [{return_id, state, parts, reason, refund, requested_at, received_at,
                                           --   restocked_at, refunded_at}]
    check ((cancelled_at is not null) = (status = 'cancelled'))
) with (fillfactor = 90);

-- A customer's orders, newest first, a page at a time. Guests have no such list.
create index orders_of_customer on orders (customer_id, placed_at desc, order_id desc) where customer_id is not null;

-- What people say on the telephone. Not unique: among a million orders, any two share a number once in 70,000 shops.
create index orders_by_number on orders (number) where number is not null;

-- Cancellations that were booked by themselves, without naming the order they take back.
create table cancellations (
    cancellation_id    uuid        primary key,
    reference          text,
    customer_id        text,
    country            text        not null,
    lines              json        compression lz4 not null, -- as in orders; what is taken back, so quantities are positive
    cancellation_lines bigint      not null,
    units              bigint      not null,
    total_minor        bigint      not null, -- owed to the customer, minor units of `currency`
    currency           text        not null,
    cancelled_at       timestamptz not null, -- business time
    position           bigint      not null
);

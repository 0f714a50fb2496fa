-- The first read models: products with their stock, and orders. Written by their projectors only; each may be emptied and
-- filled again from the log at any time.
grant usage on schema projections to kontor_projector, kontor_query, kontor_auditor;

-- How far each projection has come. Written in the transaction that writes the view, so that each event has its effect once.
create table checkpoints (
    projection text        primary key,
    position   bigint      not null check (position >= 0), -- of the last event applied; 0: none yet
    event_id   uuid,                                       -- of that event: tells whether the log still is the one we read
    log_epoch  bigint      not null,                       -- of the log when that event was applied
    worker     uuid        not null,                       -- who applied it; two at work find out by it
    written_at timestamptz not null default now(),
    check ((event_id is null) = (position = 0))
) with (fillfactor = 10); -- Each row is updated hundreds of times a second: in its own page, without touching the index.

-- Products as customers see them, with their stock: one row a SKU. Product and stock are two streams of events, so either
-- may be first: a row without a name is stock of what has not been registered, which no query lists.
create table products (
    sku              text    primary key,
    name             text,
    description      text,
    price_minor      bigint,  -- of one unit, in minor units of `currency`; null: not priced yet
    currency         text,    -- ISO 4217
    withdrawn        boolean not null default false,
    on_hand          bigint  not null default 0, -- units in the building
    available        bigint  not null default 0, -- units of them that no order holds
    -- The last event folded in, of each stream; an older one must not overwrite a newer one.
    product_position bigint  not null default 0,
    stock_position   bigint  not null default 0,
    check ((price_minor is null) = (currency is null))
) with (fillfactor = 50); -- Stock moves all the time: room for new versions of a row beside the old.

-- Orders: one document an order.
create table orders (
    order_id     uuid        primary key,
    reference    text,                   -- the shop's own number
    customer_id  text,                   -- null: a guest
    country      text        not null,
    lines        json        compression lz4 not null, -- [{sku, quantity, unit_price: {amount_minor, currency}}];
                                         -- nobody searches it, so it is kept as text and never parsed
    order_lines  bigint      not null,
    units        bigint      not null,
    total_minor  bigint      not null,   -- minor units of `currency`
    currency     text        not null,   -- ISO 4217
    fulfilment   text        not null,   -- reserve, ship
    status       text        not null check (status in ('placed', 'cancelled')),
    placed_at    timestamptz not null,   -- business time
    cancelled_at timestamptz,            -- business time
    position     bigint      not null,   -- last event folded in; an older one must not overwrite a newer one
    check ((cancelled_at is not null) = (status = 'cancelled'))
) with (fillfactor = 90);

-- A customer's orders, newest first, a page at a time. Guests have no such list.
create index orders_of_customer on orders (customer_id, placed_at desc, order_id desc) where customer_id is not null;

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

grant select, insert, update, delete on checkpoints, products, orders, cancellations to kontor_projector;
grant select on checkpoints, products, orders, cancellations to kontor_query, kontor_auditor;

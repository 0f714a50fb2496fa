-- How far the process managers have heard the log, and what was open then. All of it can be had from the log again: with
-- an empty table they hear it from the start. Written by the leading process only, on the connection that holds its lock.
grant usage on schema processes to kontor_command;

create table checkpoint (
    one      boolean primary key default true check (one),
    position bigint  not null, -- the last event that was heard
    epoch    bigint  not null  -- of the log; another one may have lost commits
);

-- Orders that something is to be done about.
create table orders (
    order_id uuid primary key
);

-- Carts that may be left behind.
create table carts (
    cart_id    uuid        primary key,
    changed_at timestamptz not null -- when their buyer last did something
);
create index carts_changed_at on carts (changed_at);

grant select, insert, update, delete on checkpoint, orders, carts to kontor_command;

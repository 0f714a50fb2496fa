-- Customers: one row each, of what their orders and carts say of them. Guests have none.
create table customers (
    customer_id    text        primary key,
    orders         bigint      not null, -- that were placed
    cancelled      bigint      not null, -- of them, that do not stand any more
    carts          bigint      not null, -- that they opened, or were given
    first_order_at timestamptz,          -- business time, as is the next
    last_order_at  timestamptz,
    totals         jsonb       not null, -- minor units by currency: what is due for orders that stand, less what was taken back
                                         -- by cancellations of their own
    contact        json compression lz4, -- of the last order from checkout, sealed as in the event
    position       bigint      not null  -- last event folded in; an older one must not overwrite a newer one
) with (fillfactor = 80);

-- What a cancellation takes back, and of whom: it names its order only.
create table customer_orders (
    order_id    uuid   primary key,
    customer_id text   not null,
    due_minor   bigint not null, -- minor units of `currency`
    currency    text   not null
);

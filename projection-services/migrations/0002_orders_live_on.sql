-- Orders live on after they were placed: they are paid, shipped, delivered and returned. All of an order is still one row.
-- Rows of an earlier release lack what it passed over; start the projection over to have it (README, "Starting over").
alter table orders
    add column number           text,   -- for people; null: not from checkout
    add column due_minor        bigint, -- what is to be paid, in `currency`; null in a row of an earlier release: total_minor
    add column captured_minor   bigint not null default 0,
    add column refunded_minor   bigint not null default 0,
    add column payment_id       uuid,   -- null: not paid through us
    add column cancel_reason    text,
    -- Documents, as the events have them; nobody searches them. Null: there is none.
    add column breakdown        json compression lz4, -- why the order costs what is due
    add column contact          json compression lz4, -- {email, shipping_address, billing_address}; who it is is sealed:
                                                      -- nothing here can be read without the subject's key
    add column shipments        json compression lz4, -- [{shipment_id, parts, charge, tracking, shipped_at, delivered_at}]
    add column returns          json compression lz4, -- [{return_id, state, parts, reason, refund, requested_at, received_at,
                                                      --   restocked_at, refunded_at}]
    drop constraint orders_status_check,
    add constraint orders_status_check check (status in
        ('placed', 'authorised', 'confirmed', 'partly-shipped', 'shipped', 'delivered', 'cancelled'));

-- What people say on the telephone. Not unique: among a million orders, any two share a number once in 70,000 shops.
create index orders_by_number on orders (number) where number is not null;

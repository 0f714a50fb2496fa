-- What recommendations are learnt from: what was sold to whom when, and what the products are called.

-- One row an order that stands, a return, or a cancellation that was booked by itself. Whoever reads of customers leaves out those
-- whose key is destroyed (`privacy.subject_keys`): nothing is learnt from them, and nothing told.
create table trade (
    document_id uuid        primary key, -- order, return or cancellation
    customer_id text,                    -- null: a guest
    at          timestamptz not null,    -- business time
    taken_back  boolean     not null,    -- a return or cancellation
    skus        text[]      not null,    -- of each line, as it was sold: a product's or a variant's
    units       bigint[]    not null,    -- of each line
    position    bigint      not null
);

-- A customer's history, in the order of time.
create index trade_of_customer on trade (customer_id, at) where customer_id is not null;

-- Products by what is like them, and where they may be shown.
create table trade_products (
    sku        text    primary key,
    name       text    not null,
    draft      boolean not null default false,
    withdrawn  boolean not null default false,
    categories text[]  not null default '{}',
    prices     jsonb   not null default '{}',   -- minor units by currency
    position   bigint  not null                 -- last event folded in; an older one must not overwrite a newer one
);

-- What is sold under a code of its own is recommended as its product.
create table trade_variants (
    product text  not null,
    sku     text  not null,
    prices  jsonb not null default '{}',        -- its own, minor units by currency
    primary key (product, sku)
);
create index trade_variants_by_sku on trade_variants (sku);

-- Sums of trade in buckets of business time, UTC. `resolution` is 0 for minutes, 1 hours, 2 days, 3 months; `at` is where the bucket
-- begins. Sums only ever grow by what an event adds, so a late event lands in its own bucket. Amounts are minor units.
create table analytics_by_country (
    resolution         smallint    not null, -- 0 to 3
    at                 timestamptz not null,
    currency           text        collate "C" not null,
    country            text        collate "C" not null,
    orders             bigint      not null, -- that were placed, whatever became of them
    order_lines        bigint      not null,
    units              bigint      not null,
    sales_minor        bigint      not null, -- of goods at their prices: without shipping, and without tax that is added
    cancellations      bigint      not null, -- at the time of cancelling: of orders, and those that were booked by themselves
    cancellation_lines bigint      not null,
    cancelled_units    bigint      not null,
    cancelled_minor    bigint      not null,
    returns            bigint      not null, -- at the time of receiving
    returned_units     bigint      not null,
    returned_minor     bigint      not null, -- at the prices that they were sold for
    refunded_minor     bigint      not null, -- that moved back for returns, less what bounced
    new_customers      bigint      not null, -- whose first order by business time this is
    customers          bigint      not null, -- that ordered in the bucket; counted in days and months only
    primary key (resolution, at, currency, country)
) with (fillfactor = 80);

-- The same of each SKU: in hours, since minutes of SKUs are nearly the order lines themselves, and in months. Days are summed up from
-- hours, since they would be nearly as many.
create table analytics_by_product (
    sku                text        collate "C" not null,
    resolution         smallint    not null, -- 1 or 3
    at                 timestamptz not null,
    currency           text        collate "C" not null,
    country            text        collate "C" not null,
    orders             bigint      not null, -- with this SKU
    order_lines        bigint      not null,
    units              bigint      not null,
    sales_minor        bigint      not null,
    cancellations      bigint      not null,
    cancellation_lines bigint      not null,
    cancelled_units    bigint      not null,
    cancelled_minor    bigint      not null,
    returns            bigint      not null,
    returned_units     bigint      not null,
    returned_minor     bigint      not null,
    primary key (sku, resolution, at, currency, country)
) with (fillfactor = 80);
create index analytics_by_product_of_time on analytics_by_product (resolution, at);

-- The same of each category with those below it, from hours on, as the product was categorised when it was sold. An order in two
-- categories counts in both.
create table analytics_by_category (
    category           text        collate "C" not null,
    resolution         smallint    not null, -- 1 to 3
    at                 timestamptz not null,
    currency           text        collate "C" not null,
    country            text        collate "C" not null,
    orders             bigint      not null, -- with a product of this category
    order_lines        bigint      not null,
    units              bigint      not null,
    sales_minor        bigint      not null,
    cancellations      bigint      not null,
    cancellation_lines bigint      not null,
    cancelled_units    bigint      not null,
    cancelled_minor    bigint      not null,
    returns            bigint      not null,
    returned_units     bigint      not null,
    returned_minor     bigint      not null,
    primary key (category, resolution, at, currency, country)
) with (fillfactor = 80);
create index analytics_by_category_of_time on analytics_by_category (resolution, at);

-- Carts by when they were opened, and what became of those.
create table analytics_by_cart (
    resolution  smallint    not null, -- 0 to 3
    at          timestamptz not null,
    currency    text        collate "C" not null,
    carts       bigint      not null, -- opened, less those that were merged into others
    converted   bigint      not null, -- of them, checked out by now
    primary key (resolution, at, currency)
) with (fillfactor = 80);

-- What later events do not say again.
create table analytics_orders (
    order_id uuid primary key,
    currency text not null,
    country  text not null,
    lines    json compression lz4 not null -- [{sku, units, unit_minor, categories}]; nobody searches it
);
create table analytics_carts (
    cart_id   uuid        primary key,
    currency  text        not null,
    opened_at timestamptz not null
);

-- The first order of each customer by business time, and where it is counted.
create table analytics_customers (
    customer_id text        primary key,
    first_at    timestamptz not null,
    currency    text        not null,
    country     text        not null
);
-- Who ordered in which bucket, so that each counts once.
create table analytics_active (
    customer_id text        collate "C" not null,
    resolution  smallint    not null, -- 2 or 3
    at          timestamptz not null,
    currency    text        collate "C" not null,
    country     text        collate "C" not null,
    primary key (customer_id, resolution, at, currency, country)
);

-- Which product each SKU is of, and which categories each product is in now.
create table analytics_skus (
    sku     text collate "C" primary key,
    product text collate "C" not null
);
create table analytics_categorised (
    product    text   collate "C" primary key,
    categories text[] not null
);
-- Every category that there ever was, under which other it was last.
create table analytics_tree (
    category text collate "C" primary key,
    parent   text             -- null: at the top
);

create table analytics_stock (
    sku     text   collate "C" primary key,
    on_hand bigint not null -- units in the building now
) with (fillfactor = 50);   -- Stock moves all the time: room for new versions of a row beside the old.

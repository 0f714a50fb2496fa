-- Products as customers see them, with their stock: one row a SKU. Product and stock are two streams of events, so either
-- may be first: a row without a name is stock of what has not been registered, which no query lists.
create table products (
    sku              text    primary key,
    name             text,
    description      text,
    price_minor      bigint,  -- of one unit, in minor units of `currency`, as it was set last; null: not priced yet
    currency         text,    -- ISO 4217
    withdrawn        boolean not null default false,
    withdrawal_reason text,
    on_hand          bigint  not null default 0, -- units in the building
    available        bigint  not null default 0, -- units of them that no order holds
    -- The last event folded in, of each stream; an older one must not overwrite a newer one.
    product_position bigint  not null default 0,
    stock_position   bigint  not null default 0,
    draft            boolean not null default false,
    slug             text,                               -- unique by the rules, not by this table: a batch swaps two
    tax_class        text    not null default 'standard',
    prices           jsonb   not null default '{}',      -- minor units by currency
    categories       text[]  not null default '{}',      -- in the order of their ids
    attributes       json    compression lz4 not null default '{}', -- as the event has them; nobody searches them
    media            json    compression lz4 not null default '[]',
    variants         bigint  not null default 0,         -- how many: so that a list need not look at them
    category_position bigint not null default 0,         -- last removal of a category that it was in
    check ((price_minor is null) = (currency is null))
) with (fillfactor = 50); -- Stock moves all the time: room for new versions of a row beside the old.

create index products_slug on products (slug) where slug is not null;

-- Variants: one row each. Their stock is in `products`, in a row without a name. A SKU may have been another product's before:
-- lanes may see its end there after its beginning here, so the product is part of the key.
create table variants (
    product text  not null,
    sku     text  not null,
    options json  not null,             -- {name: value}
    prices  jsonb not null default '{}', -- its own, minor units by currency
    primary key (product, sku)
);
create index variants_by_sku on variants (sku);

-- The tree of categories.
create table categories (
    category text primary key,
    name     text not null,
    slug     text not null,
    parent   text            -- null: at the top
);
create index categories_below on categories (parent);

-- Which products are in a category itself, in the order in which they are listed.
create table product_categories (
    category text not null,
    sku      text not null,
    primary key (category, sku)
);
create index product_categories_of_product on product_categories (sku);

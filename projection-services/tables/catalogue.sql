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
    shown_position    bigint not null default 0,         -- of the event that put it on sale, or made the draft
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

-- In which lists each product is, and by what it is sorted there: in those of the categories that it is in itself, and in that of
-- all products, whose category is ''. A page is one range of one index, whatever the number of products, pages and variants.
create table listed (
    category       text   not null,
    sku            text   not null,
    name_key       text   collate "C" not null, -- its name in small letters
    shown_position bigint not null,
    primary key (category, sku)
);
create index listed_by_name on listed (category, name_key, sku);
create index listed_by_age on listed (category, shown_position, sku);
create index listed_of_product on listed (sku);

-- The same by what it costs, in each currency.
create table listed_prices (
    category    text   not null,
    currency    text   not null,
    sku         text   not null,
    price_minor bigint not null,
    primary key (category, currency, sku)
);
create index listed_by_price on listed_prices (category, currency, price_minor, sku);
create index listed_prices_of_product on listed_prices (sku);

-- What products are found by: `name:value` of each attribute whose value has at most 200 characters.
create table product_attributes (
    attribute text not null,
    sku       text not null,
    primary key (attribute, sku)
);
create index product_attributes_of_product on product_attributes (sku);

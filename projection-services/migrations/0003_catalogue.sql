-- The catalogue: what a product is found by and shown with, its variants, the categories. Products get columns with
-- defaults, so that the release before goes on writing its own.

-- Prices by currency as the API has them: [{amount_minor, currency}], in the order of the codes.
create function price_list(prices jsonb) returns json
language sql immutable parallel safe
as $$
    select coalesce(json_agg(json_build_object('amount_minor', value, 'currency', key) order by key collate "C"), '[]')
    from jsonb_each(prices)
$$;

alter table products
    add column draft      boolean not null default false,
    add column slug       text,                               -- unique by the rules, not by this table: a batch swaps two
    add column tax_class  text    not null default 'standard',
    add column prices     jsonb   not null default '{}',      -- minor units by currency; price_minor is the one set last
    add column categories text[]  not null default '{}',      -- in the order of their ids
    add column attributes json    compression lz4 not null default '{}', -- as the event has them; nobody searches them
    add column media      json    compression lz4 not null default '[]',
    add column variants   bigint  not null default 0,         -- how many: so that a list need not look at them
    add column category_position bigint not null default 0;   -- last removal of a category that it was in

update products set prices = jsonb_build_object(currency, price_minor) where currency is not null;

create index products_slug on products (slug) where slug is not null;

-- Variants: one row each. Their stock is in `products`, in a row without a name.
create table variants (
    sku     text  primary key,
    product text  not null,
    options json  not null,             -- {name: value}
    prices  jsonb not null default '{}' -- its own, minor units by currency
);
create index variants_of_product on variants (product, sku);

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

grant select, insert, update, delete on variants, categories, product_categories to kontor_projector;
grant select on variants, categories, product_categories to kontor_query, kontor_auditor;

-- Vectors that are searched in the processes that are asked for them: filled by one, loaded by the others from the replica
-- that they read anyway.
grant usage on schema vectors to kontor_projector, kontor_query, kontor_auditor;

create table collections (
    collection text primary key collate "C",
    dimensions int  not null check (dimensions > 0)
);

create table points (
    collection text   not null references collections on delete cascade,
    sku        text   not null collate "C",
    vector     bytea  not null, -- 4 bytes for each dimension: IEEE 754, little endian
    tags       text[] not null, -- what it may be chosen by
    primary key (collection, sku)
);

-- Which collection is shown.
create table aliases (
    alias      text primary key,
    collection text not null references collections on delete cascade
);

grant select, insert, update, delete on collections, points, aliases to kontor_projector;
grant select on collections, points, aliases to kontor_query, kontor_auditor;

-- What was learnt from the read model `recommendations`, version by version. Queries answer from the newest; the one before stays
-- for those that are about to load it. No customer is in a model: it knows goods only.
create table recommendation_models (
    version    bigint           primary key,            -- 1, 2 ..., in the order in which training began
    position   bigint           not null,               -- of the read model that it was learnt from
    erased     bigint           not null,               -- subjects that had been erased, from whom nothing was learnt
    trained_at timestamptz      not null,               -- business time up to which it has learnt
    created_at timestamptz      not null default now(), -- when queries began to see it
    seconds    double precision not null,               -- that it took to learn
    documents  bigint           not null,               -- orders, returns and cancellations that it was learnt from
    products   bigint           not null,               -- that it knows
    points     bigint           not null,               -- of its collection of vectors
    public     text[]           not null,               -- SKUs that everybody might see then
    model      bytea            not null
);
alter table recommendation_models alter column model set storage external; -- Numbers: nothing to be compressed.

create sequence recommendation_versions;

grant select, insert, delete on recommendation_models to kontor_projector;
grant usage on sequence recommendation_versions to kontor_projector;
grant select on recommendation_models to kontor_query, kontor_auditor;

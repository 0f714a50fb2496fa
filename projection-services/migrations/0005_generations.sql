-- A projection's tables are built whole, as generations, each in a schema of its own (projection-services/tables), beside the
-- one that queries see. The tables of earlier releases go: projectors fill the first generation from the log by themselves.
drop table checkpoints, products, variants, categories, product_categories, orders, cancellations;

-- A fence is higher than all before it, of whichever generation: a number that was given back is given out again.
create sequence fences;

-- Every generation of every projection, whatever store it is in: what it is, how far it has come, and who writes it.
create table generations (
    projection     text        not null,
    generation     int         not null check (generation > 0), -- 1, 2 ... of this projection
    version        int         not null,          -- of the projection's fold and tables
    store          text        not null,          -- where the rows are: postgres
    -- filling: not shown yet; live: shown; retired: shown before, kept for a rollback; named: kept as it is, to be asked for
    -- by its name; verifying: a fresh fold to compare with, gone as soon as that is done.
    state          text        not null check (state in ('filling', 'live', 'retired', 'named', 'verifying')),
    automatic      boolean     not null,          -- filled by projectors, not by an operator's rebuild
    paused         boolean     not null default false,
    name           text,
    until_position bigint,                        -- filled up to there, and not further
    -- How far it has come, written in the transaction of the rows, so that each event has its effect once.
    position       bigint      not null default 0 check (position >= 0), -- all lanes have applied what is up to here
    event_id       uuid,                          -- of the event there: tells whether the log still is the one we read
    log_epoch      bigint      not null default 0, -- of the log when it was applied
    written_at     timestamptz not null default now(),
    -- The lease: who writes it. A holder with a lower fence than the one here writes nothing any more.
    worker         uuid,                          -- null: nobody
    fence          bigint      not null default 0,
    lease_until    timestamptz,                   -- when another may take over
    created_at     timestamptz not null default now(),
    switched_at    timestamptz,                   -- when queries began to see it, or ceased to
    primary key (projection, generation),
    check ((event_id is null) = (position = 0)),
    check ((worker is null) = (lease_until is null)),
    check ((name is not null) or state <> 'named')
) with (fillfactor = 10); -- A row is updated hundreds of times a second: in its own page, without touching an index.

create unique index generations_live on generations (projection) where state = 'live';
create unique index generations_named on generations (projection, name);

-- Lanes that are ahead of their generation: a large batch is written by several transactions at once, and whoever goes on after
-- a crash in the midst of it passes over what a lane has already. What is not above the generation's position says nothing.
create table lanes (
    projection text     not null,
    generation int      not null,
    lane       smallint not null,
    position   bigint   not null,
    event_id   uuid     not null,
    primary key (projection, generation, lane),
    foreign key (projection, generation) references generations on delete cascade
) with (fillfactor = 10);

-- How far what queries see has come. Each generation has one of its own in its schema, for queries that look there.
create view checkpoints as select projection, position from generations where state = 'live';

grant select, insert, update, delete on generations, lanes to kontor_projector;
grant select on checkpoints to kontor_projector;
grant usage on sequence fences to kontor_projector;
grant select on generations, lanes, checkpoints to kontor_query, kontor_auditor;

-- Projectors make and drop generations, and say which one the views here show.
grant create on schema projections to kontor_projector;
do $$ begin execute format('grant create on database %I to kontor_projector', current_database()); end $$;

-- Stock: one row a SKU.
create table stock (
    sku             text   primary key,
    on_hand         bigint not null, -- units in the building
    available       bigint not null, -- units of them that no order holds
    back_ordered    bigint not null, -- units that orders wait for
    back_orders_max bigint not null, -- units that orders may wait for
    locations       json   not null, -- {location: {on_hand, available}}, of every one that ever had any; nobody searches it
    position        bigint not null  -- last event folded in; an older one must not overwrite a newer one
) with (fillfactor = 50);            -- Stock moves all the time: room for new versions of a row beside the old.

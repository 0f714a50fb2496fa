-- A guest could become a customer who was being erased at that moment, and outlive them. So whoever gives and whoever erases
-- holds the customer's row first.

-- As before. False also: the customer has no key, or was erased.
create or replace function give_guest(guest text, customer text) returns boolean
language plpgsql security definer
set search_path = privacy, pg_temp
as $$
begin
    perform from subject_keys where subject = customer and wrapped is not null for update;
    if not found then
        return false;
    end if;
    update subject_keys set belongs_to = customer where subject = guest and wrapped is not null;
    return found;
end
$$;

-- As before; guests are looked for when nobody can become one any more.
create or replace function erase_subject(of_subject text)
    returns table (created_at timestamptz, erased_at timestamptz, destroyed boolean)
language plpgsql security definer
set search_path = privacy, pg_temp
as $$
#variable_conflict use_column
begin
    return query
        update subject_keys as k set wrapped = null, master_key = null, erased_at = clock_timestamp()
        where k.subject = of_subject and k.wrapped is not null
        returning k.created_at, k.erased_at, true;
    if not found then
        return query select k.created_at, k.erased_at, false from subject_keys k where k.subject = of_subject;
    end if;
    update subject_keys as k set wrapped = null, master_key = null, erased_at = clock_timestamp()
    where k.belongs_to = of_subject and k.wrapped is not null;
end
$$;

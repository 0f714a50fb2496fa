-- What is learnt from customers is learnt without those who were erased: projectors see that somebody was, and no key.
grant usage on schema privacy to kontor_projector;
grant select (subject, erased_at) on subject_keys to kontor_projector;

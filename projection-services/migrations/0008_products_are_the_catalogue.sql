-- Projection `products` has another name: `catalogue`, which projectors fill by themselves. Its generations are not kept any more;
-- their rows, in schemas products_1 and so on, are a projector's, and may be dropped.
delete from generations where projection = 'products';

-- Work that comes and goes, so that the charts move; repeated twice a second.
SELECT count(insula.submit_many('invoice', array_fill('{"customer": 3}'::jsonb, ARRAY[n]), tenant => t)) FROM (VALUES ('acme', (random() * 14)::int + 4), ('globex', (random() * 5)::int + 2), ('hooli', (random() * 9)::int + 1)) l(t, n)
\;
WITH claimed AS MATERIALIZED (SELECT * FROM insula.claim('worker-' || (1 + random() * 3)::int, ARRAY['invoice.render', 'invoice.charge', 'invoice.send'], max_tasks => 60 + (random() * 40)::int))
SELECT count(CASE WHEN random() < 0.01 THEN insula.fail(task_id, lease, 'card ' || task_id || ' was declined', false) ELSE insula.complete(task_id, lease, jsonb_build_object(task, 'done'))::text END) FROM claimed
\watch 0.5

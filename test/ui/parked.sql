CALL insula.wait_for_work('10 min', worker => 'worker-4', tasks => ARRAY['nightly_export.nothing']);

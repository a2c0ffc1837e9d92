-- From here on something can be due.  A script that updates the extension ends with the same, unless the
-- scheduler was stopped: ... WHERE NOT EXISTS (SELECT FROM insula.scheduler_wanted WHERE NOT wanted).
SELECT insula.start_scheduler();

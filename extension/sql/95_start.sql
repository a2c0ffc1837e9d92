-- From here on something can be due.
SELECT insula.start_scheduler();

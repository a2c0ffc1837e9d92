-- From here on something can be due.  A script that updates the extension ends with the same, or with
-- insula.stop_scheduler() where it was stopped: both fail under a library that is older than the script.
SELECT insula.start_scheduler();

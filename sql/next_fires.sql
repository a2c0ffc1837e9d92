-- When a cron expression fires, in the zones that PostgreSQL knows.
-- Shown in UTC and in the expression's own zone, whatever the session's is.
SET TimeZone = 'Pacific/Chatham';
CREATE FUNCTION pg_temp.fires(cron text, zone text, after timestamptz, n integer DEFAULT 3)
RETURNS TABLE (utc timestamp, local timestamp) LANGUAGE sql AS $$
	SELECT f AT TIME ZONE 'UTC', f AT TIME ZONE zone FROM insula.next_fires(cron, zone, n, after) f
$$;

SELECT next_fires AT TIME ZONE 'UTC' AS utc FROM insula.next_fires('*/20 9 * * MON-FRI', after => '2024-03-01 09:20:00.5+00');
SELECT next_fires AT TIME ZONE 'UTC' AS utc FROM insula.next_fires('0 9 * * *', n => 1, after => '2024-03-01 08:59:59.999999+00');
SELECT next_fires AT TIME ZONE 'UTC' AS utc FROM insula.next_fires('0 9 * * *', n => 1, after => '2024-03-01 09:00:00+00');
SELECT count(*), min(next_fires) > now() AS later FROM insula.next_fires('@hourly');
SELECT max(next_fires) AT TIME ZONE 'UTC' AS thousandth FROM insula.next_fires('@daily', n => 1000, after => '2024-03-01 00:00+00');
SELECT * FROM pg_temp.fires('*/20 30 6 L 2 ?', 'europe/berlin', '1999-12-01+00', 4);
SELECT * FROM pg_temp.fires('0 12 * FEB 4#5', 'Asia/Kathmandu', '2080-03-01+00', 2);

-- Forward: once after the gap, or not at all.
SELECT * FROM pg_temp.fires('30 2 * * *', 'Europe/Berlin', '2024-03-29 12:00+00');
SELECT * FROM pg_temp.fires('15,45 2-3 * * *', 'America/New_York', '2024-03-10 05:00+00', 4);
SELECT * FROM pg_temp.fires('*/30 2 * * *', 'Europe/Berlin', '2024-03-30 12:00+00');
SELECT * FROM pg_temp.fires('30 * * * *', 'Europe/Berlin', '2024-03-30 23:00+00');
-- Back: once, or in both passes.
SELECT * FROM pg_temp.fires('30 2 * * *', 'Europe/Berlin', '2024-10-26 12:00+00');
SELECT * FROM pg_temp.fires('30 2 * * *', 'Europe/Berlin', '2024-10-27 01:10+00', 1);
SELECT * FROM pg_temp.fires('30 * * * *', 'Europe/Berlin', '2024-10-26 23:00+00', 4);
SELECT * FROM pg_temp.fires('* 2 * * *', 'Europe/Berlin', '2024-10-27 00:58+00', 4);
-- Half an hour.
SELECT * FROM pg_temp.fires('15 2 * * *', 'Australia/Lord_Howe', '2023-09-30 00:00+00');
SELECT * FROM pg_temp.fires('45 1 * * *', 'Australia/Lord_Howe', '2024-04-06 00:00+00');
SELECT * FROM pg_temp.fires('*/15 * * * *', 'Australia/Lord_Howe', '2024-04-06 14:30+00', 5);
-- Days without a midnight, and one that did not exist.
SELECT * FROM pg_temp.fires('@daily', 'America/Sao_Paulo', '2018-11-03 00:00+00');
SELECT * FROM pg_temp.fires('0 0 * * *', 'Asia/Tehran', '2021-03-20 12:00+00');
SELECT * FROM pg_temp.fires('0 12 * * *', 'Pacific/Apia', '2011-12-29 12:00+00');
SELECT * FROM pg_temp.fires('0 0 30 12 *', 'Pacific/Apia', '2011-12-29 12:00+00', 2);
SELECT * FROM pg_temp.fires('0 */8 * * *', 'Pacific/Apia', '2011-12-30 00:00+00');
-- Ramadan in Casablanca; winter as the exception in Dublin; a zone's first, odd offset.
SELECT * FROM pg_temp.fires('30 2 * * *', 'Africa/Casablanca', '2023-03-18 12:00+00');
SELECT * FROM pg_temp.fires('30 2 * * *', 'Africa/Casablanca', '2023-04-22 12:00+00');
SELECT * FROM pg_temp.fires('30 1 * * *', 'Europe/Dublin', '2024-03-30 12:00+00');
SELECT * FROM pg_temp.fires('30 1 * * *', 'Europe/Dublin', '2024-10-26 12:00+00');
SELECT * FROM pg_temp.fires('0 0 * * *', 'America/Los_Angeles', '1883-11-17 00:00+00');

-- The ends of time.
SELECT next_fires AT TIME ZONE 'UTC' AS utc FROM insula.next_fires('@yearly', n => 5, after => '9997-06-01+00');
SELECT count(*) FROM insula.next_fires('* * * * *', after => '294276-12-31 23:59:59.999999+00');
SELECT next_fires AT TIME ZONE 'UTC' AS utc FROM insula.next_fires('@yearly', n => 2, after => '4714-11-24 00:00:00+00 BC');

-- Invalid expressions.
SELECT try(format('SELECT insula.next_fires(%L)', cron)) FROM unnest(ARRAY['', '* * *', '60 * * * *', '0 22-2 * * *', '*/0 * * * *',
	'0 0 31 4 *', '0 0 * * MONDAY', '0 0 15W * *', '@reboot', '0 0 * * 5#6', repeat('é', 100) || ' 0 * * *', repeat('1,', 490) || 'x 0 * * *', repeat('1,', 1000000) || '1 0 * * *']) cron;
-- Invalid zones.
SELECT left(split_part(try(format('SELECT insula.next_fires(''@daily'', %L)', zone)), E'\n', 1), 60) FROM unnest(ARRAY['', 'Europe/Atlantis', 'CEST', 'FOO+3', '<+03>-3', 'Europe/Berlin2', 'EST5EDT4,M3.2.0,M11.1.0',
	'5', '+02:00', repeat('z', 1000)]) zone;
-- With leap seconds, if there at all.
SELECT left(try($$SELECT insula.next_fires('@daily', 'right/Europe/Berlin')$$), 5);
SELECT zone, count(next_fires) FROM unnest(ARRAY['utc', 'GMT', 'EST', 'EST5EDT', 'gmt+0', 'Etc/GMT-14', 'etc/utc', 'PRC', 'Asia/Ho_Chi_Minh', 'America/Argentina/ComodRivadavia']) zone, insula.next_fires('@daily', zone)
GROUP BY zone ORDER BY zone COLLATE "C";

SELECT try($$SELECT insula.next_fires(NULL)$$);
SELECT try($$SELECT insula.next_fires('@daily', NULL)$$);
SELECT try($$SELECT insula.next_fires('@daily', n => NULL)$$);
SELECT try($$SELECT insula.next_fires('@daily', after => NULL)$$);
SELECT try($$SELECT insula.next_fires('@daily', n => 0)$$);
SELECT try($$SELECT insula.next_fires('@daily', n => 1001)$$);
SELECT try($$SELECT insula.next_fires('@daily', after => 'infinity')$$);
SELECT try($$SELECT insula.next_fires('@daily', after => '-infinity')$$);

-- The roles that may execute it.
SELECT grantee::regrole FROM pg_proc, aclexplode(proacl) WHERE oid = 'insula.next_fires'::regproc ORDER BY grantee::regrole::text;

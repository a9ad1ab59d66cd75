#!/bin/bash
# PostgreSQL: initdb, parallel queries, pgbench, a crash, pg_amcheck
# needs postgresql-15=/usr/lib/postgresql/15/bin/initdb util-linux=setpriv
set -e
if [ "$(id -u)" = 0 ]; then # which it refuses to be
	chown nobody .
	exec setpriv --reuid=nobody --regid=nogroup --clear-groups bash "$0"
fi
PATH=/usr/lib/postgresql/15/bin:$PATH
export HOME=$PWD PGHOST=$PWD PGDATA=$PWD/data PGDATABASE=postgres PGUSER=tester
unset PGPORT
initdb -U tester -A trust --no-sync >log
cat >>data/postgresql.conf <<END
listen_addresses = ''
unix_socket_directories = '$PWD'
min_parallel_table_scan_size = 0
parallel_setup_cost = 0
parallel_tuple_cost = 0
jit = on
jit_above_cost = 50000
fsync = off
END
trap 'pg_ctl stop -m immediate >/dev/null 2>&1 || :' EXIT
pg_ctl start -w -l server.log >/dev/null || { cat server.log && exit 1; }

psql -qAt <<'END'
CREATE TABLE t AS SELECT i, (i * 7919) % 10007 AS k, md5(i::text) AS m
	FROM generate_series(1, 200000) i;
CREATE INDEX ON t (k, m);
CREATE INDEX ON t USING gin (string_to_array(m, 'a'));
ANALYZE t;
SELECT count(*), sum(a.k), max(b.m) FROM t a JOIN t b ON a.i = b.k;
SELECT k % 10, count(DISTINCT m), string_agg(left(m, 2), '' ORDER BY m)::text = ''
	FROM t GROUP BY 1 ORDER BY 1;
SET work_mem = '256kB';
SELECT sum(n) FROM (SELECT row_number() OVER (ORDER BY m) * i % 97 AS n FROM t) s;
WITH RECURSIVE r(n, s) AS (SELECT 1, 'a' UNION ALL
	SELECT n + 1, left(md5(s) || s, 500) FROM r WHERE n < 5000)
	SELECT md5(string_agg(s, ',' ORDER BY n)) FROM r;
SELECT length(jsonb_agg(to_jsonb(t))::text) FROM t WHERE i <= 20000;
DO 'BEGIN FOR i IN 1 .. 500 LOOP
	EXECUTE format($$CREATE TEMP TABLE x%s (a int); DROP TABLE x%s$$, i, i);
END LOOP; END';
END
pg_dump | grep -v '^\\\(un\)\?restrict' | cksum

pgbench -i -q -s 4 2>/dev/null
pgbench -n -c 8 -j 2 -t 800 -M prepared >bench 2>&1 || { cat bench && exit 1; }
grep -E 'transactions (actually )?processed|failed' bench
pgbench -n -c 8 -j 2 -t 800 -S -M extended | grep processed
pgbench -n -c 4 -t 40 -C -S | grep processed

balances()
{
	psql -At -c 'SELECT count(*) AS n, sum(delta) =
		(SELECT sum(abalance) FROM pgbench_accounts) AND sum(delta) =
		(SELECT sum(bbalance) FROM pgbench_branches) AND sum(delta) =
		(SELECT sum(tbalance) FROM pgbench_tellers) FROM pgbench_history'
}
balances
pg_ctl stop -m immediate >/dev/null
pg_ctl start -w -l server.log >/dev/null
balances
psql -q -c 'VACUUM (FULL, ANALYZE)' -c 'CREATE EXTENSION amcheck'
pg_amcheck --all --install-missing --heapallindexed --parent-check
pg_dump -Fc -j1 | pg_restore -f - | grep -c ''
pg_ctl stop -m fast >/dev/null
! grep -E 'PANIC|signal|segfault' server.log

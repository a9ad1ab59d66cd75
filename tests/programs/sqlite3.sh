#!/bin/bash
# sqlite3: tables, indices, full text, JSON, a dump that is read again
# needs sqlite3=sqlite3
set -e
sed 's/1000000/60000/' "$QUARRY_SOURCE/examples/demo/million.sql" >some.sql
sqlite3 -bail -init some.sql db .quit
sqlite3 -bail db 2>/dev/null <<'END'
PRAGMA integrity_check;
CREATE VIRTUAL TABLE words USING fts5(text);
INSERT INTO words SELECT note || ' by ' || customer FROM sale WHERE id < 9000;
SELECT count(*), min(rowid) FROM words WHERE words MATCH '"note 7"';
INSERT INTO words(words) VALUES ('optimize');
INSERT INTO words(words) VALUES ('integrity-check');
SELECT sum(length(json_group)), json_valid(max(json_group)) FROM (
	SELECT json_group_array(json_object('c', customer, 'a', amount)) AS json_group
	FROM sale GROUP BY amount % 50);
CREATE VIRTUAL TABLE boxes USING rtree(id, x0, x1, y0, y1);
INSERT INTO boxes SELECT id, amount, amount + 5, customer, customer + 9
	FROM sale WHERE id < 9000;
SELECT count(*) FROM boxes WHERE x1 > 100 AND x0 < 900 AND y0 > 20000;
BEGIN;
DELETE FROM sale WHERE id % 3 = 0;
SAVEPOINT one;
UPDATE sale SET note = zeroblob(300) WHERE id % 50 = 0;
ROLLBACK TO one;
COMMIT;
VACUUM;
PRAGMA integrity_check;
END
sqlite3 db .dump >dump
sqlite3 -bail again <dump
sqlite3 again .dump | cmp - dump
cksum <dump

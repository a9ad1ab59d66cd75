-- million.sql - a table of a million rows: build, index, change, query.
--
-- SPDX-License-Identifier: BSD-2-Clause
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -65536;
PRAGMA temp_store = MEMORY;

CREATE TABLE sale (
	id INTEGER PRIMARY KEY,
	customer INTEGER,
	amount INTEGER,
	note TEXT
);

WITH RECURSIVE n(i, r) AS (
	SELECT 1, 12345
	UNION ALL
	SELECT i + 1, (r * 1103515245 + 12345) & 2147483647 FROM n
	WHERE i < 1000000
)
INSERT INTO sale
SELECT i, (r >> 8) % 50000, (r >> 4) % 10000, 'note ' || (r % 977) FROM n;

CREATE INDEX sale_by_customer ON sale (customer);

UPDATE sale SET amount = amount + 1 WHERE customer % 97 = 0;
DELETE FROM sale WHERE id % 101 = 0;

SELECT count(*), sum(amount), min(amount), max(amount) FROM sale;
SELECT customer, count(*), sum(amount) AS total FROM sale
	GROUP BY customer ORDER BY total DESC, customer LIMIT 20;
SELECT note, count(DISTINCT customer) FROM sale WHERE id < 50000
	GROUP BY note ORDER BY 2 DESC, 1 LIMIT 20;
SELECT a.id, b.id, a.amount FROM sale a
	JOIN sale b ON a.customer = b.customer AND b.id > a.id
	WHERE a.id < 400 ORDER BY a.id, b.id LIMIT 1000;
SELECT group_concat(note, ',') FROM
	(SELECT note FROM sale WHERE customer = 4242 ORDER BY id);

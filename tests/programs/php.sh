#!/bin/bash
# php: arrays, strings, JSON; its modules are loaded with RTLD_DEEPBIND
# needs php-cli=php
set -e
cat >work.php <<'END'
<?php
mt_srand(7);
$words = [];
foreach (file(getenv('INPUTS') . '/lines') as $line) {
	if (preg_match('/word(\d+) line (\d+)/', $line, $m))
		$words[$m[1]][] = (int)$m[2];
}
ksort($words);
printf("%d words, the last %d times\n", count($words), count(end($words)));
$json = json_encode($words);
echo md5($json), ' ', json_decode($json, true) === $words ? 'same' : 'other', "\n";
$copy = unserialize(serialize($words));
echo strlen(serialize($copy)), ' ', crc32(strrev(implode(',', array_keys($copy)))), "\n";

$heap = new SplMinHeap;
for ($i = 0; $i < 50000; $i++)
	$heap->insert(mt_rand());
for ($i = 0; $i < 3; $i++)
	echo $heap->extract(), "\n";

class node { public $next, $text; }
for ($list = null, $i = 0; $i < 50000; $i++) {
	$node = new node;
	$node->next = $list;
	$node->text = str_repeat("n$i", $i % 50);
	$list = $node;
}
for ($length = 0; $list !== null; $list = $list->next)
	$length += strlen($list->text);
echo $length, "\n";

if (extension_loaded('tokenizer'))
	echo count(token_get_all(file_get_contents(__FILE__))), " tokens\n";
if (extension_loaded('iconv'))
	echo bin2hex(iconv('UTF-8', 'UTF-16BE', 'gr\u{fc}n')), "\n";
if (extension_loaded('fileinfo'))
	echo (new finfo(FILEINFO_MIME_TYPE))->file(__FILE__), "\n";
if (extension_loaded('zlib'))
	echo strlen(gzuncompress(gzcompress($json, 9))), "\n";
if (extension_loaded('pdo'))
	echo implode(' ', PDO::getAvailableDrivers()), "\n";
END
php --version | head -n 1
php --modules
php work.php
# Without the pools that PHP has of its own.
USE_ZEND_ALLOC=0 php work.php

#!/bin/bash
# python: most of its own tests of objects, text, threads, processes, modules in C
# needs python3=python3 libpython3.11-testsuite=/usr/lib/python3.11/test/test_json
set -e
export PYTHONHASHSEED=1 PYTHONMALLOC=malloc
# A virtual machine may have vsock, and nobody to answer.  test_capi and
# test_sqlite3 of Debian 12 fail on their own.
python3 -m test -j2 --ignore '*VSOCK*' test_array test_asyncio test_ast \
	test_bigmem test_bytes test_compile test_concurrent_futures test_csv test_ctypes \
	test_decimal test_descr test_email test_enum test_exceptions test_fork1 \
	test_format test_functools test_gc test_generators test_hashlib test_heapq \
	test_httplib test_io test_itertools test_logging test_long test_lzma \
	test_marshal test_math test_memoryio test_mmap test_multiprocessing_fork \
	test_ordered_dict test_pickle test_posix test_pyexpat test_queue test_re \
	test_set test_shelve test_signal test_socket test_sort \
	test_ssl test_subprocess test_super test_tarfile test_tempfile test_thread \
	test_threading test_tuple test_typing test_unicode test_userdict \
	test_weakset test_xml_etree test_xml_etree_c test_zipfile test_zlib \
	>log 2>&1 || { cat log && exit 1; }
sed -n 's/^[0-9:]* load avg: [0-9.]* \[[ 0-9/]*\] \([a-z0-9_]* [a-z]*\).*/\1/p' \
	log | sort

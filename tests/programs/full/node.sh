#!/bin/bash
# node: buffers, compression, workers
# needs nodejs=node
set -e
cat >main.js <<'END'
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const crypto = require('crypto');
const zlib = require('zlib');

function work(seed) {
	let h = crypto.createHash('sha256');
	let rows = [];
	for (let i = 0; i < 4000; i++) {
		let b = Buffer.alloc((i * 37 + seed) % 5000, String(i + seed));
		h.update(b);
		if (i % 5 === 0)
			rows.push({ i, s: b.toString('base64').slice(0, i % 300), n: [i, seed] });
	}
	let text = JSON.stringify(rows);
	let packed = zlib.deflateSync(text);
	let back = JSON.parse(zlib.inflateSync(packed).toString());
	let brotli = zlib.brotliDecompressSync(zlib.brotliCompressSync(text,
	    { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 4 } }));
	return [h.digest('hex'), back.length, packed.length, brotli.length];
}

if (!isMainThread) {
	parentPort.postMessage(work(workerData));
} else {
	const run = n => new Promise((ok, bad) => {
		const w = new Worker(__filename, { workerData: n });
		w.on('message', ok);
		w.on('error', bad);
	});
	(async () => {
		for (let round = 0; round < 4; round++)
			console.log(await Promise.all([1, 2, 3, 4].map(n => run(n + 10 * round))));
		for (let i = 0; i < 200; i++)
			await new Promise(ok => zlib.gzip(Buffer.alloc(100000, 'x' + i), ok));
		console.log(work(7));
	})();
}
END
node main.js

import test from 'ava';
import type { Command } from '../../src/cli/lib/command.ts';
import { figuresOf, type Sample } from '../../src/cli/top/figures.ts';
import { render, type View } from '../../src/cli/top/view.ts';
import { command as declared } from '../../src/cli/xtfstop.ts';
import { parseMetrics } from '../../src/core/exposition.ts';
import { startCli } from './node.ts';

const command = declared as Command;

/** An OSD that has answered so many reads of 1 MiB in at most a millisecond. */
const osd = (reads: number): string => `xos_osd_request_seconds_bucket{op="read",le="0.001"} ${reads}\nxos_osd_request_seconds_bucket{op="read",le="+Inf"} ${reads}\n`
  + `xos_osd_request_seconds_count{op="read"} ${reads}\nxos_osd_read_bytes_total ${reads * 2 ** 20}\nxos_osd_open_files 3\nxos_osd_free_bytes 1073741824\nxos_osd_objects 12\n`
  + 'xos_osd_scrub_running 1\nxos_osd_scrub_files 3\nxos_osd_scrub_files_total 12\nxos_osd_corrupt_blocks 2\nxos_osd_has_keys 1\n';
const mount = 'xos_mount_request_seconds_count{op="read"} 5\nxos_mount_leased 1\n';

const sample = (at_ms: number, reads: number, reason: string | null = null): Sample => ({
  at_ms,
  nodes: [
    { node: 'n1', reason: null, servers: [{ server: 'osd', metrics: parseMetrics(osd(reads)), reason: '' }, { server: 'mount', metrics: parseMetrics(mount), reason: '' }] },
    { node: 'n2', reason, servers: [] },
  ],
});

test('rates are those between two samples, and a server that began anew counts from nothing', (t) => {
  const [row] = figuresOf(sample(1000, 100), sample(3000, 300));
  t.like(row, { node: 'n1', server: 'osd', up: true, requests_per_s: 100, p95_ms: 1, read_bytes_per_s: 100 * 2 ** 20, written_bytes_per_s: null, free_bytes: 2 ** 30, open_files: 3 });
  t.deepEqual(row?.notes, ['12 objects', '2 CORRUPT blocks', 'scrub 25 %']);
  t.is(figuresOf(sample(1000, 100), sample(2000, 40))[0]?.requests_per_s, 40);
});

test('a node that does not answer is a row that says why', (t) => {
  const row = figuresOf(sample(0, 1), sample(1000, 1, 'the call timed out')).find(({ node }) => node === 'n2');
  t.like(row, { up: false, server: '-', requests_per_s: null, notes: ['the call timed out'] });
});

const view = (changes: Partial<View> = {}): View => ({
  vo: 'demo', time: '10:00:00', interval_s: 2, order: 'name', message: '', figures: figuresOf(sample(0, 0), sample(2000, 20, 'gone')),
  volumes: Array.from({ length: 30 }, (_, at) => ({ volume: `v${at}`, owner: 'alice', bytes: at, files: at, bytes_max: 0, files_max: 0 })), ...changes,
});

test('the picture fits the screen, and says how much it leaves out', (t) => {
  for (const [width, height] of [[80, 24], [40, 10], [200, 60]] as const) {
    const lines = render(view(), width, height);
    t.true(lines.length <= height, `${lines.length} lines`);
    for (const line of lines) t.true([...line].length <= width, line);
  }
  const lines = render(view(), 80, 24);
  t.regex(lines[0] ?? '', /^demo {2}10:00:00 .* 1 NOT UP/);
  t.true(lines.some((line) => /^n1 +osd .*10\.0 +1\.0ms +10M/.test(line)), lines.join('\n'));
  t.true(lines.some((line) => /^n2 .*DOWN, /.test(line)), lines.join('\n'));
  t.true(lines.some((line) => /^… \d+ more volumes/.test(line)), lines.join('\n'));
  t.deepEqual(render(view(), 80, 24, true).filter((line) => line.startsWith('\x1b[1m')).length, 4, 'three headings and what is down');
  t.is(render(view(), undefined, undefined).filter((line) => /^v\d/.test(line)).length, 30);
});

test('by requests the busiest comes first', (t) => {
  const figures = figuresOf(sample(0, 0), sample(1000, 10));
  const busy = { ...figures[0]!, node: 'n9', requests_per_s: 1000 };
  const order = (by: View['order']): string[] => render(view({ figures: [figures[0]!, busy], order: by, volumes: [] }), undefined, undefined).filter((line) => line.startsWith('n')).map((line) => line.slice(0, 2));
  t.deepEqual(order('name'), ['n1', 'n9']);
  t.deepEqual(order('requests'), ['n9', 'n1']);
});

test('the servers of all nodes are asked, and printed once as text and as JSON', async (t) => {
  const grid = await startCli(t);
  let reads = 0;
  await grid.vo.node('n2').daemon('osd', (op) => (op === 'metrics' ? { text: osd(reads += 10) } : { total_bytes: 1, free_bytes: 1 }));
  const text = await grid.run(command, ['--once', '--delay', '0.2']);
  t.is(text.status, 0, text.err);
  t.regex(text.out, /\nn2 +osd +\d/);
  t.regex(text.out, /\nn1 +osd .*DOWN/);
  t.notRegex(text.out, /\x1b/);
  const { figures } = JSON.parse((await grid.run(command, ['--json', '--delay', '0.2'])).out) as View;
  t.like(figures.find(({ node, server }) => node === 'n2' && server === 'osd'), { up: true, p95_ms: 1 });
  t.true(figures.some(({ node, server, up }) => node === 'n1' && server === 'mount' && !up));
});

test('a node serves its own counters for Prometheus', async (t) => {
  const grid = await startCli(t);
  await grid.vo.node('n2').daemon('osd', (op) => (op === 'metrics' ? { text: osd(1) } : { total_bytes: 1, free_bytes: 1 }));
  const { serveMetrics } = await import('../../src/volume/ops/monitor.ts');
  const server = await serveMetrics(grid.vo.node('n2').context, null, 0);
  const answer = await fetch(`http://127.0.0.1:${server?.port}/metrics`);
  const body = await answer.text();
  t.regex(answer.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/);
  t.regex(body, /\nxos_server_up\{server="osd"\} 1\n/);
  t.regex(body, /\nxos_server_up\{server="mrc"\} 0\n/);
  t.regex(body, /\nxos_osd_free_bytes 1073741824\n/);
  t.is(await serveMetrics(grid.vo.node('n2').context, null, server?.port ?? 0), null, 'a port that is taken keeps nobody from starting');
  await server?.close();
});

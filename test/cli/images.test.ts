// xcheckpoint verify, export and import with the real program xos-checkpoint; no xosd, so signatures are not looked at
// (native/checkpoint/test/files.cc and test/grid/checkpoint-images.test.ts do).
import test, { type ExecutionContext } from 'ava';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32c } from '../../src/checkpoint/manifest.ts';
import type { Command } from '../../src/cli/lib/command.ts';
import { command } from '../../src/cli/xcheckpoint.ts';
import { manifestText } from '../checkpoint/samples.ts';
import { capture, type Captured } from './lib/capture.ts';

const programs = join(import.meta.dirname, '../../build/native/checkpoint');

interface Place {
  readonly home: string;
  readonly stored: string;
  run(...argv: string[]): Promise<Captured>;
}

/** A home with the checkpoint 'one', whose bytes are as its manifest says. */
function start(t: ExecutionContext): Place {
  const home = mkdtempSync(join(tmpdir(), 'xos-images-'));
  t.teardown(() => rmSync(home, { recursive: true }));
  const stored = join(home, '.xos/checkpoints/one');
  mkdirSync(stored, { recursive: true });
  const memory = Buffer.alloc(9000, 'memory'), state = Buffer.from('core\0inventory');
  writeFileSync(join(stored, 'pages-1.img'), memory);
  writeFileSync(join(stored, 'state.img'), state);
  writeFileSync(join(stored, 'manifest'), manifestText({
    uid: process.geteuid!(), bytes: 9014, cpu_features: ['amx_of_tomorrow'], processes: [{ pid: 100, parent: 1, program: 'python3', paths: [] }],
    files: [{ name: 'pages-1.img', size: memory.length, crc32c: crc32c(memory) }], streams: [{ kind: 'pipe_in', inode: 77, target_fds: [0], held: true, pending: '6162' }],
    pack: { name: 'state.img', size: state.length, sha256: createHash('sha256').update(state).digest('hex'), entries: [{ name: 'core-100.img', size: 5 }, { name: 'inventory.img', size: 9 }] },
  }));
  return { home, stored, run: (...argv) => capture(command as Command, argv, { env: { HOME: home, XOS_RUN: join(home, 'run'), XOS_BIN: programs } }) };
}

const list = (place: Place): string[] => readdirSync(join(place.home, '.xos/checkpoints')).sort();

test('verify reads every byte, names what is damaged, and says what it could not check', async (t) => {
  const place = start(t);
  const whole = await place.run('verify', 'one');
  t.is(whole.status, 0, whole.err);
  t.is(whole.out, "checkpoint 'one' is whole: 8.8K in 2 files, signature not checked\n  it cannot go on on this node, whose processor lacks amx_of_tomorrow\n");
  t.regex(whole.err, /whether a node of your VO has signed it is not checked/);
  const bytes = readFileSync(join(place.stored, 'pages-1.img'));
  bytes[8999] = bytes[8999]! ^ 4;
  writeFileSync(join(place.stored, 'pages-1.img'), bytes);
  const damaged = await place.run('verify', '--json', 'one', 'none');
  t.is(damaged.status, 1);
  t.like(JSON.parse(damaged.out), [{ name: 'one', whole: false, code: 'XOS_CHECKPOINT_DAMAGED' }, { name: 'none', whole: false, code: 'XOS_CHECKPOINT_UNKNOWN' }]);
  t.regex((await place.run('verify', 'one')).err, /its file 'pages-1.img' was changed/);
});

test('an export is a directory of plain images, and comes back as the same checkpoint', async (t) => {
  const place = start(t);
  const to = join(place.home, 'plain');
  const exported = await place.run('export', 'one', to);
  t.is(exported.status, 0, exported.err);
  t.regex(exported.out, /root restores it, where its process ids are free, with\n {2}criu restore --images-dir [^\n]*plain [^\n]*--inherit-fd 'fd\[0\]:pipe:\[77\]'\n {2}2 bytes that nobody had read yet/);
  t.deepEqual(readdirSync(to).sort(), ['core-100.img', 'inventory.img', 'manifest', 'pages-1.img']);
  t.is((await place.run('export', 'one', to)).status, 1, 'never over something else');
  const imported = await place.run('import', to, '--name', 'two');
  t.is(imported.status, 0, imported.err);
  t.is(imported.out, "checkpoint 'two' of job n1-1 is there again (8.8K); 'xrestart two' lets it go on\n");
  for (const name of ['manifest', 'state.img', 'pages-1.img'])
    t.deepEqual(readFileSync(join(place.stored, '../two', name)), readFileSync(join(place.stored, name)), name);
  t.like(JSON.parse((await place.run('import', to, '--json')).out), { name: 'plain', job: 'n1-1', signature_checked: false });
});

test('what is cut off, changed, foreign, not there or in the way is refused, and nothing is left behind', async (t) => {
  const place = start(t);
  const from = join(place.home, 'from');
  t.is((await place.run('export', 'one', from)).status, 0);
  const refused = async (code: string, text: RegExp, name = 'two'): Promise<void> => {
    const { status, err } = await place.run('import', from, '--name', name);
    t.is(status, 1, code);
    t.regex(err, text);
    t.deepEqual(list(place), ['one'], code);
  };
  await refused('EXISTS', /there is one of that name/, 'one');
  const core = readFileSync(join(from, 'core-100.img'));
  writeFileSync(join(from, 'core-100.img'), 'corf\0');
  await refused('DAMAGED', /files beside the memory was changed/);
  writeFileSync(join(from, 'core-100.img'), core.subarray(0, 4));
  await refused('DAMAGED', /'core-100.img' cannot be read whole/);
  writeFileSync(join(from, 'core-100.img'), core);
  rmSync(join(from, 'pages-1.img'));
  await refused('DAMAGED', /'pages-1.img' cannot be read/);
  rmSync(join(from, 'manifest'));
  await refused('FOREIGN', /images of CRIU without the manifest that a node signed/);
  rmSync(from, { recursive: true });
  await refused('UNKNOWN', /No such file or directory/);
  t.false(existsSync(join(place.home, 'two')));
});

test('wrong usage is told before anything is read', async (t) => {
  const place = start(t);
  for (const argv of [['verify'], ['export', 'one'], ['export', 'one', 'a', 'b'], ['import'], ['import', 'a', 'b']])
    t.is((await place.run(...argv)).status, 2, argv.join(' '));
  t.regex((await place.run('import', place.home, '--name', '../up')).err, /is not valid/);
});

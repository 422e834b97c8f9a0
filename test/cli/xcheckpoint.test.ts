import test, { type ExecutionContext } from 'ava';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ApiRegistry, type ApiHandler } from '../../src/api/registry.ts';
import { apiServer } from '../../src/api/server.ts';
import type { Command } from '../../src/cli/lib/command.ts';
import { command as xcheckpoint } from '../../src/cli/xcheckpoint.ts';
import { command as xrestart } from '../../src/cli/xrestart.ts';
import { XosError } from '../../src/core/errors.ts';
import { systemNetwork } from '../../src/platform/network.ts';
import { manifestText } from '../checkpoint/samples.ts';
import { quietLog } from '../support/ports.ts';
import { capture, type Captured } from './lib/capture.ts';

interface Place {
  readonly home: string;
  /** Serves an operation of xosd.sock. */
  serve(name: 'checkpoint-create' | 'checkpoint-check' | 'checkpoint-restart', handler: ApiHandler<never>): void;
  /** A checkpoint whose files are as its manifest says. */
  store(name: string, changes?: object): string;
  run(command: unknown, argv: readonly string[], columns?: number): Promise<Captured>;
}

async function start(t: ExecutionContext): Promise<Place> {
  const home = mkdtempSync(join(tmpdir(), 'xos-checkpoint-'));
  const registry = new ApiRegistry();
  const server = apiServer({ network: systemNetwork, log: quietLog, path: join(home, 'run/xosd.sock'), registry, identify: () => ({ user: 'alice', vo: 'demo' }) });
  await server.start(new AbortController().signal);
  t.teardown(async () => {
    await server.stop();
    rmSync(home, { recursive: true });
  });
  return {
    home,
    serve: (name, handler) => void registry.register(name, handler as never),
    store(name, changes = {}) {
      const directory = join(home, '.xos/checkpoints', name);
      mkdirSync(directory, { recursive: true });
      writeFileSync(join(directory, 'manifest'), manifestText(changes));
      writeFileSync(join(directory, 'pages-1.img'), '12345');
      writeFileSync(join(directory, 'state.img'), '123456789');
      return directory;
    },
    run: (command, argv, columns) => capture(command as Command, argv, { env: { HOME: home, XOS_RUN: join(home, 'run') }, ...(columns === undefined ? {} : { columns }) }),
  };
}

const created = { job: 'n1-1', program: 'python3', node: 'n2', name: 'one', directory: '/d', bytes: 5_242_889, processes: 1, frozen_ms: 12, total_ms: 1234, way: 'plain', why_plain: null };

test('a checkpoint is made, with progress on stderr and size and standstill on stdout', async (t) => {
  const place = await start(t);
  const asked: object[] = [];
  place.serve('checkpoint-create', async function* (_caller: unknown, request: object) {
    asked.push(request);
    yield { phase: 'writing', bytes: 1_048_576, bytes_total: 5_242_880 } as never;
    return created as never;
  } as never);
  const { status, out, err } = await place.run(xcheckpoint, ['n1-1', '--name', 'one']);
  t.is(status, 0);
  t.is(out, "checkpoint 'one' of job n1-1 (python3, 1 process): 5.0M, 1.23 s in all, stood still for 12 ms\nthe job has stopped; 'xrestart one' lets it go on\n");
  t.is(err, 'checkpoint of job n1-1: writing memory 1.0M of about 5.0M\n');
  t.regex((await place.run(xcheckpoint, ['4711', '--leave-running'])).out, /^[^\n]*stood still for 12 ms \(plain: no reason given\)\n$/);
  t.deepEqual(JSON.parse((await place.run(xcheckpoint, ['n1-1', '--json'])).out), created);
  t.deepEqual(asked.slice(0, 2), [{ job: 'n1-1', name: 'one', leave_running: false }, { job: '4711', name: null, leave_running: true }]);
});

test('a refusal is one clear line and status 1', async (t) => {
  const place = await start(t);
  place.serve('checkpoint-create', (async () => { throw new XosError('XOS_CHECKPOINT_LANDLOCK', "cannot take a checkpoint of job 'n1-1': 'xz' …"); }) as never);
  t.deepEqual(await place.run(xcheckpoint, ['n1-1']), { status: 1, out: '', err: "xcheckpoint: cannot take a checkpoint of job 'n1-1': 'xz' …\n" });
});

test('--check says what stands in the way, and its status whether it would work', async (t) => {
  const place = await start(t);
  let certain = true;
  place.serve('checkpoint-check', (async () => ({
    job: 'n1-1', program: 'xz', node: 'n2', obstacles: [{ code: 'XOS_CHECKPOINT_LANDLOCK', pid: 100, program: 'xz', what: 'has put itself under Landlock', advice: 'use gzip', certain }],
  })) as never);
  t.deepEqual(await place.run(xcheckpoint, ['--check', 'n1-1']), {
    status: 1, err: '', out: 'job n1-1 (xz) on node n2 cannot be checkpointed now:\n  xz (process 100) has put itself under Landlock\n    use gzip\n',
  });
  certain = false;
  const { status, out } = await place.run(xcheckpoint, ['--check', 'n1-1']);
  t.is(status, 0);
  t.is(out, 'job n1-1 (xz) on node n2 can be checkpointed, but note\n  perhaps: xz (process 100) has put itself under Landlock\n    use gzip\n');
  t.like(JSON.parse((await place.run(xcheckpoint, ['--check', '--json', 'n1-1'])).out), { possible: true, job: 'n1-1' });
});

test('ls, show and rm work on the files alone, and say what is unusable', async (t) => {
  const place = await start(t);
  t.deepEqual(await place.run(xcheckpoint, ['ls']), { status: 0, out: '', err: '' });
  place.store('whole');
  writeFileSync(join(place.store('short'), 'pages-1.img'), '123');
  rmSync(join(place.store('unfinished'), 'manifest'));
  place.store('.whole.new');
  const { out } = await place.run(xcheckpoint, ['ls']);
  t.regex(out, /^NAME +JOB +PROGRAM +NODE +SIZE +TAKEN +STATE\nshort .*unusable: its file 'pages-1.img' is cut off or changed\nunfinished .*never finished.*\nwhole +n1-1 +python3 +n2 +5.0M .*whole\n$/);
  t.deepEqual((JSON.parse((await place.run(xcheckpoint, ['ls', '--json'])).out) as { name: string; usable: boolean }[]).map(({ name, usable }) => [name, usable]),
    [['short', false], ['unfinished', false], ['whole', true]]);
  t.regex((await place.run(xcheckpoint, ['show', 'whole'])).out, /command: +python3 crunch me.py\n[^]*job then: +stopped\n[^]*streams: +0,1,2: terminal\n/);
  t.is((await place.run(xcheckpoint, ['show', 'short'])).status, 1);
  t.deepEqual(await place.run(xrestart, ['--list', '--quiet']), { status: 0, out: 'whole\n', err: '' });
  t.is((await place.run(xcheckpoint, ['rm', 'whole', 'short'])).status, 0);
  t.false(existsSync(join(place.home, '.xos/checkpoints/whole')));
  t.deepEqual(await place.run(xcheckpoint, ['rm', 'whole']), { status: 1, out: '', err: "xcheckpoint: cannot remove checkpoint 'whole': there is none of that name; 'xcheckpoint ls' lists yours\n" });
  t.is((await place.run(xcheckpoint, ['rm', '../..'])).status, 1);
});

test('a restart with a proxy that is still there says how to bring it up, and is noted', async (t) => {
  const place = await start(t);
  const directory = place.store('one');
  const asked: { earlier: string }[] = [];
  place.serve('checkpoint-restart', async function* (_caller: unknown, request: { earlier: string }) {
    asked.push(request);
    yield { phase: 'restoring', bytes: 1, bytes_total: 2 } as never;
    return { job: 'n1-1', program: 'python3', node: 'n3', name: 'one', continued: true, bytes: 2, processes: 1, total_ms: 3 } as never;
  } as never);
  const { status, out } = await place.run(xrestart, ['one', '--node', 'n3']);
  t.deepEqual([status, out], [0, "job n1-1 (python3) runs again on node n3, reattached to its terminal; 'fg' to bring it up\n"]);
  t.is(readFileSync(join(directory, 'restarted'), 'utf8'), 'n1-1\n');
  await place.run(xrestart, ['one', '--detach']);
  t.like(asked, [{ name: 'one', node: 'n3', detach: false, earlier: '', force: false }, { node: null, detach: true, earlier: 'n1-1' }]);
});

test('wrong usage and unknown names are refused before xosd is asked', async (t) => {
  const place = await start(t);
  for (const [command, argv, status, text] of [
    [xcheckpoint, [], 2, /JOB\|PID/], [xcheckpoint, ['a', 'b'], 2, /one too many/], [xcheckpoint, ['show'], 2, /name of one/], [xcheckpoint, ['rm'], 2, /names/],
    [xrestart, [], 2, /NAME is missing/], [xrestart, ['a', 'b'], 2, /unexpected argument 'b'/], [xrestart, ['none'], 1, /there is none of that name/], [xrestart, ['../x'], 1, /is not valid/],
  ] as const) {
    const { status: seen, err } = await place.run(command, argv);
    t.is(seen, status, argv.join(' '));
    t.regex(err, text);
  }
});

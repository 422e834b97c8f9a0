import test, { type ExecutionContext } from 'ava';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ApiRegistry, type ApiHandler } from '../../src/api/registry.ts';
import { apiServer } from '../../src/api/server.ts';
import type { Command } from '../../src/cli/lib/command.ts';
import { command } from '../../src/cli/xmigrate.ts';
import { XosError } from '../../src/core/errors.ts';
import { systemNetwork } from '../../src/platform/network.ts';
import { quietLog } from '../support/ports.ts';
import { capture, type Captured } from './lib/capture.ts';

async function start(t: ExecutionContext, handler: ApiHandler<never>): Promise<(...argv: string[]) => Promise<Captured>> {
  const home = mkdtempSync(join(tmpdir(), 'xos-migrate-'));
  const registry = new ApiRegistry();
  registry.register('checkpoint-migrate', handler as never);
  const server = apiServer({ network: systemNetwork, log: quietLog, path: join(home, 'run/xosd.sock'), registry, identify: () => ({ user: 'alice', vo: 'demo' }) });
  await server.start(new AbortController().signal);
  t.teardown(async () => {
    await server.stop();
    rmSync(home, { recursive: true });
  });
  return (...argv) => capture(command as Command, argv, { env: { HOME: home, XOS_RUN: join(home, 'run') } });
}

const migrated = { job: 'n1-1', program: 'python3', from: 'n2', node: 'n3', bytes: 5_242_889, processes: 1, standstill_ms: 1234 };

test('a job is moved, with progress on stderr, and where it was and is and how long it stood still on stdout', async (t) => {
  const asked: object[] = [];
  const run = await start(t, async function* (_caller: unknown, request: object) {
    asked.push(request);
    yield { phase: 'writing', bytes: 1_048_576, bytes_total: 5_242_880 } as never;
    return migrated as never;
  } as never);
  t.deepEqual(await run('n1-1', '--to', 'n3'), {
    status: 0, out: 'job n1-1 (python3, 1 process) moved from node n2 to node n3: 5.0M, stood still for 1.23 s\n',
    err: 'migration of job n1-1: sending memory 1.0M of about 5.0M\n',
  });
  const { status, out } = await run('--json', '4711');
  t.is(status, 0);
  t.deepEqual(JSON.parse(out), migrated);
  t.deepEqual(asked, [{ job: 'n1-1', node: 'n3' }, { job: '4711', node: null }]);
});

test('a refusal is one line with its reason and status 1, wrong usage is status 2', async (t) => {
  const run = await start(t, (async () => { throw new XosError('XOS_CHECKPOINT_CPU', "cannot migrate job 'n1-1' to node 'n3': its processor lacks avx2 …"); }) as never);
  t.deepEqual(await run('n1-1', '--to', 'n3'), { status: 1, out: '', err: "xmigrate: cannot migrate job 'n1-1' to node 'n3': its processor lacks avx2 …\n" });
  for (const argv of [[], ['n1-1', 'n3'], ['--to']]) t.is((await run(...argv)).status, 2, argv.join(' '));
});

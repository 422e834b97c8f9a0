// A process that writes to an LMDB log is killed (SIGKILL) at a random point of its work, again and again on the same log.
// What it acknowledged is there afterwards, in order, without a gap; what it did not is there whole or not at all.
import test from 'ava';
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { LmdbLog, Replica } from '../../src/group/index.ts';
import { quietLog } from '../support/ports.ts';
import { numbers } from './kill-machine.ts';

const child_path = fileURLToPath(new URL('kill-child.ts', import.meta.url));

/** Runs the child until it has acknowledged `count` and a little longer; resolves with the last number it acknowledged. */
function runAndKill(directory: string, count: number, extra_ms: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [child_path, directory], { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    let lines = 0;
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      const before = lines;
      lines += chunk.toString().split('\n').length - 1;
      if (before < count && lines >= count) setTimeout(() => child.kill('SIGKILL'), extra_ms);
    });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      if (signal !== 'SIGKILL') return reject(new Error(`the child ended by itself: ${code}`));
      resolve(Math.max(...text.slice(0, text.lastIndexOf('\n')).split('\n').map(Number)));
    });
  });
}

test('kill -9 loses nothing that was acknowledged', async (t) => {
  const directory = await mkdtemp('/tmp/xos-kill-');
  t.teardown(() => rm(directory, { recursive: true }));
  const seed = process.env['XOS_SEED'] ?? String(process.pid);
  t.log(`seed ${seed}`);
  for (let round = 0; round < 6; round++) {
    const random = (Number(seed) * 7919 + round * 104_729) % 97;
    const acknowledged = await runAndKill(directory, 5 + random * 2, random % 7);
    const replica = new Replica(numbers, new LmdbLog(directory), { log: quietLog });
    await replica.start();
    const { last, digest } = replica.state;
    await replica.stop();
    t.true(last >= acknowledged, `${last} recovered, ${acknowledged} acknowledged`);
    let expected = 0;
    for (let number = 1; number <= last; number++) expected = (expected * 31 + number) >>> 0;
    t.is(digest, expected);
  }
});

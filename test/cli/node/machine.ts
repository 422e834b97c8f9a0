// A machine of a test: folders of its own, and a real xosd that starts when set-up says so.
import type { ExecutionContext } from 'ava';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { Call } from '../../../src/cli/lib/command.ts';
import type { Machine } from '../../../src/cli/node/machine.ts';

const main = fileURLToPath(new URL('../../../src/daemon/main.ts', import.meta.url));

export interface TestMachine {
  readonly machine: Machine;
  readonly call: Call;
  readonly folder: string;
  /** How often xosd was started. */
  readonly starts: () => number;
  readonly kill: () => Promise<void>;
  readonly configuration: () => Promise<Record<string, unknown>>;
}

/** `defaults`: what the installed package says of roles; null as on a machine without one. */
export async function testMachine(t: ExecutionContext, name: string, defaults: object | null = null): Promise<TestMachine> {
  const folder = await mkdtemp(`/tmp/xos-setup-${name}-`);
  for (const each of ['run', 'state', 'etc', 'home', 'grid', 'skel', 'share']) await mkdir(`${folder}/${each}`);
  // What a site may have written before: set-up has to leave it as it is.
  await writeFile(`${folder}/etc/node.json`, JSON.stringify({ port: await freePort(), listen: '127.0.0.1', supervisor: 'none', policy: { homes: 'local' } }));
  if (defaults !== null) await writeFile(`${folder}/share/node-defaults.json`, JSON.stringify(defaults));
  let daemon: ChildProcess | null = null;
  let starts = 0;
  let log = '';
  const kill = async (): Promise<void> => {
    if (daemon === null || daemon.exitCode !== null || daemon.signalCode !== null) return;
    daemon.kill('SIGKILL');
    await once(daemon, 'exit');
  };
  t.teardown(async () => {
    await kill();
    await rm(folder, { recursive: true, force: true });
    if (!t.passed) t.log(`${name}:\n${log}`);
  });
  const machine: Machine = {
    uid: 0, etc: `${folder}/etc`, state: `${folder}/state`, run: `${folder}/run`, share: `${folder}/share`,
    markPrograms: async () => {},
    stopDaemons: kill,
    async startDaemon() {
      await kill();
      starts += 1;
      const at = (each: string): string => `${folder}/${each}`;
      daemon = spawn(process.execPath, [main], {
        stdio: ['ignore', 'ignore', 'pipe'],
        env: { ...process.env, XOS_RUN: at('run'), XOS_STATE: at('state'), XOS_ETC: at('etc'), XOS_HOME: at('home'), XOS_GRID: at('grid'), XOS_SKELETON: at('skel'), XOS_SERVICES: at('none') },
      });
      daemon.stderr!.on('data', (chunk: Buffer) => (log += chunk.toString()));
    },
  };
  const quiet = { write: () => true };
  const call: Call = {
    options: {}, args: [], rest: [], out: quiet, err: quiet, env: { XOS_RUN: `${folder}/run`, XOS_ETC: `${folder}/etc` }, signal: new AbortController().signal, note: () => {}, json: () => {},
  };
  return { machine, call, folder, kill, starts: () => starts, configuration: async () => JSON.parse(await readFile(`${folder}/etc/node.json`, 'utf8')) as Record<string, unknown> };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  return port;
}

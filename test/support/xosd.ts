import type { ExecutionContext } from 'ava';
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { OperationName, Request, Response } from '../../src/api/operations.ts';
import type { NodeStatus } from '../../src/api/operations/node.ts';
import { callApi } from '../../src/api/client.ts';
import { ControlServer } from '../../src/platform/control.ts';
import { systemNetwork } from '../../src/platform/network.ts';
import { decodeFields, encodeFields } from '../../src/session/agent-codec.ts';
import { quietLog } from './ports.ts';

const main = fileURLToPath(new URL('../../src/daemon/main.ts', import.meta.url));

/** A port and the few after it that the native services would have, free a moment ago. */
async function freePort(): Promise<number> {
  return await new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

/** A request that the relay got, by the fields that tests look at. */
interface Told { readonly op: string; readonly session?: string; readonly kill?: boolean; readonly secret?: string; readonly nodes?: readonly { readonly node: string }[] }

/** An xosd process of its own on loopback; its relay is a control server of the test that writes down what it is told. */
export class Xosd {
  readonly node: string;
  readonly directory: string;
  readonly told: Told[] = [];
  readonly #config: object;
  #process: ChildProcess | null = null;
  #log = '';

  private constructor(node: string, directory: string, config: object) {
    this.node = node;
    this.directory = directory;
    this.#config = config;
  }

  static async create(t: ExecutionContext, node: string, config: object): Promise<Xosd> {
    const directory = await mkdtemp(`/tmp/xosd-${node}-`);
    const xosd = new Xosd(node, directory, { node, address: '127.0.0.1', listen: '127.0.0.1', port: await freePort(), roles: ['relay'], supervisor: 'none', policy: { homes: 'local' }, ...config });
    for (const name of ['run', 'state', 'etc', 'home', 'grid', 'skel']) await mkdir(`${directory}/${name}`);
    await writeFile(`${directory}/skel/.profile`, '# from the skeleton\n');
    const relay = new ControlServer({ network: systemNetwork, log: quietLog }, `${directory}/run/relayd.ctl`, 0o600, async (op, fields) => {
      xosd.told.push({ op, ...fields });
      return op === 'jobs' ? { jobs: [] } : op === 'cells' ? { cells: [] } : {};
    });
    // Volumes are of VO demo in these tests; what the mount is told nobody looks at.
    const mount = new ControlServer({ network: systemNetwork, log: quietLog }, `${directory}/run/mount-demo.ctl`, 0o600, async () => ({}));
    await Promise.all([relay.start(), mount.start()]);
    t.teardown(async () => {
      await xosd.end('SIGKILL');
      await Promise.all([relay.stop(), mount.stop()]);
      await rm(directory, { recursive: true, force: true });
      if (!t.passed) t.log(`${node}:\n${xosd.#log}`);
    });
    return xosd;
  }

  get log(): string {
    return this.#log;
  }

  async start(change: object = {}): Promise<void> {
    Object.assign(this.#config, change);
    await writeFile(`${this.directory}/etc/node.json`, JSON.stringify(this.#config));
    const at = (name: string): string => `${this.directory}/${name}`;
    const child = spawn(process.execPath, [main], {
      env: { ...process.env, NODE_COMPILE_CACHE: fileURLToPath(new URL('../../build/compile-cache', import.meta.url)), XOS_RUN: at('run'), XOS_STATE: at('state'), XOS_ETC: at('etc'), XOS_HOME: at('home'), XOS_GRID: at('grid'), XOS_SKELETON: at('skel'), XOS_SERVICES: at('none') },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    child.stderr!.on('data', (chunk: Buffer) => (this.#log += chunk.toString()));
    this.#process = child;
  }

  /** Resolves with how it ended. */
  async end(signal: NodeJS.Signals): Promise<{ code: number | null; signal: string | null } | null> {
    const child = this.#process;
    this.#process = null;
    if (child === null) return null;
    if (child.exitCode !== null || child.signalCode !== null) return { code: child.exitCode, signal: child.signalCode };
    return await new Promise((resolve) => {
      child.once('close', (code, ended) => resolve({ code, signal: ended }));
      child.kill(signal);
    });
  }

  /** Resolves with its exit status; for a start that must fail. */
  async ended(): Promise<number | null> {
    const child = this.#process!;
    if (child.exitCode !== null) return child.exitCode;
    return await new Promise((resolve) => child.once('close', resolve));
  }

  api<N extends OperationName>(op: N, request: Request<N>): Promise<Response<N>> {
    return callApi(op, request, { run: `${this.directory}/run` });
  }

  /** Waits until `holds` of the node's status; the test's own time limit bounds it. */
  async until(holds: (status: NodeStatus) => boolean): Promise<NodeStatus> {
    for (;;) {
      const status = await this.api('status', {}).catch(() => null);
      if (status !== null && holds(status)) return status;
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
  }

  /** Waits until the relay was told something. */
  async relayHears(holds: (message: Told) => boolean): Promise<void> {
    while (!this.told.some(holds)) await new Promise((resolve) => setTimeout(resolve, 20));
  }

  /** One request on agent.sock, as PAM sends it. */
  agent(op: string, fields: Record<string, string> = {}): Promise<Record<string, string>> {
    return new Promise((resolve, reject) => {
      const socket = connect({ path: `${this.directory}/run/agent.sock` });
      let text = '';
      socket.on('error', reject);
      socket.on('data', (chunk) => (text += chunk.toString()));
      socket.on('close', () => {
        try {
          resolve(Object.fromEntries(decodeFields(text.slice(0, -2), 'status')));
        } catch (thrown) {
          reject(thrown as Error);
        }
      });
      socket.write(encodeFields(['op', op], fields));
    });
  }
}

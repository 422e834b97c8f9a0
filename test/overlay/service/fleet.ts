// Real overlays, each a process of its own in a network namespace of its own; needs root.
//   n1 10.99.0.1 ══ veth ══╗
//   n2 10.99.0.2 ══ veth ══ a namespace that forwards (no bridge: neighbour tables are one for the whole machine, and short)
//   …                    ══╝
// With `loopback` all are on 127.0.0.1, at ports of their own.
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { NodeRecord } from '../../../src/core/model.ts';
import type { TestVo } from '../../vo/authority.ts';
import type { Answer, Order, Shown } from './fleet-node.ts';
import { identityOf } from './instances.ts';

const program = new URL('./fleet-node.ts', import.meta.url).pathname;
/** As small as it goes, where there are hundreds of them. */
const node_options = ['--disable-warning=ExperimentalWarning'];
const lean_options = ['--max-semi-space-size=1', '--single-threaded-gc', '--v8-pool-size=1'];
const lean_from = 50;
const router_mac = '02:00:00:00:00:01';
const router = '169.254.0.1';
const begin_at_once = 40;
/** Hundreds of processes on two processors answer late, and one that has not by then never will. */
const answer_ms = 120_000;

export interface FleetOptions {
  readonly vo: TestVo;
  readonly count: number;
  readonly port?: number;
  readonly loopback?: boolean;
  readonly signal: AbortSignal;
}

/** One process. Every order is answered, or rejects when the process ends. */
export class FleetNode {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { readonly resolve: (answer: Answer) => void; readonly reject: (reason: Error) => void }>();
  #next = 0;
  readonly ended: Promise<void>;

  constructor(name: string, child: ChildProcess) {
    this.name = name;
    this.#child = child;
    let said = '';
    child.stderr?.on('data', (text: Buffer) => { said = `${said}${text.toString()}`.slice(-2_000); });
    child.on('message', (answer: Answer) => {
      this.#waiting.get(answer.id)?.resolve(answer);
    });
    this.ended = new Promise((resolve) => void child.once('close', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`the process of ${name} has ended: ${said}`));
      this.#waiting.clear();
      resolve();
    }));
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  async ask(order: Order): Promise<Answer> {
    const id = this.#next++;
    let timer: NodeJS.Timeout | undefined;
    const answer = await new Promise<Answer>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      timer = setTimeout(() => reject(new Error(`${this.name} has not answered '${order.op}' within ${answer_ms / 1_000} s`)), answer_ms);
      this.#child.send({ ...order, id }, (cause) => { if (cause !== null) reject(cause); });
    }).finally(() => {
      clearTimeout(timer);
      this.#waiting.delete(id);
    });
    if (answer.error !== undefined) throw new Error(`${this.name}: ${answer.error}`);
    return answer;
  }

  async show(): Promise<Shown> {
    return (await this.ask({ op: 'show' })).shown!;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill('SIGKILL');
    await this.ended;
  }
}

export class Fleet {
  readonly nodes: readonly FleetNode[];
  readonly #release: () => Promise<void>;

  private constructor(nodes: readonly FleetNode[], release: () => Promise<void>) {
    this.nodes = nodes;
    this.#release = release;
  }

  /** All processes run and listen when this resolves; whether they have found each other is another question. */
  static async up (options: FleetOptions): Promise<Fleet> {
    const { vo, count, port = 7_001, loopback = false, signal } = options;
    const directory = await mkdtemp('/tmp/fleet-');
    const nodes: FleetNode[] = [];
    const fabric = loopback ? null : spawn('unshare', ['--net', 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward && echo ready && read -r end'], { stdio: ['pipe', 'pipe', 'inherit'] });
    const release = async (): Promise<void> => {
      await Promise.all(nodes.map((node) => node.stop()));
      fabric?.stdin?.end();
      await rm(directory, { recursive: true, force: true });
    };
    try {
      const records: NodeRecord[] = Array.from({ length: count }, (_, i) => ({ node: `n${i + 1}`, address: loopback ? '127.0.0.1' : address(i), port: loopback ? port + i : port, roles: ['relay'], state: 'admitted' }));
      if (fabric !== null) await new Promise<void>((resolve, reject) => { fabric.stdout!.once('data', () => resolve()); fabric.once('close', () => reject(new Error('no network namespace could be made'))); });
      for (let at = 0; at < count; at += begin_at_once) {
        signal.throwIfAborted();
        const some = records.slice(at, at + begin_at_once).map(({ node }) => begin(node, loopback, count >= lean_from));
        nodes.push(...some);
        await Promise.all(some.map((node) => node.ask({ op: 'ready' })));
        if (fabric !== null) await connect(fabric.pid!, some, at);
      }
      const start = async (node: FleetNode): Promise<void> => {
        const identity = await identityOf(vo, node.name);
        await node.ask({ op: 'start', config: { vo: vo.trust.vo, node: node.name, node_ca: vo.founding.node_ca, ...identity, records, directory } });
      };
      await Promise.all(nodes.map(start));
      return new Fleet(nodes, release);
    } catch (thrown) {
      await release();
      throw thrown;
    }
  }

  async shown (): Promise<readonly Shown[]> {
    return await Promise.all(this.nodes.map((node) => node.show()));
  }

  async down (): Promise<void> {
    await this.#release();
  }
}

const address = (i: number): string => `10.99.${Math.floor((i + 1) / 250)}.${1 + ((i + 1) % 250)}`;

function begin (name: string, loopback: boolean, lean: boolean): FleetNode {
  const argv = [process.execPath, ...node_options, ...(lean ? lean_options : []), program];
  const [file, words] = loopback ? [argv[0]!, argv.slice(1)] : ['unshare', ['--net', ...argv]];
  // Compiled once, not two hundred times.
  const env = { ...process.env, NODE_COMPILE_CACHE: new URL('../../../build/compile-cache', import.meta.url).pathname };
  return new FleetNode(name, spawn(file, words, { stdio: ['ignore', 'inherit', 'pipe', 'ipc'], env }));
}

async function inside (pid: number, lines: readonly string[]): Promise<void> {
  const running = promisify(execFile)('nsenter', ['--target', String(pid), '--net', 'ip', '-batch', '-']);
  running.child.stdin!.end(`${lines.join('\n')}\n`);
  await running;
}

/** Cables between the namespace that forwards and those of some nodes, the first of which is number `first`. */
async function connect (fabric: number, nodes: readonly FleetNode[], first: number): Promise<void> {
  const mac = (i: number): string => `02:00:00:01:${(i >> 8).toString(16).padStart(2, '0')}:${(i & 255).toString(16).padStart(2, '0')}`;
  await inside(fabric, nodes.flatMap(({ pid }, at) => {
    const i = first + at;
    return [
      `link add v${i} address ${router_mac} type veth peer name eth0 address ${mac(i)} netns ${pid}`, `link set v${i} up`,
      `neigh replace ${address(i)} lladdr ${mac(i)} dev v${i} nud permanent`, `route add ${address(i)}/32 dev v${i}`,
    ];
  }));
  await Promise.all(nodes.map(async ({ pid }, at) => await inside(pid, [
    'link set lo up', 'link set eth0 up', `address add ${address(first + at)}/32 dev eth0`, `neigh replace ${router} lladdr ${router_mac} dev eth0 nud permanent`,
    `route add ${router}/32 dev eth0`, `route add default via ${router} dev eth0`,
  ])));
}

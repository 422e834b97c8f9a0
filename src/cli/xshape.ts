#!/usr/lib/xos/bin/node
import type { ShapeNeighbour } from '../api/operations/overlay.ts';
import { ask } from './lib/api.ts';
import { commonExitStatus, defineCommand, type Call } from './lib/command.ts';
import { runIfMain } from './lib/main.ts';
import { UsageError } from './lib/parse.ts';
import { XosError } from '../core/errors.ts';

export const command = defineCommand({
  name: 'xshape',
  summary: 'give a program its neighbours in a ring, torus, mesh, tree or hypercube of nodes',
  description: [
    'Takes POSITION among SIZE members of the shape NAME, for the node where it runs, and runs COMMAND with `XOS_NEIGHBOURS`, the path of a file that holds the members beside it: a line each, position, node and address. The file is replaced by a whole new one whenever they change: while the shape is built, when a node dies, when one comes back.',
    'Without --position it starts COMMAND on SIZE nodes at once, a job on each, in the position that XOS_POSITION says; --where chooses among the nodes. It ends when all have ended, with the first status that is not 0; a signal goes to all.',
    'However they were started, the members find each other and arrange themselves without a server, in a number of rounds that grows with the logarithm of SIZE. Where a member is dead its place is taken by the next one: a ring closes, children in a tree go to their grandparent.',
    'Without COMMAND the neighbours are printed as they change. Names are your own: nobody else\'s shape is met.',
  ],
  synopsis: ['--shape SHAPE --size N [--where QUERY] NAME -- COMMAND [ARGUMENT…]', '--shape SHAPE --size N --position I [--json] NAME [-- COMMAND [ARGUMENT…]]'],
  options: {
    shape: { kind: 'text', short: 's', value: 'SHAPE', summary: '`ring`, `torus`, `torus:WxH`, `mesh`, `mesh:WxH`, `tree:ARITY`, `hypercube`, `nearest:COUNT`, or `rank:COUNT:EXPRESSION`, where EXPRESSION says how far position `b` is from `a` among `size`', complete: ['ring', 'torus', 'mesh', 'tree', 'hypercube'] },
    position: { kind: 'number', short: 'p', value: 'I', min: 0, integer: true, summary: 'the position of this member, from 0 (default: start them all)' },
    size: { kind: 'number', short: 'n', value: 'N', min: 1, integer: true, summary: 'how many members there are' },
    where: { kind: 'text', short: 'w', value: 'QUERY', summary: 'start them on nodes that fit, see xquery(1)' },
    json: { kind: 'flag', summary: 'without COMMAND: print each list of neighbours as a line of JSON' },
  },
  arguments: [{ name: 'NAME', summary: 'the same for all members' }],
  rest: { name: 'COMMAND', summary: 'the command to run', complete: 'command' },
  environment: [{ name: 'XOS_NEIGHBOURS', summary: 'For COMMAND: path of the file of neighbours.' }, { name: 'XOS_POSITION', summary: 'For COMMAND: its position, from 0.' }],
  examples: [
    { text: 'a ring of three nodes', line: 'xshape -s ring -n 3 sim -- ./worker' }, { text: 'a tree of those that have room', line: "xshape -s tree:2 -n 15 -w 'cores >= 8, free_cpus >= 1' sum -- ./worker" },
    { text: 'neighbours by a distance of your own', line: "xshape -s 'rank:4:abs(a % 10 - b % 10) + abs(floor(a / 10) - floor(b / 10))' -n 100 grid -- ./worker" },
  ],
  exitStatus: [{ status: '0-255', meaning: "that of COMMAND; 128+N when signal N killed it" }, { status: '1', meaning: 'also: the node could not take part; the reason is on stderr' }, commonExitStatus[2]!],
  seeAlso: [['xrun', 1], ['xquery', 1], ['xsubscribe', 1], ['xos', 7]],
  run: async (call) => {
    const { shape, position, size } = call.options;
    if (shape === undefined || size === undefined) throw new UsageError('--shape and --size are needed');
    const name = call.args[0] ?? '';
    if (position === undefined) {
      if (call.rest.length === 0) throw new UsageError('a COMMAND to start on each node is needed, or --position');
      return await startAll(call as unknown as Call, { name, shape, size });
    }
    if (call.options.where !== undefined) throw new UsageError('--where chooses nodes to start on: it needs no --position');
    const request = { name, shape, position, size };
    if (call.rest.length === 0) return await print(call as unknown as Call, request);
    return await run(call as unknown as Call, request);
  },
});

/** A job on each of `size` nodes: this command again there, with the position. */
async function startAll(call: Call, { name, shape, size }: Omit<Request, 'position'>): Promise<number> {
  const query = String(call.options['where'] ?? '');
  const { nodes } = await ask(call, 'node-query', { query, count: size });
  if (nodes.length < size) throw new XosError('XOS_NO_NODE', `cannot start ${size} members of '${name}': ${nodes.length} nodes ${query === '' ? 'are known' : `fit '${query.slice(0, 200)}'`}, and each takes one position`, { name });
  const [{ spawn }, { constants }] = await Promise.all([import('node:child_process'), import('node:os')]);
  const children = nodes.slice(0, size).map(({ node }, position) =>
    spawn('xrun', ['--node', node, 'xshape', '--shape', shape, '--position', String(position), '--size', String(size), name, '--', ...call.rest], { stdio: ['ignore', 'inherit', 'inherit'] }));
  const tellAll = (signal: NodeJS.Signals): void => { for (const child of children) child.kill(signal); };
  for (const signal of ['SIGTERM', 'SIGHUP', 'SIGINT', 'SIGUSR1', 'SIGUSR2'] as const) process.on(signal, () => tellAll(signal));
  const statuses = await Promise.all(children.map((child) => new Promise<number>((resolve, reject) => {
    child.once('error', (cause) => { tellAll('SIGTERM'); reject(new XosError('XOS_NO_COMMAND', `cannot start a member of '${name}': xrun: ${cause.message}`, { name }, { cause })); });
    child.once('close', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
  })));
  return statuses.find((status) => status !== 0) ?? 0;
}

interface Request { readonly name: string; readonly shape: string; readonly position: number; readonly size: number }

const lines = (neighbours: readonly ShapeNeighbour[]): string => neighbours.map(({ position, node, address }) => `${position} ${node} ${address}\n`).join('');

async function print(call: Call, request: Request): Promise<void> {
  await ask(call, 'shape-join', request, {
    timeout_ms: null,
    onProgress: ({ neighbours }) => void call.out.write(call.options['json'] === true ? `${JSON.stringify(neighbours)}\n` : `${lines(neighbours)}\n`),
  });
}

/** The command begins when its node takes part, and the node leaves when the command ends. */
async function run(call: Call, request: Request): Promise<number> {
  const [{ mkdtempSync, renameSync, rmSync, writeFileSync }, { tmpdir, constants }, { spawn }] = await Promise.all([import('node:fs'), import('node:os'), import('node:child_process')]);
  const directory = mkdtempSync(`${tmpdir()}/xshape-`);
  const file = `${directory}/neighbours`;
  const over = new AbortController();
  try {
    let started = (): void => {};
    const stands = new Promise<void>((resolve) => { started = resolve; });
    const membership = ask({ ...call, signal: AbortSignal.any([call.signal, over.signal]) }, 'shape-join', request, {
      timeout_ms: null,
      onProgress: ({ neighbours }) => {
        // Synchronously, so that two of them never overtake each other.
        writeFileSync(`${file}.new`, lines(neighbours));
        renameSync(`${file}.new`, file);
        started();
      },
    });
    await Promise.race([stands, membership]);
    membership.catch((thrown: unknown) => { if (!over.signal.aborted) call.note(`the neighbours do not change any more: ${(thrown as Error).message}`); });
    const [program = '', ...words] = call.rest;
    const child = spawn(program, words, { stdio: 'inherit', env: { ...process.env, XOS_NEIGHBOURS: file, XOS_POSITION: String(request.position) } });
    for (const signal of ['SIGTERM', 'SIGHUP', 'SIGINT', 'SIGUSR1', 'SIGUSR2'] as const) process.on(signal, () => void child.kill(signal));
    return await new Promise<number>((resolve, reject) => {
      child.once('error', (cause) => reject(Object.assign(new Error(`cannot run '${program}': ${cause.message}`, { cause }), { code: 'XOS_NO_COMMAND' })));
      child.once('close', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
    });
  } finally {
    over.abort();
    rmSync(directory, { recursive: true, force: true });
  }
}

await runIfMain(import.meta, command);

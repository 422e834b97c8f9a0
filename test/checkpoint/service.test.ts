// Checkpoint services of three nodes with real gRPC between them; the relays are scripts that answer as xos-relayd does.
//   n1 (home of the jobs) --- n2 (they run here) --- n3 (commands are given here)
import test, { type ExecutionContext } from 'ava';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import type { ApiCaller } from '../../src/api/registry.ts';
import type { Session } from '../../src/core/model.ts';
import { XosError } from '../../src/core/errors.ts';
import type { NodeContext, Sessions } from '../../src/daemon/context.ts';
import { createCheckpointService } from '../../src/checkpoint/index.ts';
import { createJobService } from '../../src/job/index.ts';
import { alice, bob, startVo, until, type TestNode, type TestVo } from '../support/vo.ts';
import { manifestText } from './samples.ts';

type Fields = Record<string, unknown>;

interface Grid {
  readonly vo: TestVo;
  readonly asked: Record<string, Fields[]>;
  /** Makes n1 know a job. */
  job(id: string, changes?: object): Promise<void>;
  /** What the relay of n1 does when asked to checkpoint or restore. */
  answer: (op: string, fields: Fields) => Fields;
  call(node: string, op: string, request: object, caller?: Partial<ApiCaller>): Promise<{ value: Fields; progress: Fields[] }>;
}

async function start(t: ExecutionContext): Promise<Grid> {
  const vo = await startVo(['n1', 'n2', 'n3']);
  const jobs = vo.nodes.map(({ context }) => createJobService(context));
  const services = vo.nodes.map(({ context }) => createCheckpointService(context));
  t.teardown(async () => {
    await Promise.all([...services, ...jobs].map((service) => service.stop()));
    await vo.stop();
  });
  const asked: Grid['asked'] = { n1: [], n2: [], n3: [] };
  const known: object[] = [];
  const grid: Grid = {
    vo, asked, answer: () => ({}),
    call: (node, op, request, caller) => call(vo.node(node), op, request, caller),
    async job(id, changes = {}) {
      const job = {
        job: id, name: 'python3', argv: ['python3', 'x'], node: 'n2', state: 'running', session: 'cd'.repeat(16), uid: alice.uid, user: 'alice', vo: 'demo',
        proxy_pid: process.pid, started_ms: 1, ...changes,
      };
      known.push(job);
      server.emit({ event: 'job-started', ...job });
      await until(() => jobs[0]!.jobs.link.table.get(id) !== null);
    },
  };
  const play = (node: string) => vo.node(node).daemon('relay', (op, fields, control) => {
    if (op === 'jobs') return { jobs: node === 'n1' ? known : [] };
    if (op === 'cells' || op === 'placement') return { cells: [] };
    asked[node]!.push({ op, ...fields });
    if (op === 'checkpoint') control.progress({ phase: 'writing', bytes: 5, bytes_total: 10 });
    return grid.answer(op, fields);
  });
  const server = await play('n1');
  for (const node of ['n2', 'n3']) await play(node);
  for (const service of jobs) await service.start(new AbortController().signal);
  for (const service of services) await service.start();
  return grid;
}

/** An operation of xosd.sock with its progress. */
async function call(node: TestNode, op: string, request: object, changes: Partial<ApiCaller> = {}): Promise<{ value: Fields; progress: Fields[] }> {
  const handler = node.context.api.get(op);
  if (handler === null) throw new XosError('XOS_NO_OPERATION', op);
  const answered = handler({ uid: alice.uid, gid: alice.gid, pid: 1, user: 'alice', vo: 'demo', ...changes }, request, new AbortController().signal);
  const progress: Fields[] = [];
  if (!(Symbol.asyncIterator in answered)) return { value: await answered as Fields, progress };
  for (;;) {
    const step = await answered.next();
    if (step.done === true) return { value: step.value as Fields, progress };
    progress.push(step.value as Fields);
  }
}

const asBob = { uid: bob.uid, gid: bob.gid, user: 'bob' };

/** Gives a user a session whose origin is the node. */
function login(context: NodeContext, uid: number): void {
  const session: Session = {
    session: 'ef'.repeat(16), user: 'alice', vo: 'demo', uid, gid: uid, groups: [], roles: [], origin: context.node, home: '/home/alice', expires_ms: 1e15, started_ms: 5,
  };
  const sessions: Sessions = { list: () => [session], get: () => session, onOpen: () => () => {}, onClose: () => () => {} };
  (context as { sessions: Sessions }).sessions = sessions;
}

function store(context: NodeContext, name: string, text: string | null): string {
  const directory = `${context.paths.home}/alice/.xos/checkpoints/${name}`;
  mkdirSync(directory, { recursive: true });
  if (text !== null) writeFileSync(`${directory}/manifest`, text);
  return directory;
}

const restart = { name: 'one', node: null, detach: true, earlier: '', force: false };
const create = { job: 'n1-1', name: null, leave_running: true };

test("a job is checkpointed from any node into its owner's home, with a name of its own", async (t) => {
  const grid = await start(t);
  await grid.job('n1-1');
  const { context } = grid.vo.node('n3');
  store(context, 'python3-n1-1-4', null);
  grid.answer = () => ({ bytes: 100, processes: 2, frozen_ms: 3, total_ms: 9, copy_on_write: false, why_plain: 'it is small' });
  const { value, progress } = await grid.call('n3', 'checkpoint-create', create);
  const directory = `${context.paths.home}/alice/.xos/checkpoints/python3-n1-1-5`;
  t.deepEqual(value, { job: 'n1-1', program: 'python3', node: 'n2', name: 'python3-n1-1-5', directory, bytes: 100, processes: 2, frozen_ms: 3, total_ms: 9, way: 'plain', why_plain: 'it is small' });
  t.deepEqual(progress, [{ phase: 'writing', bytes: 5, bytes_total: 10 }]);
  t.like(grid.asked['n1']!.at(-1), { op: 'checkpoint', job: 'n1-1', directory, leave_running: true, uid: 0 });
});

test('the pid of a proxy names the job on its node', async (t) => {
  const grid = await start(t);
  await grid.job('n1-1');
  t.is((await grid.call('n1', 'checkpoint-create', { ...create, job: String(process.pid), name: 'mine' })).value['name'], 'mine');
  await t.throwsAsync(grid.call('n3', 'checkpoint-create', { ...create, job: String(process.pid) }), { code: 'XOS_NO_JOB', message: /no job of yours has its proxy there on this node/ });
});

test('what cannot be checkpointed is refused before the relay is asked', async (t) => {
  const grid = await start(t);
  await grid.job('n1-1');
  await grid.job('n1-2', { state: 'checkpointed' });
  await grid.job('n1-3', { uid: bob.uid, user: 'bob' });
  const refused = (request: object, caller = {}) => grid.call('n3', 'checkpoint-create', { ...create, ...request }, caller);
  await t.throwsAsync(refused({ job: 'n1-9' }), { code: 'XOS_NO_JOB' });
  await t.throwsAsync(refused({ job: 'n9-1' }), { code: 'XOS_NO_NODE', message: /no node 'n9'/ });
  await t.throwsAsync(refused({ job: '../x' }), { code: 'XOS_BAD_NAME' });
  await t.throwsAsync(refused({ name: '../x' }), { code: 'XOS_BAD_NAME' });
  await t.throwsAsync(refused({ job: 'n1-2' }), { code: 'XOS_JOB_OVER', message: /it is checkpointed/ });
  await t.throwsAsync(refused({ job: 'n1-1' }, asBob), { code: 'XOS_DENIED', message: /belongs to alice@demo/ });
  t.deepEqual(grid.asked['n1'], []);
  t.is((await refused({ job: 'n1-3' })).value['directory'], `${grid.vo.node('n3').context.paths.home}/bob/.xos/checkpoints/python3-n1-3-1`, 'an administrator may, into the home of the owner');
});

test("the relay's refusal comes through as it is", async (t) => {
  const grid = await start(t);
  await grid.job('n1-1');
  grid.answer = () => { throw new XosError('XOS_CHECKPOINT_LANDLOCK', "'xz' cannot"); };
  await t.throwsAsync(grid.call('n3', 'checkpoint-create', create), { code: 'XOS_CHECKPOINT_LANDLOCK', message: "'xz' cannot" });
});

test('a check tells what stands in the way', async (t) => {
  const grid = await start(t);
  await grid.job('n1-1');
  const obstacle = { code: 'XOS_CHECKPOINT_DEVICE', pid: 100, program: 'a', what: 'b', advice: 'c', certain: false };
  grid.answer = () => ({ obstacles: [obstacle] });
  t.deepEqual((await grid.call('n3', 'checkpoint-check', { job: 'n1-1' })).value, { job: 'n1-1', program: 'python3', node: 'n2', obstacles: [obstacle] });
});

test('a job that waits with its proxy goes on there, wherever xrestart is called', async (t) => {
  const grid = await start(t);
  await grid.job('n1-1', { state: 'checkpointed' });
  const directory = store(grid.vo.node('n3').context, 'one', manifestText());
  grid.answer = () => ({ job: 'n1-1', node: 'n2', processes: 1, bytes: 7, total_ms: 8 });
  const { value } = await grid.call('n3', 'checkpoint-restart', { ...restart, node: 'n2' });
  t.deepEqual(value, { job: 'n1-1', program: 'python3', node: 'n2', name: 'one', continued: true, processes: 1, bytes: 7, total_ms: 8 });
  t.like(grid.asked['n1']!.at(-1), { op: 'restore', job: 'n1-1', directory, node: 'n2', session: 'cd'.repeat(16), uid: alice.uid });
});

test('a job that is lost, or whose proxy is gone, goes on as a job of this node', async (t) => {
  const grid = await start(t);
  const { context } = grid.vo.node('n3');
  login(context, alice.uid);
  store(context, 'one', manifestText());
  grid.answer = () => ({ job: 'n3-1', node: 'n2' });
  t.like((await grid.call('n3', 'checkpoint-restart', restart)).value, { job: 'n3-1', continued: false });
  t.like(grid.asked['n3']!.at(-1), { op: 'restore', job: 'n1-1', session: 'ef'.repeat(16), attach: false });
  await grid.job('n1-1', { state: 'checkpointed', proxy_pid: 0 });
  t.like((await grid.call('n3', 'checkpoint-restart', { ...restart, detach: false })).value, { job: 'n3-1', continued: false });
  t.like(grid.asked['n3']!.at(-1), { op: 'restore', attach: true });
  t.like(grid.asked['n1']!.at(-1), { op: 'signal', job: 'n1-1', signal: 9 }, 'the old home does not keep it');
});

test('there is one copy of a job only', async (t) => {
  const grid = await start(t);
  const { context } = grid.vo.node('n3');
  login(context, alice.uid);
  store(context, 'one', manifestText());
  await grid.job('n1-1');
  await t.throwsAsync(grid.call('n3', 'checkpoint-restart', restart), { code: 'XOS_JOB_RUNNING', message: /its job 'n1-1' is still there \(running, node n2\).*'xkill n1-1'/ });
  store(context, 'two', manifestText({ job: 'n1-8' }));
  await t.throwsAsync(grid.call('n3', 'checkpoint-restart', { ...restart, name: 'two', earlier: 'n1-1' }), { code: 'XOS_JOB_RUNNING' });
  t.deepEqual(grid.asked['n3'], []);
});

test('while the home of the job is silent nothing is restarted unless by force', async (t) => {
  const grid = await start(t);
  const { context } = grid.vo.node('n3');
  login(context, alice.uid);
  store(context, 'one', manifestText());
  await grid.vo.node('n1').rpc.stop();
  await t.throwsAsync(grid.call('n3', 'checkpoint-restart', restart), { code: 'XOS_UNAVAILABLE', message: /home node 'n1' of job 'n1-1' does not answer;.*--force one/ });
  grid.answer = () => ({ job: 'n3-1', node: 'n3' });
  t.is((await grid.call('n3', 'checkpoint-restart', { ...restart, force: true })).value['job'], 'n3-1');
});

test('a checkpoint that is not there, not whole or damaged, an unknown node, and no session are refused', async (t) => {
  const grid = await start(t);
  const { context } = grid.vo.node('n3');
  store(context, 'empty', null);
  store(context, 'cut', manifestText().slice(0, 100));
  store(context, 'one', manifestText());
  const refused = (request: object, caller = {}) => grid.call('n3', 'checkpoint-restart', { ...restart, ...request }, caller);
  await t.throwsAsync(refused({ name: 'none' }), { code: 'XOS_CHECKPOINT_UNKNOWN', message: /'xcheckpoint ls'/ });
  await t.throwsAsync(refused({ name: 'empty' }), { code: 'XOS_CHECKPOINT_DAMAGED', message: /never finished/ });
  await t.throwsAsync(refused({ name: 'cut' }), { code: 'XOS_CHECKPOINT_DAMAGED', message: /cut off/ });
  await t.throwsAsync(refused({ name: '../one' }), { code: 'XOS_BAD_NAME' });
  await t.throwsAsync(refused({ node: 'n9' }), { code: 'XOS_NO_NODE' });
  await t.throwsAsync(refused({}), { code: 'XOS_SESSION_UNKNOWN' });
  await t.throwsAsync(refused({}, { uid: 0, user: null }), { code: 'XOS_SESSION_UNKNOWN' });
  await t.throwsAsync(refused({ name: 7 }), { code: 'XOS_BAD_ARGUMENT' });
});

test('a running job is moved by the relay of its home, through a checkpoint of its own name', async (t) => {
  const grid = await start(t);
  await grid.job('n1-1');
  const { context } = grid.vo.node('n3');
  grid.answer = () => ({ from: 'n2', node: 'n3', bytes: 100, processes: 2, standstill_ms: 30 });
  const { value } = await grid.call('n3', 'checkpoint-migrate', { job: 'n1-1', node: 'n3' });
  t.deepEqual(value, { job: 'n1-1', program: 'python3', from: 'n2', node: 'n3', bytes: 100, processes: 2, standstill_ms: 30 });
  t.like(grid.asked['n1']!.at(-1), { op: 'migrate', job: 'n1-1', node: 'n3', directory: `${context.paths.home}/alice/.xos/checkpoints/moving-n1-1` });
});

test("what cannot be moved is refused before the relay is asked: an unknown node, another user's job, one that is not running", async (t) => {
  const grid = await start(t);
  await grid.job('n1-1');
  await grid.job('n1-2', { state: 'checkpointed' });
  await t.throwsAsync(grid.call('n3', 'checkpoint-migrate', { job: 'n1-1', node: 'n9' }), { code: 'XOS_NO_NODE', message: /no node 'n9'/ });
  await t.throwsAsync(grid.call('n3', 'checkpoint-migrate', { job: 'n1-2', node: null }), { code: 'XOS_JOB_OVER', message: /cannot migrate job 'n1-2': it is checkpointed/ });
  await t.throwsAsync(grid.call('n3', 'checkpoint-migrate', { job: 'n1-1', node: null }, asBob), { code: 'XOS_DENIED', message: /belongs to alice@demo/ });
  t.deepEqual(grid.asked['n1'], []);
});

test('who vouches for the nodes is told to everybody, and that it cannot be told when xosd has no certificates', async (t) => {
  const grid = await start(t);
  const { context } = grid.vo.node('n3');
  mkdirSync(`${context.paths.state}/node`, { recursive: true });
  writeFileSync(`${context.paths.state}/node/ca.pem`, 'certificates');
  t.deepEqual((await grid.call('n3', 'checkpoint-authority', {}, asBob)).value, { certificates: 'certificates' });
  const other = grid.vo.node('n2').context;
  rmSync(`${other.paths.state}/node/ca.pem`, { force: true });
  await t.throwsAsync(grid.call('n2', 'checkpoint-authority', {}), { code: 'XOS_UNAVAILABLE' });
});

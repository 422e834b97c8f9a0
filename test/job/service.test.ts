// Job services of three nodes with real gRPC between them; the relays are scripts that answer as xos-relayd does.
//   n1 (home of alice's jobs) --- n2 (they run here) --- n3
import test, { type ExecutionContext } from 'ava';
import type { ControlServer } from '../../src/platform/control.ts';
import { createJobService, forward, type JobService } from '../../src/job/index.ts';
import { alice, bob, startVo, until, type TestVo } from '../support/vo.ts';

interface Relay {
  server: ControlServer;
  jobs: object[];
  cells: object[];
  /** Operations that it was asked for, in order. */
  readonly asked: Record<string, unknown>[];
}

interface Grid { readonly vo: TestVo; readonly services: readonly JobService[]; readonly relays: Record<string, Relay> }

const jobOf = (id: string, changes: object = {}): object => ({
  job: id, name: 'python3', argv: ['python3', 'a\nb'], node: 'n2', state: 'running', session: 'ab'.repeat(16), uid: alice.uid, user: 'alice', vo: 'demo',
  proxy_pid: 777, started_ms: 1_000, ...changes,
});
const cellOf = (job: string): object => ({ job, home: 'n1', session: 'ab'.repeat(16), uid: alice.uid, processes: 2, cpu_seconds: 4.5, memory_bytes: 8192 });

async function play(vo: TestVo, name: string, relay: Omit<Relay, 'server'>): Promise<ControlServer> {
  return await vo.node(name).daemon('relay', async (op, fields, call) => {
    relay.asked.push({ op, ...fields });
    if (op === 'jobs') {
      // As the relay does: by number, page by page.
      const numbered = relay.jobs.map((job) => ({ job, number: Number((job as { job: string }).job.split('-')[1]) })).filter(({ number }) => number > Number(fields['after']));
      const page = numbered.slice(0, Number(fields['limit']));
      return { jobs: page.map(({ job }) => job), ...(page.length < numbered.length ? { next: page.at(-1)?.number } : {}) };
    }
    if (op === 'cells') return { cells: relay.cells };
    if (op === 'checkpoint') {
      call.progress({ phase: 'writing', bytes: 5, bytes_total: 10 });
      return { bytes: 10, freeze_ms: 3 };
    }
    return {};
  });
}

async function start(t: ExecutionContext): Promise<Grid> {
  const vo = await startVo(['n1', 'n2', 'n3']);
  const services = vo.nodes.map(({ context }) => createJobService(context));
  t.teardown(async () => {
    await Promise.all(services.map((service) => service.stop()));
    await vo.stop();
  });
  const relays: Record<string, Relay> = {};
  for (const { context: { node } } of vo.nodes) {
    const relay = { jobs: [] as object[], cells: [] as object[], asked: [] };
    relays[node] = Object.assign(relay, { server: await play(vo, node, relay) });
  }
  for (const service of services) await service.start(new AbortController().signal);
  return { vo, services, relays };
}

interface Rows { jobs?: { id: string; argv: string[]; state: string; cpu_seconds: number; memory_bytes: number; node: string }[]; silent: string[] }

test('jobs are listed from any node, with name of the home and figures of the running node', async (t) => {
  const { vo, relays } = await start(t);
  relays['n2']!.cells = [cellOf('n1-1')];
  relays['n1']!.server.emit({ event: 'job-started', ...jobOf('n1-1') });
  await until(async () => ((await vo.node('n3').api('job-list', alice.uid)) as Rows).jobs !== undefined);
  const { jobs, silent } = (await vo.node('n3').api('job-list', alice.uid)) as Rows;
  t.like(jobs?.[0], { id: 'n1-1', name: 'python3', argv: ['python3', 'a\nb'], node: 'n2', home: 'n1', user: 'alice', vo: 'demo', cpu_seconds: 4.5, memory_bytes: 8192 });
  t.deepEqual(silent, []);
  t.deepEqual(((await vo.node('n3').api('job-list', bob.uid)) as Rows).jobs, undefined, "bob sees none of alice's");
  await t.throwsAsync(vo.node('n3').api('job-list', bob.uid, { all: true }), { code: 'XOS_DENIED' });
});

test('a thousand jobs with long arguments come in portions', async (t) => {
  const { vo, relays, services } = await start(t);
  for (let number = 1; number <= 1_000; number++) relays['n1']!.server.emit({ event: 'job-started', ...jobOf(`n1-${number}`, { argv: ['x', 'é'.repeat(2_000)] }) });
  await until(() => services[0]!.jobs.link.table.size === 1_000);
  const { jobs } = (await vo.node('n3').api('job-list', alice.uid)) as Rows;
  t.is(jobs?.length, 1_000);
  t.is(jobs?.at(-1)?.id, 'n1-1000');
  t.true(jobs?.every(({ argv }) => argv.length === 2 && argv[1]!.endsWith('…') && argv[1]!.length <= 512));
});

test('a node that does not answer is named, and its cells are not forgotten', async (t) => {
  const { vo, relays } = await start(t);
  relays['n2']!.cells = [cellOf('n1-1')];
  // A connection that is being made when a server stops may live on and be served: have it made before.
  await vo.node('n3').api('job-list', alice.uid);
  await vo.node('n1').rpc.stop();
  const { jobs, silent } = (await vo.node('n3').api('job-list', alice.uid)) as Rows;
  t.deepEqual(silent, ['n1']);
  t.like(jobs?.[0], { id: 'n1-1', state: 'lost', node: 'n2' });
});

test('a signal from another node reaches the relay of the home, for the owner and an administrator only', async (t) => {
  const { vo, relays } = await start(t);
  relays['n1']!.jobs = [jobOf('n1-1', { uid: bob.uid, user: 'bob' })];
  relays['n1']!.server.emit({ event: 'job-started', ...jobOf('n1-1', { uid: bob.uid, user: 'bob' }) });
  await until(() => vo.node('n3').api('job-signal', bob.uid, { job: 'n1-1', signal: 0 }).then(() => true, () => false));
  await vo.node('n3').api('job-signal', bob.uid, { job: 'n1-1', signal: 15 });
  t.like(relays['n1']!.asked.at(-1), { op: 'signal', job: 'n1-1', signal: 15, uid: bob.uid });
  await vo.node('n2').api('job-signal', alice.uid, { job: 'n1-1', signal: 9 });
  t.like(relays['n1']!.asked.filter(({ op }) => op === 'signal').at(-1), { signal: 9, uid: 0 });
  await t.throwsAsync(vo.node('n3').api('job-signal', 1000, { job: 'n1-1', signal: 9 }), { code: 'XOS_DENIED', message: /belongs to bob@demo/ });
  await t.throwsAsync(vo.node('n3').api('job-signal', bob.uid, { job: 'n1-9', signal: 9 }), { code: 'XOS_NO_JOB', message: /xps --ended/ });
  await t.throwsAsync(vo.node('n3').api('job-signal', bob.uid, { job: 'n9-1', signal: 9 }), { code: 'XOS_NO_NODE', message: /no node 'n9' in VO 'demo'/ });
  await t.throwsAsync(vo.node('n3').api('job-signal', bob.uid, { job: '../x', signal: 9 }), { code: 'XOS_BAD_NAME' });
  await t.throwsAsync(vo.node('n3').api('job-signal', bob.uid, { job: 'n1-1', signal: 65 }), { code: 'XOS_BAD_ARGUMENT' });
});

test('the pid of a proxy names a job on its own node and nowhere else', async (t) => {
  const { vo, relays } = await start(t);
  relays['n1']!.server.emit({ event: 'job-started', ...jobOf('n1-1') });
  await until(() => vo.node('n1').api('job-signal', alice.uid, { job: '777', signal: 0 }).then(() => true, () => false));
  await t.throwsAsync(vo.node('n2').api('job-signal', alice.uid, { job: '777', signal: 0 }), { code: 'XOS_NO_JOB', message: /no job has its proxy there/ });
});

test('waiting from another node ends with the status, at once; a turn that ends first says: still running', async (t) => {
  const { vo, relays } = await start(t);
  relays['n1']!.server.emit({ event: 'job-started', ...jobOf('n1-1') });
  await until(() => vo.node('n3').api('job-wait', alice.uid, { job: 'n1-1', turn_ms: 0 }).then(() => true, () => false));
  t.like((await vo.node('n3').api('job-wait', alice.uid, { job: 'n1-1', turn_ms: 10 })) as object, { job: { state: 'running', exit_code: null } });
  const waiting = vo.node('n3').api('job-wait', alice.uid, { job: 'n1-1', turn_ms: 15_000 });
  relays['n1']!.server.emit({ event: 'job-ended', job: 'n1-1', exit_code: 7, cpu_seconds: 1 });
  t.like((await waiting) as object, { job: { state: 'ended', exit_code: 7, exit_signal: null } });
});

test('an event of an unknown job, and a relay that comes back, are answered by a resync', async (t) => {
  const { vo, relays, services } = await start(t);
  relays['n1']!.jobs = [jobOf('n1-5')];
  relays['n1']!.server.emit({ event: 'job-state', job: 'n1-5', state: 'running' });
  await until(() => services[0]!.jobs.link.table.get('n1-5') !== null);
  await relays['n1']!.server.stop();
  relays['n1']!.jobs = Array.from({ length: 950 }, (_each, index) => jobOf(`n1-${index + 6}`));
  relays['n1']!.server = await play(vo, 'n1', relays['n1']!);
  await until(() => services[0]!.jobs.link.table.get('n1-6') !== null);
  t.is(services[0]!.jobs.link.table.get('n1-5')?.state, 'lost');
  t.is(services[0]!.jobs.link.table.size, 951);
});

test('every relay gets a table of all nodes, and a node that was put out is not eligible in the next one', async (t) => {
  const { vo, relays, services } = await start(t);
  const table = (): { node: string; eligible: boolean }[] =>
    (relays['n1']!.asked.filter(({ op }) => op === 'placement').at(-1)?.['nodes'] ?? []) as { node: string; eligible: boolean }[];
  await until(() => table().filter(({ eligible }) => eligible).length === 3);
  t.deepEqual(Object.keys(table()[0]!).sort(), ['cpus', 'eligible', 'load', 'memory_free_bytes', 'node', 'running']);
  relays['n1']!.server.emit({ event: 'job-started', ...jobOf('n1-1') });
  await until(() => services[0]!.jobs.link.table.get('n1-1') !== null);
  vo.change('n2', { state: 'revoked' });
  await until(() => table().find(({ node }) => node === 'n2')?.eligible === false);
  t.like(services[0]!.jobs.link.table.get('n1-1'), { state: 'lost', reason: "node 'n2' was removed from the VO" });
});

test('node states: ready when the services of its roles are up, starting while one is down, silent when unheard', async (t) => {
  const { vo } = await start(t);
  interface States { nodes: { node: string; state: string; detail: string; here: boolean }[] }
  const states = async (): Promise<States['nodes']> => ((await vo.node('n3').api('node-states', 1000)) as States).nodes;
  await until(async () => (await states()).every(({ state }) => state === 'starting'));
  t.regex((await states())[0]!.detail, /mrc: .*osd: .*mount: /);
  for (const name of ['osd', 'mrc', 'mount'] as const) await vo.node('n1').daemon(name, () => ({}));
  await until(async () => (await states())[0]!.state === 'ready');
  t.deepEqual((await states()).map(({ node, here }) => `${node} ${here}`), ['n1 false', 'n2 false', 'n3 true']);
});

test("a checkpoint asked for anywhere runs on the job's home and passes progress and answer on", async (t) => {
  const { vo, relays, services } = await start(t);
  relays['n1']!.server.emit({ event: 'job-started', ...jobOf('n1-1') });
  await until(() => services[0]!.jobs.link.table.get('n1-1') !== null);
  const progress: object[] = [];
  const { signal } = new AbortController();
  const answer = await forward(services[2]!.jobs, bob, 'checkpoint', 'n1-1', { directory: '/home/alice/c' }, { signal, onProgress: (each) => progress.push(each) })
    .then(() => null, (error: unknown) => error);
  t.like(answer, { code: 'XOS_DENIED' });
  t.deepEqual(await forward(services[2]!.jobs, alice, 'checkpoint', 'n1-1', { directory: '/home/alice/c' }, { signal, onProgress: (each) => progress.push(each) }),
    { bytes: 10, freeze_ms: 3 });
  t.deepEqual(progress, [{ phase: 'writing', bytes: 5, bytes_total: 10 }]);
  t.like(relays['n1']!.asked.find(({ op }) => op === 'checkpoint'), { job: 'n1-1', directory: '/home/alice/c', uid: 0 });
  await t.throwsAsync(forward(services[2]!.jobs, alice, 'check', 'n1-9', {}, { signal }), { code: 'XOS_NO_JOB' });
  void vo;
});

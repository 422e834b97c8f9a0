// The protector of one node; its relay is a script that answers as xos-relayd does, and the checkpoints are folders with a manifest.
import test, { type ExecutionContext } from 'ava';
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Session } from '../../../src/core/model.ts';
import { XosError } from '../../../src/core/errors.ts';
import type { NodeContext } from '../../../src/daemon/context.ts';
import { Protector } from '../../../src/checkpoint/protect/protector.ts';
import { alice, startVo, until } from '../../support/vo.ts';
import { manifestText } from '../samples.ts';

type Fields = Record<string, unknown>;

interface Rig {
  /** What the relay was asked, without `jobs`. */
  readonly asked: Fields[];
  /** What it knows. */
  readonly jobs: Fields[];
  /** How it makes a checkpoint. */
  make: (fields: Fields) => object;
  emit(event: string, fields: Fields): void;
  readonly place: string;
  names(): readonly string[];
  store(name: string, created_ms?: number): void;
  open(): void;
  protector: Protector;
  begin(): Promise<void>;
}

async function start(t: ExecutionContext): Promise<Rig> {
  const vo = await startVo(['n1']);
  const opened: ((session: Session) => void)[] = [];
  const node = vo.node('n1');
  const { clock } = node.context.ports;
  const context: NodeContext = {
    ...node.context,
    sessions: { list: () => [], get: () => null, onOpen: (listener) => (opened.push(listener), () => {}), onClose: () => () => {} },
    // A second is five milliseconds.
    ports: { ...node.context.ports, clock: { ...clock, now_ms: () => clock.now_ms(), monotonic_ms: () => clock.monotonic_ms(), deadline: (ms, signal) => clock.deadline(ms, signal), sleep: (ms, signal) => clock.sleep(ms / 200, signal) } },
  };
  const place = `${context.paths.home}/alice/.xos/checkpoints`;
  mkdirSync(place, { recursive: true });
  chownSync(place, alice.uid, alice.gid);
  chmodSync(dirname(dirname(context.paths.home)), 0o711);  // what alice's is removed as alice
  const rig: Rig = {
    asked: [], jobs: [], place, make: () => ({}), protector: new Protector(context),
    emit: (event, fields) => server.emit({ event, ...fields }),
    names: () => readdirSync(place).sort(),
    store(name, created_ms = Date.now()) {
      mkdirSync(`${place}/${name}`);
      writeFileSync(`${place}/${name}/manifest`, manifestText({ created_ms }));
      for (const path of [`${place}/${name}`, `${place}/${name}/manifest`]) chownSync(path, alice.uid, alice.gid);
    },
    open: () => opened.forEach((listener) => listener({ session: 'ef'.repeat(16), user: 'alice', vo: 'demo', uid: alice.uid, gid: alice.gid, groups: [], roles: [], origin: 'n1', home: '/home/alice', expires_ms: 1e15, started_ms: 5 })),
    async begin() {
      rig.protector = new Protector(context);
      rig.protector.start();
    },
  };
  const server = await node.daemon('relay', (op, fields) => {
    if (op === 'jobs') return { jobs: rig.jobs };
    rig.asked.push({ op, ...fields });
    if (op !== 'checkpoint') return {};
    const done = rig.make(fields);
    rig.store(String(fields['directory']).replace(/^.*\//, ''));
    return done;
  });
  t.teardown(async () => {
    await rig.protector.stop();
    await vo.stop();
  });
  return rig;
}

const job = (changes: Fields = {}): Fields => ({
  job: 'n1-1', name: 'python3', argv: [], node: 'n2', state: 'running', session: 'cd'.repeat(16), uid: alice.uid, user: 'alice', vo: 'demo', proxy_pid: 1, started_ms: 1, protect_s: 10, ...changes,
});
const made = (rig: Rig): number => rig.asked.filter(({ op }) => op === 'checkpoint').length;

test('a protected job is checkpointed again and again, one checkpoint stays, and none when it has ended', async (t) => {
  const rig = await start(t);
  await rig.begin();
  rig.emit('job-started', job());
  await until(() => made(rig) >= 3);
  t.like(rig.asked[0], { op: 'checkpoint', job: 'n1-1', uid: 0, leave_running: true, protect: true });
  t.regex(String(rig.asked[0]!['directory']), /\/alice\/\.xos\/checkpoints\/protected\+n1-1\+1$/);
  rig.store('mine');
  rig.emit('job-ended', { job: 'n1-1', exit_code: 0 });
  await until(() => rig.names().join() === 'mine');
  t.pass();
});

test('a job that is not protected is left alone, and one that waits to go on elsewhere as well', async (t) => {
  const rig = await start(t);
  await rig.begin();
  const { protect_s: _, ...plain } = job({ job: 'n1-2' });
  rig.emit('job-started', plain);
  rig.emit('job-started', job({ job: 'n1-3', state: 'recovering' }));
  rig.emit('job-started', job());
  await until(() => made(rig) >= 3);
  t.deepEqual([...new Set(rig.asked.map((each) => each['job']))], ['n1-1']);
  rig.emit('job-state', { job: 'n1-3', state: 'running' });
  await until(() => rig.asked.some((each) => each['job'] === 'n1-3'));
});

test('a checkpoint that fails is told once, leaves the one before it, and is tried again', async (t) => {
  const rig = await start(t);
  await rig.begin();
  rig.emit('job-started', job());
  await until(() => rig.names().length === 1);
  rig.make = () => { throw new XosError('XOS_CHECKPOINT_OBSTACLE', 'it uses a device'); };
  const before = made(rig);
  await until(() => made(rig) >= before + 3);
  t.deepEqual(rig.asked.filter(({ op }) => op === 'notice').map(({ job: id, text }) => [id, text]), [['n1-1', "'python3' (job n1-1) goes on unprotected for now: it uses a device"]]);
  t.is(rig.names().length, 1);
  rig.make = () => ({});
  const failed = made(rig);
  await until(() => made(rig) > failed + 1);
  t.is(rig.asked.filter(({ op }) => op === 'notice').length, 1);
});

test('after a restart of xosd the jobs of the relay are protected on, and what ended meanwhile is cleared away', async (t) => {
  const rig = await start(t);
  for (const name of ['protected+n1-1+4', 'protected+n1-2+1', 'protected+n1-3+1', 'protected+n1-9+1']) rig.store(name);
  rig.jobs.push(job({ checkpoint: '/x/protected+n1-1+4', checkpoint_ms: 1 }), job({ job: 'n1-2', state: 'ended', exit_code: 0 }), job({ job: 'n1-3', state: 'lost' }));
  await rig.begin();
  await until(() => made(rig) >= 1 && !rig.names().includes('protected+n1-2+1') && !rig.names().includes('protected+n1-1+4'));
  t.regex(String(rig.asked[0]!['directory']), /protected\+n1-1\+5$/);
  t.true(['protected+n1-3+1', 'protected+n1-9+1'].every((name) => rig.names().includes(name)), 'lost, and unknown: left to the owner');
});

test('what nobody knows any more goes a week later, when its owner logs in', async (t) => {
  const rig = await start(t);
  const old_ms = Date.now() - 8 * 86_400_000;
  rig.store('protected+n1-7+1', old_ms);
  rig.store('protected+n1-8+1');
  rig.store('protected+n2-7+1', old_ms);
  rig.store('mine', old_ms);
  await rig.begin();
  await until(() => {
    rig.open();
    return !rig.names().includes('protected+n1-7+1');
  });
  t.deepEqual(rig.names(), ['mine', 'protected+n1-8+1', 'protected+n2-7+1']);
});

test("a link in the place of a checkpoint leads nowhere that is not its owner's", async (t) => {
  const rig = await start(t);
  const secret = mkdtempSync('/tmp/xos-test-');
  t.teardown(() => rmSync(secret, { recursive: true }));
  writeFileSync(`${secret}/manifest`, "root's");
  symlinkSync(secret, `${rig.place}/protected+n1-2+1`);
  rig.store('protected+n1-2+2');
  rig.jobs.push(job({ job: 'n1-2', state: 'ended', exit_code: 0 }));
  await rig.begin();
  await until(() => !rig.names().includes('protected+n1-2+2'));
  t.true(existsSync(`${secret}/manifest`));
});

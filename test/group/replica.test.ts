import test from 'ava';
import { XosError } from '../../src/core/errors.ts';
import { MemoryLog, Replica, memoryStore, type OrderedLog, type StateMachine } from '../../src/group/index.ts';
import { quietLog } from '../support/ports.ts';

interface Counter { readonly sum: number; readonly applied: number }
type Add = { readonly add: number };
const counter: StateMachine<Counter, Add, string> = {
  name: 'counter',
  version: 1,
  initial: () => ({ sum: 0, applied: 0 }),
  apply(state, { add }) {
    if (add < 0) return { state, effects: [], refused: { code: 'XOS_NEGATIVE', message: `cannot add ${add}` } };
    return { state: { sum: state.sum + add, applied: state.applied + 1 }, effects: [`added ${add}`] };
  },
};

const replica = (log: OrderedLog, options = {}): Replica<Counter, Add, string> => new Replica(counter, log, { log: quietLog, ...options });

test('a proposal is applied when it resolves, and a refusal reaches its proposer alone', async (t) => {
  const machine = replica(new MemoryLog(memoryStore()));
  await machine.start();
  const seen: string[] = [];
  machine.onChange((_, effects) => seen.push(...effects));
  const [, refused] = await Promise.allSettled([machine.propose({ add: 1 }), machine.propose({ add: -1 }), machine.propose({ add: 2 })]);
  t.is(refused.status, 'rejected');
  t.is(((refused as PromiseRejectedResult).reason as XosError).code, 'XOS_NEGATIVE');
  t.deepEqual(machine.state, { sum: 3, applied: 2 });
  t.deepEqual(seen, ['added 1', 'added 2']);
  await machine.stop();
});

test('commands that come while an append is under way share the next one', async (t) => {
  let appends = 0;
  let release = (): void => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  const log = new MemoryLog(memoryStore(), { beforeAppend: async () => void (appends++ === 0 && (await held)) });
  const machine = replica(log);
  await machine.start();
  const all = Array.from({ length: 50 }, (_, add) => machine.propose({ add }));
  release();
  await Promise.all(all);
  t.is(appends, 2);
  t.is(machine.last, 50);
  await machine.stop();
});

test('a restart gives the same state, with and without snapshots between', async (t) => {
  for (const snapshot_entries of [1, 7, 1_000]) {
    const store = memoryStore();
    const first = replica(new MemoryLog(store), { snapshot_entries });
    await first.start();
    for (let add = 0; add < 20; add++) await first.propose({ add });
    await first.stop();
    const second = replica(new MemoryLog(store), { snapshot_entries });
    await second.start();
    t.deepEqual(second.state, first.state);
    t.is(second.last, 20);
    t.true(store.entries.length < snapshot_entries || snapshot_entries === 1_000);
    await second.stop();
  }
});

test('a full disk refuses the commands and changes nothing; later ones work', async (t) => {
  let full = true;
  const machine = replica(new MemoryLog(memoryStore(), {
    beforeAppend: async () => {
      if (full) throw new XosError('XOS_LOG', 'no space left on device');
    },
  }));
  await machine.start();
  await t.throwsAsync(machine.propose({ add: 1 }), { message: /no space/ });
  full = false;
  await machine.propose({ add: 2 });
  t.deepEqual(machine.state, { sum: 2, applied: 1 });
  await machine.stop();
});

test('a replica that lost its log takes no more commands', async (t) => {
  const store = memoryStore();
  const older = replica(new MemoryLog(store));
  await older.start();
  const newer = replica(new MemoryLog(store));
  await newer.start();
  await newer.propose({ add: 5 });
  for (let attempt = 0; attempt < 2; attempt++) {
    const refused = await t.throwsAsync(older.propose({ add: 1 }));
    t.is((refused as XosError).code, 'XOS_FENCED');
  }
  t.is(newer.state.sum, 5);
  await older.stop();
  await t.throwsAsync(older.propose({ add: 1 }));
  await newer.stop();
});

test('a snapshot of a newer program or of another machine is not read', async (t) => {
  for (const change of [{ version: 2 }, { name: 'other' }]) {
    const store = memoryStore();
    const first = new Replica({ ...counter, ...change }, new MemoryLog(store), { log: quietLog, snapshot_entries: 1 });
    await first.start();
    await first.propose({ add: 1 });
    await first.stop();
    await t.throwsAsync(replica(new MemoryLog(store)).start(), { message: /snapshot/ });
  }
});

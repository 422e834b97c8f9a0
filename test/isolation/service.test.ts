// The service of one node with a real control connection to a relay that only notes what it is told.
import test from 'ava';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createIsolationService } from '../../src/isolation/index.ts';
import { findHierarchy } from '../../src/isolation/groups.ts';
import { startVo, until } from '../support/vo.ts';

interface Told { readonly vo: string; readonly directory: string; readonly cells: Readonly<Record<string, boolean>>; readonly memory_max?: number }

test("the relay is told what cells must be like as soon as it is there, and again when the VO's policy changes", async (t) => {
  const vo = await startVo(['n1']);
  t.teardown(() => vo.stop());
  const { context } = vo.node('n1');
  if ((await findHierarchy(context.ports)) !== 'none') {
    t.log('this machine has cgroup v2: what happens there is tested in a guest (test/system/isolation)');
    return t.pass();
  }
  const policy: Record<string, string> = { isolated: 'yes', 'memory.max': '1073741824' };
  const listeners: (() => void)[] = [];
  const members = { ...context.members, policy: () => policy, onChange: (listener: () => void) => (listeners.push(listener), () => {}) };
  const told: Told[] = [];
  await vo.node('n1').daemon('relay', (op, fields) => {
    if (op === 'vo-limits') told.push(fields as unknown as Told);
    return {};
  });
  const etc = `${context.paths.run}/etc`;
  mkdirSync(etc);
  writeFileSync(`${etc}/site.json`, '{"vo":{"*":{"trust":"untrusted"}}}');
  const service = createIsolationService({ ...context, members, paths: { ...context.paths, etc } });
  await service.start(new AbortController().signal);
  t.teardown(() => service.stop());
  await until(() => told.length > 0);
  t.like(told.at(-1), { vo: 'demo', directory: '', memory_max: 1073741824, cells: { isolated: true, untrusted: true, own_network: true, few_devices: true } });
  policy['isolated'] = 'no';
  const before = told.length;
  listeners.forEach((listener) => listener());
  await until(() => told.length > before);
  t.like(told.at(-1), { cells: { isolated: false, untrusted: true, own_network: false, few_devices: true } });
  t.true(service.status!().up);
});

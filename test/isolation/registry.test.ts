// The VO's policy on its way from an admin to the nodes: through a real registry and its signed document.
import test, { type ExecutionContext } from 'ava';
import { mkdtemp, rm } from 'node:fs/promises';
import { MemoryLog, memoryStore } from '../../src/group/index.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { systemDisk } from '../../src/platform/disk.ts';
import { systemRandom } from '../../src/platform/random.ts';
import { verifyDocument } from '../../src/vo/document.ts';
import { administer, type AdminCaller } from '../../src/vo/ops/administer.ts';
import { Registry } from '../../src/vo/registry.ts';
import { quietLog } from '../support/ports.ts';

const root: AdminCaller = { user: null, admin: true, node: 'n1' };
const alice: AdminCaller = { user: 'alice', admin: false, node: 'n1' };

async function founded(t: ExecutionContext): Promise<Registry> {
  const directory = await mkdtemp('/tmp/xos-policy-');
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const registry = new Registry(directory, new MemoryLog(memoryStore()), { clock: systemClock, random: systemRandom, disk: systemDisk, log: quietLog });
  await registry.start();
  await registry.found('demo', 1, { node: 'n1', address: '127.0.0.1', port: 7001, roles: ['relay'] });
  t.teardown(() => registry.stop());
  return registry;
}
const documentOf = (registry: Registry): ReturnType<typeof verifyDocument<'membership'>> => verifyDocument(registry.documents().membership, 'membership', registry.trust(), 0);

test('what an admin sets is in the next document, in its one way of writing, until it is taken back', async (t) => {
  const registry = await founded(t);
  t.is(documentOf(registry).isolation, undefined);
  const { version } = documentOf(registry);
  t.deepEqual(await administer(registry, 'vo-policy-set', { change: { 'memory.max': '1G', 'firewall.deny': '*:25, 10.0.0.0/8', trust: 'untrusted' } }, root), {
    policy: { 'memory.max': '1073741824', 'firewall.deny': '*:25 10.0.0.0/8', trust: 'untrusted' },
  });
  t.is(documentOf(registry).version, version + 1);
  t.is(documentOf(registry).isolation?.['trust'], 'untrusted');
  t.deepEqual(await administer(registry, 'vo-policy-set', { change: { trust: null, 'pids.max': '64', never: null } }, root), { policy: { 'memory.max': '1073741824', 'firewall.deny': '*:25 10.0.0.0/8', 'pids.max': '64' } });
  t.deepEqual(await administer(registry, 'vo-policy-show', {}, alice), { policy: { 'memory.max': '1073741824', 'firewall.deny': '*:25 10.0.0.0/8', 'pids.max': '64' } });
});

test('a setting that is wrong changes nothing, and a member without the role may not set one', async (t) => {
  const registry = await founded(t);
  await t.throwsAsync(administer(registry, 'vo-policy-set', { change: { 'pids.max': '64', 'memory.max': 'a lot' } }, root), { code: 'XOS_BAD_ARGUMENT' } as never);
  await t.throwsAsync(administer(registry, 'vo-policy-set', { change: { 'pids.max': '64' } }, alice), { code: 'XOS_DENIED' } as never);
  t.is(documentOf(registry).isolation, undefined);
});

test('a policy that was tampered with on its way is refused', async (t) => {
  const registry = await founded(t);
  await administer(registry, 'vo-policy-set', { change: { trust: 'untrusted' } }, root);
  const envelope = JSON.parse(registry.documents().membership.toString('utf8')) as { payload: string; signature: string };
  const payload = Buffer.from(envelope.payload, 'base64').toString('utf8').replace('"untrusted"', '"trusted"');
  const tampered = Buffer.from(JSON.stringify({ ...envelope, payload: Buffer.from(payload).toString('base64') }));
  t.throws(() => verifyDocument(tampered, 'membership', registry.trust(), 0), { code: 'XOS_DOCUMENT' } as never);
});

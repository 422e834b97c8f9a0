// Logins without the VO: what this node keeps of those with it.
import test, { type ExecutionContext } from 'ava';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { XosError } from '../../src/core/errors.ts';
import { systemDisk } from '../../src/platform/disk.ts';
import { systemRandom } from '../../src/platform/random.ts';
import { OfflineLogins } from '../../src/session/offline.ts';
import { keptLog, ManualClock } from '../support/ports.ts';

const hour_ms = 3_600_000;
const uid = 1_879_113_729;
let cost = 4;

async function kept(t: ExecutionContext): Promise<{ path: string; clock: ManualClock; logins: OfflineLogins; of: (secret: string) => OfflineLogins }> {
  const directory = await mkdtemp('/tmp/xos-offline-');
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const clock = new ManualClock();
  const path = `${directory}/offline.json`;
  const of = (secret: string): OfflineLogins => new OfflineLogins(path, Buffer.from(secret), () => cost, { clock, disk: systemDisk, random: systemRandom, log: keptLog().log });
  return { path, clock, logins: of('secret of n1'), of };
}
const check = async (logins: OfflineLogins, password: string, hours = 24, user = 'alice', as = uid): Promise<string> =>
  await logins.check(user, as, password, hours, () => {}).then(() => 'accepted', (thrown: XosError) => thrown.code);

test('who logged in here gets in for as long as the policy says, and nobody else', async (t) => {
  const { clock, logins } = await kept(t);
  await logins.confirm('alice', uid, 'correct horse');
  const { until_ms } = await logins.check('alice', uid, 'correct horse', 24, () => {});
  t.is(until_ms, clock.now_ms() + 24 * hour_ms);
  t.is(await check(logins, 'wrong horse'), 'XOS_WRONG_PASSWORD');
  t.is(await check(logins, 'correct horse', 24, 'bob', uid + 1), 'XOS_OFFLINE');
  t.is(await check(logins, 'correct horse', 24, 'alice', uid + 1), 'XOS_OFFLINE', 'another member got the name');
  t.is(await check(logins, 'correct horse', 0), 'XOS_OFFLINE');
  clock.advance(2 * hour_ms);
  t.is(await check(logins, 'correct horse', 2), 'XOS_OFFLINE');
  t.is(await check(logins, 'correct horse', 3), 'accepted');
});

test('a clock that was set back gives no more time', async (t) => {
  const { clock, logins } = await kept(t);
  await logins.confirm('alice', uid, 'correct horse');
  clock.advance(-24 * hour_ms);
  t.is(await check(logins, 'correct horse'), 'XOS_OFFLINE');
});

test('another login with the VO begins the time anew, and takes up a new password', async (t) => {
  const { path, clock, logins } = await kept(t);
  await logins.confirm('alice', uid, 'correct horse');
  const first = await readFile(path, 'utf8');
  clock.advance(20 * hour_ms);
  await logins.confirm('alice', uid, 'correct horse');
  t.is((JSON.parse(await readFile(path, 'utf8')) as Record<string, { verifier: string }>)['alice']!.verifier, (JSON.parse(first) as Record<string, { verifier: string }>)['alice']!.verifier);
  clock.advance(20 * hour_ms);
  t.is(await check(logins, 'correct horse'), 'accepted');
  await logins.confirm('alice', uid, 'battery staple');
  t.deepEqual([await check(logins, 'correct horse'), await check(logins, 'battery staple')], ['XOS_WRONG_PASSWORD', 'accepted']);
});

test.serial('a verifier is made anew when the VO wants another cost', async (t) => {
  const { path, logins } = await kept(t);
  const verifier = async (): Promise<string> => (JSON.parse(await readFile(path, 'utf8')) as Record<string, { verifier: string }>)['alice']!.verifier;
  await logins.confirm('alice', uid, 'correct horse');
  t.regex(await verifier(), /^\$y\$j8T\$/);
  cost = 5;
  t.teardown(() => void (cost = 4));
  t.is(await check(logins, 'correct horse'), 'accepted', 'the one of before is good until then');
  await logins.confirm('alice', uid, 'correct horse');
  t.regex(await verifier(), /^\$y\$j9T\$/);
});

test('the file is for root only, holds no password, and says nothing on another node', async (t) => {
  const { path, logins, of } = await kept(t);
  await logins.confirm('alice', uid, 'correct horse');
  t.is((await stat(path)).mode & 0o777, 0o600);
  t.notRegex(await readFile(path, 'utf8'), /correct|horse/);
  t.is(await check(of('secret of n2'), 'correct horse'), 'XOS_WRONG_PASSWORD');
});

test('who was revoked is forgotten, and a damaged file lets nobody in', async (t) => {
  const { path, logins } = await kept(t);
  await logins.confirm('alice', uid, 'correct horse');
  await logins.forget('alice');
  t.is(await check(logins, 'correct horse'), 'XOS_OFFLINE');
  for (const damaged of ['', '{', '[]', '5', 'null', '{"alice":{}}', `{"alice":{"uid":${uid},"verifier":"","confirmed_ms":9e99}}`, '{"__proto__":{"uid":1}}']) {
    await writeFile(path, damaged);
    t.not(await check(logins, 'correct horse'), 'accepted', damaged);
    await logins.confirm('bob', uid + 1, 'battery staple');
    t.is(await check(logins, 'battery staple', 24, 'bob', uid + 1), 'accepted', damaged);
  }
});

test('many logins at once are all kept, a bounded number', async (t) => {
  const { path, logins } = await kept(t);
  await Promise.all(['a', 'b', 'c', 'd'].map((user, index) => logins.confirm(user, uid + index, 'correct horse')));
  t.deepEqual(Object.keys(JSON.parse(await readFile(path, 'utf8')) as object).sort(), ['a', 'b', 'c', 'd']);
});

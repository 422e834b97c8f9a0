import test from 'ava';
import { parseSite, sitePolicy } from '../../src/isolation/site.ts';

test("a VO's own part goes before the part for all", (t) => {
  const site = parseSite('{"vo":{"*":{"pids.max":4096,"trust":"untrusted"},"demo":{"pids.max":"max","firewall.deny":["*:25","10.0.0.0/8"]}}}');
  t.deepEqual(sitePolicy(site, 'demo'), { 'pids.max': 'max', trust: 'untrusted', 'firewall.deny': '*:25 10.0.0.0/8' });
  t.deepEqual(sitePolicy(site, 'other'), { 'pids.max': '4096', trust: 'untrusted' });
  t.deepEqual(sitePolicy(parseSite('{}'), 'demo'), {});
  t.deepEqual(sitePolicy(site, '__proto__'), { 'pids.max': '4096', trust: 'untrusted' });
});

for (const [source, why] of [
  ['', /not JSON/], ['[]', /must be an object/], ['{"vos":{}}', /no field 'vos'/], ['{"vo":{"Demo":{}}}', /VO name 'Demo'/], ['{"vo":{"demo":5}}', /'demo' must be an object/],
  ['{"vo":{"demo":{"memory":"1G"}}}', /no policy 'memory'/], ['{"vo":{"demo":{"memory.max":"a lot"}}}', /it is a size/], ['{"vo":{"demo":{"pids.max":null}}}', /pids\.max/],
] as const) {
  test(`a site's file is refused as a whole: ${source}`, (t) => {
    const thrown = t.throws(() => parseSite(source), { code: 'XOS_CONFIG' } as never);
    t.regex(thrown.message, why);
  });
}

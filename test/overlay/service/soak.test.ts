// Half an hour in half a minute (soak.ts says why that is the same). `npm run bench -- overlay` lasts an hour.
import test from 'ava';
import { soak } from './soak.ts';

const seconds = Number(process.env['XOS_OVERLAY_SOAK_S'] ?? 30);

test(`${seconds} minutes of messages, queries, directories, shapes, changes and restarts leave the memory as it was after the first fifteen`, async (t) => {
  t.timeout(seconds * 10_000 + 120_000);
  const soaked = await soak(22_000 + (process.pid % 100) * 8, seconds);
  t.log(JSON.stringify(soaked));
  t.true(soaked.growth <= 0.1, `${soaked.heap_bytes.join()}`);
  t.is(soaked.delivered, 1);
  for (const name of ['queries', 'directories', 'shapes', 'changes', 'restarts'] as const) t.true(soaked[name] > 0, name);
  t.is(soaked.failed, 0);
});

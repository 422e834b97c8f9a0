import type { TestFn } from 'ava';
import type { OrderedLog } from '../../src/group/index.ts';

/** A place that logs can be opened on again and again, as after a restart. */
export interface LogPlace {
  open(): OrderedLog;
  remove(): Promise<void>;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const texts = async (log: OrderedLog, after = 0): Promise<string[]> => {
  const found: string[] = [];
  for await (const entry of log.read(after)) found.push(`${entry.index}:${new TextDecoder().decode(entry.data)}`);
  return found;
};

/** What every OrderedLog keeps. */
export function logContract(test: TestFn, name: string, place: () => Promise<LogPlace>): void {
  const withPlace = (title: string, run: (t: import('ava').ExecutionContext, place: LogPlace) => Promise<void>): void => {
    test(`${name}: ${title}`, async (t) => {
      const found = await place();
      t.teardown(() => found.remove());
      await run(t, found);
    });
  };

  withPlace('an empty log starts at 0 without a snapshot', async (t, at) => {
    const log = at.open();
    const start = await log.open();
    t.is(start.last, 0);
    t.is(start.snapshot, null);
    t.deepEqual(await texts(log), []);
    await log.close();
  });

  withPlace('entries are numbered from 1 and there again after a restart', async (t, at) => {
    const first = at.open();
    await first.open();
    t.is(await first.append([bytes('a'), bytes('b')], 0), 2);
    t.is(await first.append([bytes('c')], 2), 3);
    await first.close();
    const second = at.open();
    t.is((await second.open()).last, 3);
    t.deepEqual(await texts(second), ['1:a', '2:b', '3:c']);
    t.deepEqual(await texts(second, 2), ['3:c']);
    await second.close();
  });

  withPlace('an append that believes in another last entry is refused and leaves nothing', async (t, at) => {
    const log = at.open();
    await log.open();
    await log.append([bytes('a')], 0);
    for (const wrong of [0, 2]) await t.throwsAsync(log.append([bytes('x')], wrong), { code: 'XOS_LOG_CONFLICT' } as object);
    t.deepEqual(await texts(log), ['1:a']);
    await log.close();
  });

  withPlace('who opens the log fences the holder before', async (t, at) => {
    const older = at.open();
    const { fence } = await older.open();
    await older.append([bytes('a')], 0);
    const newer = at.open();
    t.true((await newer.open()).fence > fence);
    const refused = await t.throwsAsync(older.append([bytes('late')], 1));
    t.is((refused as Error & { code: string }).code, 'XOS_FENCED');
    await t.throwsAsync(older.snapshot(1, bytes('late')));
    t.is(await newer.append([bytes('b')], 1), 2);
    t.deepEqual(await texts(newer), ['1:a', '2:b']);
    await older.close();
    await newer.close();
  });

  withPlace('a snapshot takes the entries up to its index away and no others', async (t, at) => {
    const log = at.open();
    await log.open();
    await log.append(['a', 'b', 'c'].map(bytes), 0);
    await log.snapshot(2, bytes('state of 2'));
    t.deepEqual(await texts(log), ['3:c']);
    t.is(await log.append([bytes('d')], 3), 4);
    await log.snapshot(4, bytes('state of 4'));
    await log.close();
    const again = at.open();
    const start = await again.open();
    t.is(start.last, 4);
    t.is(start.snapshot?.index, 4);
    t.is(new TextDecoder().decode(start.snapshot?.state), 'state of 4');
    t.deepEqual(await texts(again), []);
    t.is(await again.append([bytes('e')], 4), 5);
    await again.close();
  });

  withPlace('a snapshot of what is not there yet, or older than the last one, is refused', async (t, at) => {
    const log = at.open();
    await log.open();
    await log.append(['a', 'b'].map(bytes), 0);
    await t.throwsAsync(log.snapshot(3, bytes('x')));
    await log.snapshot(2, bytes('y'));
    await t.throwsAsync(log.snapshot(1, bytes('z')));
    await log.close();
  });

  withPlace('empty and large entries come back as they were', async (t, at) => {
    const log = at.open();
    await log.open();
    const large = new Uint8Array(3 << 20).map((_, index) => index & 255);
    await log.append([new Uint8Array(0), large], 0);
    const sizes: number[] = [];
    for await (const entry of log.read(0)) sizes.push(entry.data.length);
    t.deepEqual(sizes, [0, large.length]);
    for await (const entry of log.read(1)) t.true(Buffer.from(entry.data).equals(Buffer.from(large)));
    await log.close();
  });

  withPlace('a closed log takes nothing, and may be closed twice', async (t, at) => {
    const log = at.open();
    await log.open();
    await log.close();
    await log.close();
    await t.throwsAsync(log.append([bytes('a')], 0), { message: /not open/ });
  });
}

import anyTest, { type ExecutionContext, type TestFn } from 'ava';
import type { Command } from '../../src/cli/lib/command.ts';
import { Xosd } from '../support/xosd.ts';
import { capture, type Captured } from './lib/capture.ts';

/** Commands of the overlay need a real xosd, and that needs root. */
export const test: TestFn = (process.getuid?.() === 0 ? anyTest.serial : anyTest.serial.skip) as TestFn;
if (process.getuid?.() !== 0) console.log('skip the commands of the overlay: they need root');

export interface OverlayNode {
  readonly xosd: Xosd;
  run(command: Command, argv: readonly string[], signal?: AbortSignal): Promise<Captured>;
}

/** A VO of one node, with some attributes of its site. */
export async function overlayNode(t: ExecutionContext): Promise<OverlayNode> {
  t.timeout(60_000);
  const xosd = await Xosd.create(t, 'n1', { roles: ['registry', 'relay'], attributes: { site: 'berlin', rack: 7, devices: ['camera', 'gps'] } });
  await xosd.start();
  await xosd.until(({ state }) => state === 'waiting');
  await xosd.api('vo-create', { vo: 'demo' });
  while (!(await xosd.api('overlay-status', {})).running) await new Promise((resolve) => setTimeout(resolve, 30));
  return { xosd, run: (command, argv, signal) => capture(command, argv, { env: { XOS_RUN: `${xosd.directory}/run`, PATH: '/usr/bin:/bin' }, ...(signal === undefined ? {} : { signal }) }) };
}

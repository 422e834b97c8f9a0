import type { ControlClient } from '../core/control.ts';
import type { NodeContext } from '../daemon/context.ts';
import { XosError, describe } from '../core/errors.ts';
import { DirServiceDefinition } from '../proto/xos/volume/v1/volume.ts';
import { limits } from './limits.ts';
import { versionOf } from './map.ts';

/**
 * The sides of a node's native servers towards the DIR: each reports in rounds, pushes what it learns to its daemon when that is new,
 * and pushes all of it again when the daemon comes back.
 */
export interface Agent {
  readonly name: string;
  readonly control: ControlClient;
  /** One round; returns how long to pause before the next one. */
  round(signal: AbortSignal): Promise<number>;
  stop(): void;
}

export function osdAgent(context: NodeContext): Agent {
  const control = context.native.osd;
  let held: readonly string[] = [];
  const undo = control.onDisconnect(() => { held = []; });
  let pushed = '';
  const undoConnect = control.onConnect(() => { pushed = ''; });
  return {
    name: 'osd', control,
    stop: () => { undo(); undoConnect(); },
    async round(signal) {
      const stats = control.connected ? await control.request<{ total_bytes?: number; free_bytes?: number }>('stats', {}, { signal }) : null;
      const report = { serving: stats !== null, total_bytes: stats?.total_bytes ?? 0, free_bytes: stats?.free_bytes ?? 0, holds: [...held] };
      const { keys } = await dir(context).registerOsd(report, { deadline_ms: limits.report_deadline_ms, signal });
      const rows = keys.map(({ mrc, key }) => ({ mrc, key: Buffer.from(key).toString('hex') }));
      if (stats === null) return limits.report_interval_first_ms;
      const version = versionOf(rows);
      if (version === pushed && held.length === rows.length) return rows.length > 0 ? limits.report_interval_ms : limits.report_interval_first_ms;
      await control.request('keys', { keys: rows }, { signal });
      [pushed, held] = [version, rows.map(({ mrc }) => mrc)];
      // The DIR sends nobody here before it has heard that the keys have arrived: tell it at once.
      return 0;
    },
  };
}

export function mrcAgent(context: NodeContext): Agent {
  const control = context.native.mrc;
  let pushed = '';
  let dropped = new Set<string>();
  const undo = control.onConnect(() => { [pushed, dropped] = ['', new Set()]; });
  return {
    name: 'mrc', control,
    stop: undo,
    async round(signal) {
      const { osds, gone } = await dir(context).registerMrc({ serving: control.connected }, { deadline_ms: limits.report_deadline_ms, signal });
      if (!control.connected) return limits.report_interval_first_ms;
      const rows = osds.map((osd) => ({ ...osd, key: Buffer.from(osd.key).toString('hex') }));
      const version = versionOf(rows);
      if (version !== pushed) await control.request('osds', { osds: rows }, { signal });
      pushed = version;
      for (const node of gone) if (!dropped.has(node)) await control.request('client-drop', { node }, { signal });
      dropped = new Set(gone);
      return rows.some(({ up }) => up) ? limits.report_interval_ms : limits.report_interval_first_ms;
    },
  };
}

export function mountAgent(context: NodeContext): Agent {
  const control = context.native.mount;
  let version = '';
  let last: object | null = null;
  let pushed = false;
  const push = async (signal?: AbortSignal): Promise<void> => {
    if (last === null || pushed || !control.connected) return;
    pushed = true;
    try {
      await control.request('servers', last, signal === undefined ? {} : { signal });
    } catch (thrown) {
      pushed = false;
      throw thrown;
    }
  };
  // The mount comes back without a memory: it gets the last map even while the DIR is away.
  const undo = control.onConnect(() => {
    pushed = false;
    push().catch((thrown: unknown) => context.ports.log.warn('the mount did not take the servers', { reason: describe(thrown) }));
  });
  return {
    name: 'mount', control,
    stop: undo,
    async round(signal) {
      const servers = await dir(context).watch({ version, turn_ms: limits.watch_turn_ms }, { deadline_ms: limits.watch_turn_ms + limits.watch_margin_ms, signal });
      if (servers.version !== version) pushed = false;
      version = servers.version;
      if (servers.mrc === undefined) return limits.report_interval_first_ms;
      last = { mrc: servers.mrc, osds: servers.osds.map(({ key: _key, ...osd }) => osd) };
      await push(signal);
      return 0;
    },
  };
}

/** Runs an agent until `signal` aborts. A failure is told once, and tried again each interval; a daemon that comes back is served at once. */
export async function runAgent(agent: Agent, context: NodeContext, signal: AbortSignal): Promise<void> {
  let told = '';
  let pause = new AbortController();
  const undo = agent.control.onConnect(() => pause.abort());
  while (!signal.aborted) {
    let pause_ms: number = limits.report_interval_first_ms;
    try {
      pause_ms = await agent.round(signal);
      told = '';
    } catch (thrown) {
      const reason = describe(thrown);
      if (!signal.aborted && reason !== told) context.ports.log.warn(`the DIR does not know our ${agent.name} yet; trying again`, { reason });
      told = reason;
    }
    pause = new AbortController();
    if (pause_ms > 0) await context.ports.clock.sleep(pause_ms, AbortSignal.any([signal, pause.signal])).catch(() => undefined);
  }
  undo();
  agent.stop();
}

function dir(context: NodeContext) {
  const record = context.members.withRole('dir');
  if (record === null) throw new XosError('XOS_NO_NODE', `VO '${context.vo}' has no node with the role dir; give it to one in its /etc/xos/node.json`);
  return context.rpc.client(record.node, DirServiceDefinition);
}

import type { ExecutionContext } from 'ava';
import { apiServer } from '../../src/api/server.ts';
import type { Command } from '../../src/cli/lib/command.ts';
import { createJobService, type JobService } from '../../src/job/index.ts';
import type { ControlServer } from '../../src/platform/control.ts';
import { createVolumeService } from '../../src/volume/index.ts';
import { JobServiceDefinition } from '../../src/proto/xos/job/v1/job.ts';
import { quietLog } from '../support/ports.ts';
import { startVo, until, type TestVo } from '../support/vo.ts';
import { capture, type Captured } from './lib/capture.ts';

/** Two nodes with their job and volume services and xosd.sock; commands run on n2, jobs have their home on n1. */
export interface CliGrid {
  readonly vo: TestVo;
  readonly relay: ControlServer;
  readonly services: readonly JobService[];
  /** Signals that the relay of n1 was asked to send. */
  readonly signals: { job: string; signal: number }[];
  /** Runs a command on a node (default n2) as the user of this process. */
  run(command: Command, argv: readonly string[], options?: { node?: string; columns?: number; env?: Record<string, string> }): Promise<Captured>;
  /** n1 answers no more calls. */
  silence(): Promise<void>;
  /** Tells n1 of a job and waits until it is known. */
  job(id: string, changes?: object): Promise<void>;
}

export const started_ms = Date.UTC(2026, 0, 2, 3, 4, 5);

export async function startCli(t: ExecutionContext): Promise<CliGrid> {
  const vo = await startVo(['n1', 'n2']);
  const uid = process.getuid?.() ?? 0;
  const signals: CliGrid['signals'] = [];
  const cells: object[] = [];
  const relay = await vo.node('n1').daemon('relay', (op, fields) => {
    if (op === 'signal') signals.push({ job: String(fields['job']), signal: Number(fields['signal']) });
    return op === 'jobs' ? { jobs: [] } : {};
  });
  await vo.node('n2').daemon('relay', (op) => (op === 'cells' ? { cells } : { jobs: [] }));
  const services = vo.nodes.map(({ context }) => createJobService(context));
  const others = vo.nodes.map(({ context }) => createVolumeService(context));
  const servers = vo.nodes.map(({ context }) => apiServer({
    network: context.ports.network, log: quietLog, path: `${context.paths.run}/xosd.sock`, registry: context.api, identify: () => null,
  }));
  t.teardown(async () => {
    await Promise.all([...services, ...others, ...servers].map((service) => service.stop()));
    await vo.stop();
  });
  for (const service of [...services, ...others, ...servers]) await service.start(new AbortController().signal);
  // The answer to the first resync must not meet an event of the test.
  await until(() => services.every(({ jobs }) => jobs.selector.candidates().filter(({ eligible }) => eligible).length === 2));
  return {
    vo, relay, services, signals,
    run: (command, argv, { node = 'n2', env = {}, ...options } = {}) =>
      capture(command, argv, { ...options, env: { XOS_RUN: vo.node(node).context.paths.run, PATH: '/usr/bin:/bin', ...env } }),
    async silence() {
      // A connection that is being made when a server stops may live on and be served: have it made before.
      await services[1]!.jobs.context.rpc.client('n1', JobServiceDefinition).report({ node: 'n2', cpus: 1, running: 0, load: 0, memory_free_bytes: 1, memory_total_bytes: 1, services: [] });
      await vo.node('n1').rpc.stop();
    },
    async job(id, changes = {}) {
      const job = { job: id, name: 'python3', argv: ['python3', 'crunch me.py'], node: 'n2', state: 'running', session: 'ab'.repeat(16), uid, user: 'alice', vo: 'demo', proxy_pid: 777, started_ms, ...changes };
      cells.push({ job: id, home: 'n1', session: 'ab'.repeat(16), uid, processes: 1, cpu_seconds: 12.5, memory_bytes: 3 * 2 ** 20 });
      relay.emit({ event: 'job-started', ...job });
      await until(() => services[0]!.jobs.link.table.get(id) !== null);
    },
  };
}

import type { NodeContext, VolumeProvider } from '../daemon/context.ts';
import { describe } from '../core/errors.ts';
import type { Listener } from '../core/ports.ts';
import type { Service, ServiceStatus } from '../core/service.ts';
import { DirServiceDefinition, MonitorServiceDefinition, VolumeServiceDefinition } from '../proto/xos/volume/v1/volume.ts';
import { mountAgent, mrcAgent, osdAgent, runAgent } from './agents.ts';
import { Directory } from './directory.ts';
import { check, checkHere } from './ops/check.ts';
import { createHere, createVolume } from './ops/create-volume.ts';
import { ensureVolume } from './ops/ensure-volume.ts';
import { inspect, inspectHere } from './ops/inspect.ts';
import { listHere, listVolumes, showVolume } from './ops/list-volumes.ts';
import { readAll, readHere, serveMetrics } from './ops/monitor.ts';
import { removeHere, removeVolume } from './ops/remove-volume.ts';
import { setOsd, setOsdHere } from './ops/set-osd.ts';
import { setReplicas, setReplicasHere } from './ops/set-replicas.ts';
import { setPolicy, setPolicyHere } from './ops/set-policy.ts';
import { setQuota, setQuotaHere } from './ops/set-quota.ts';
import { snapshots, snapshotsHere } from './ops/snapshots.ts';
import { sweep, sweepHere } from './ops/sweep.ts';
import { transfer, transferHere } from './ops/transfer.ts';
import { usage, usageHere } from './ops/usage.ts';

/** Time between looks at who has fallen silent. */
const tick_ms = 1_000;

/** The node's part in XtreemFS: the DIR, if it has that role, and the side of each native server towards it. */
export class VolumeService implements Service, VolumeProvider {
  readonly name = 'volume';
  readonly #context: NodeContext;
  readonly #directory: Directory | null;
  readonly #undo: (() => void)[] = [];
  readonly #endpoints: Listener[] = [];
  #stopping = new AbortController();
  #work: Promise<unknown> = Promise.resolve();

  constructor(context: NodeContext) {
    this.#context = context;
    this.#directory = context.roles.includes('dir') ? new Directory(context) : null;
    const directory = this.#directory;
    context.rpc.serve(MonitorServiceDefinition, { read: (_request, call) => readHere(context, directory, call.signal) });
    if (directory !== null) {
      context.rpc.serve(DirServiceDefinition, {
        registerOsd: (report, call) => directory.registerOsd(report, call.peer?.node ?? ''),
        registerMrc: (report, call) => directory.registerMrc(report, call.peer?.node ?? ''),
        watch: (request, call) => directory.watch(request, call.peer?.node ?? '', call.signal),
      });
    }
    if (context.roles.includes('mrc')) {
      context.rpc.serve(VolumeServiceDefinition, {
        create: (request, call) => createHere(context, request, call.signal),
        remove: (request, call) => removeHere(context, request, call.signal),
        list: (_request, call) => listHere(context, call.signal),
        inspect: (request, call) => inspectHere(context, request, call.signal),
        setPolicy: (request, call) => setPolicyHere(context, request, call.signal),
        setQuota: (request, call) => setQuotaHere(context, request, call.signal),
        transfer: (request, call) => transferHere(context, request, call.signal),
        setOsd: (request, call) => setOsdHere(context, request, call.signal),
        setReplicas: (request, call) => setReplicasHere(context, request, call.signal),
        snapshots: (request, call) => snapshotsHere(context, request, call.signal),
        sweep: (request, call) => sweepHere(context, request, call.signal),
        check: (request, call) => checkHere(context, request, call.signal),
        getUsage: (request, call) => usageHere(context, request, call.signal),
      });
    }
  }

  async start(_signal: AbortSignal): Promise<void> {
    this.#stopping = new AbortController();
    const { signal } = this.#stopping;
    await this.#directory?.start();
    this.#undo.push(...registerOperations(this.#context));
    this.#context.provided.volumes = this;
    const agents = this.#context.roles.flatMap((role) =>
      role === 'osd' ? [osdAgent(this.#context)] : role === 'mrc' ? [mrcAgent(this.#context)] : role === 'mount' ? [mountAgent(this.#context)] : []);
    const endpoint = (this.#context.metrics_port ?? 0) === 0 ? null : await serveMetrics(this.#context, this.#directory, this.#context.metrics_port ?? 0);
    if (endpoint !== null) this.#endpoints.push(endpoint);
    this.#work = Promise.all([...agents.map((agent) => runAgent(agent, this.#context, signal)), this.#watchSilence(signal)]);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    for (const undo of this.#undo.splice(0)) undo();
    if (this.#context.provided.volumes === this) this.#context.provided.volumes = null;
    for (const endpoint of this.#endpoints.splice(0)) await endpoint.close();
    await this.#work;
    await this.#directory?.stop();
  }

  status(): ServiceStatus {
    return { up: true, detail: this.#directory?.detail() ?? '' };
  }

  async ensure(volume: { name: string; uid: number; gid: number; mode: number }, signal: AbortSignal): Promise<void> {
    await ensureVolume(this.#context, volume, signal);
  }

  async #watchSilence(signal: AbortSignal): Promise<void> {
    while (this.#directory !== null && !signal.aborted) {
      try {
        this.#directory.tick();
      } catch (thrown) {
        this.#context.ports.log.error('the DIR could not look at its servers', { reason: describe(thrown) });
      }
      await this.#context.ports.clock.sleep(tick_ms, signal).catch(() => undefined);
    }
  }
}

/** The volume service of a node; listed in src/daemon/services.ts. */
export const createVolumeService = (context: NodeContext): VolumeService => new VolumeService(context);

function registerOperations(context: NodeContext): (() => void)[] {
  const { api } = context;
  return [
    api.register('volume-list', (_caller, _request, signal) => listVolumes(context, signal)),
    api.register('volume-metrics', (_caller, _request, signal) => readAll(context, signal)),
    api.register('volume-show', (_caller, request, signal) => showVolume(context, request, signal)),
    api.register('volume-create', (caller, request, signal) => createVolume(context, caller, request, signal)),
    api.register('volume-inspect', (_caller, request, signal) => inspect(context, request, signal)),
    api.register('volume-policy', (caller, request, signal) => setPolicy(context, caller, request, signal)),
    api.register('volume-quota', (caller, request, signal) => setQuota(context, caller, request, signal)),
    api.register('volume-check', (caller, request, signal) => check(context, caller, request, signal)),
    api.register('volume-orphans', (caller, request, signal) => sweep(context, caller, request, signal)),
    api.register('volume-transfer', (caller, request, signal) => transfer(context, caller, request, signal)),
    api.register('volume-osd', (caller, request, signal) => setOsd(context, caller, request, signal)),
    api.register('volume-replicas', (caller, request, signal) => setReplicas(context, caller, request, signal)),
    api.register('volume-snapshots', (caller, request, signal) => snapshots(context, caller, request, signal)),
    api.register('volume-usage', (caller, request, signal) => usage(context, caller, request, signal)),
    api.register('volume-remove', (caller, request, signal) => removeVolume(context, caller, request, signal)),
  ];
}

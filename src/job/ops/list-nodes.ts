import type { Jobs } from '../jobs.ts';
import { limits } from '../limits.ts';
import type { NodeView } from '../monitor.ts';
import { freeCpus } from '../placement.ts';
import type { NodeRow, NodeState } from '../rows.ts';

/** xosd.sock `node-states`: the nodes of the VO as this node sees them. Anyone may ask. */
export function listNodes(jobs: Jobs): { readonly vo: string; readonly nodes: readonly NodeRow[] } {
  const candidates = new Map(jobs.selector.candidates().map((each) => [each.node, each]));
  const nodes = jobs.selector.view().map((view): NodeRow => {
    const candidate = candidates.get(view.node);
    const state = view.followed || view.record.state !== 'admitted' || !(jobs.context.provided.overlay?.knows(view.node) ?? false) ? nodeState(view) : 'ready';
    const down = view.services.filter((each) => !each.up).map((each) => `${each.name}: ${each.detail === '' ? 'down' : each.detail}`).join('; ');
    return {
      node: view.node, address: view.record.address, port: view.record.port, roles: view.record.roles, state, services: view.services,
      cpus: view.report?.cpus ?? 0, running: view.report?.running ?? 0, load: view.report?.load ?? 0,
      free_cpus: candidate === undefined ? 0 : Math.max(0, freeCpus(candidate)),
      memory_free_bytes: view.report?.memory_free_bytes ?? 0, memory_total_bytes: view.report?.memory_total_bytes ?? 0,
      eligible: candidate?.eligible ?? false, detail: state === 'starting' && down !== '' ? down : candidate?.reason ?? (view.followed ? '' : 'its load is not followed on this node'),
      here: view.node === jobs.context.node,
    };
  });
  return { vo: jobs.context.vo, nodes: nodes.sort(byName) };
}

export function nodeState(view: Pick<NodeView, 'record' | 'report' | 'age_ms' | 'services'>): NodeState {
  if (view.record.state !== 'admitted') return view.record.state;
  if (view.report === null || view.age_ms > limits.report_silence_ms) return 'silent';
  return view.services.length > 0 && view.services.every((service) => service.up) ? 'ready' : 'starting';
}

/** n2 before n10. */
const byName = (a: NodeRow, b: NodeRow): number => a.node.localeCompare(b.node, 'en', { numeric: true });

import type { NodeContext } from '../daemon/context.ts';
import { describe } from '../core/errors.ts';
import { limits } from './limits.ts';

/**
 * The nodes to which this one may send jobs: some that RSS found, asked for anew from time to time. Until the overlay answers, and where the VO
 * is no larger than a directory, it is the nodes of the membership document.
 */
export class Directory {
  readonly #context: NodeContext;
  #chosen: readonly string[] = [];
  #asked_ms = Number.NEGATIVE_INFINITY;
  #told = '';

  constructor(context: NodeContext) {
    this.#context = context;
  }

  /** This node is always among them; the others were found, or are the first of the VO that can run jobs. */
  nodes(): ReadonlySet<string> {
    const { members, node } = this.#context;
    const runners = members.admitted().filter(({ roles }) => roles.includes('relay'));
    if (runners.length <= limits.directory_max) return new Set([node, ...members.nodes().map((record) => record.node)]);
    const admitted = new Set(runners.map((record) => record.node));
    const found = this.#chosen.filter((each) => admitted.has(each));
    // Not the first ones of the document: all nodes would choose the same.
    const rest = found.length >= limits.directory_min ? [] : spread(runners.map((record) => record.node), node, limits.directory_max - found.length);
    return new Set([node, ...found, ...rest]);
  }

  async refresh(signal: AbortSignal): Promise<void> {
    const { ports, provided } = this.#context;
    const now_ms = ports.clock.monotonic_ms();
    if (provided.overlay == null || now_ms - this.#asked_ms < limits.directory_refresh_ms) return;
    this.#asked_ms = now_ms;
    try {
      this.#chosen = await provided.overlay.find('roles has relay', limits.directory_max, ports.clock.deadline(limits.directory_deadline_ms, signal));
      this.#told = '';
    } catch (thrown) {
      const reason = describe(thrown);
      if (!signal.aborted && reason !== this.#told) ports.log.info('the overlay named no nodes for jobs; going on with those that are known', { reason });
      this.#told = reason;
    }
  }
}

/** `count` of the names, from the own one on, around the list. */
function spread(names: readonly string[], own: string, count: number): readonly string[] {
  const from = Math.max(0, names.indexOf(own));
  return Array.from({ length: Math.min(count, names.length) }, (_, i) => names[(from + 1 + i) % names.length]!);
}

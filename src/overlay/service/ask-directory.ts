import { XosError } from '../../core/errors.ts';
import type { Descriptor, Peer } from '../core/index.ts';
import { adsLimits } from '../ads/index.ts';
import type { Constraint } from '../rss/index.ts';
import { dynamic_attributes } from './find.ts';
import type { RunningOverlay } from './handle.ts';
import { whyEnded } from './late.ts';
import { limits } from './limits.ts';
import type { Condition } from './query-text.ts';

const too_late = 'the nodes did not say in time what they do now; try again';

let opened = 0;

export const constraintsOf = (dynamic: readonly Condition[]): readonly Constraint[] => dynamic.filter((condition): condition is Exclude<Condition, { kind: 'near' }> & Constraint => condition.kind !== 'near');

/** What the members of a directory have to report for these conditions. */
export const metricsOf = (dynamic: readonly Condition[]): readonly string[] => [...new Set([...dynamic_attributes, ...constraintsOf(dynamic).map((condition) => (condition.kind === 'near' ? '' : condition.attribute))])].slice(0, adsLimits.metrics_max);

/**
 * Of many nodes those that fit what is asked of them now: a directory (ADS) is opened on them for this one query, they report to it, it is asked and
 * closed again. `wanted` 0: all that one answer holds.
 * @throws XosError XOS_BUSY, XOS_TIMEOUT
 */
export async function askDirectory(service: Pick<RunningOverlay, 'parts' | 'options'>, found: readonly Descriptor[], dynamic: readonly Condition[], wanted: number, signal: AbortSignal): Promise<readonly Descriptor[]> {
  const { ads, known } = service.parts;
  const { node, ports } = service.options.context;
  const constraints = constraintsOf(dynamic);
  const members = found.flatMap(({ node: name }) => (known.find(name) < 0 ? [] : [known.find(name)]));
  const app = `query/${node}/${++opened}`;
  if (!ads.open(0, app, members, metricsOf(dynamic))) throw new XosError('XOS_BUSY', `cannot ask ${members.length} nodes what they do now: too much is being asked; narrow the query or try again`);
  try {
    await ports.clock.sleep(limits.directory_wait_ms, signal).catch(() => {
      throw whyEnded(signal, too_late);
    });
    const peers = await new Promise<readonly Peer[] | null>((resolve, reject) => {
      const aborted = (): void => reject(whyEnded(signal, too_late));
      signal.addEventListener('abort', aborted, { once: true });
      const answered = (answer: readonly Peer[] | null): void => {
        signal.removeEventListener('abort', aborted);
        resolve(answer);
      };
      if (!ads.find(0, app, { constraints }, wanted === 0 ? members.length : wanted, answered)) answered(null);
    });
    if (peers === null) throw new XosError('XOS_TIMEOUT', too_late);
    return peers.flatMap((peer) => known.descriptor(peer) ?? []);
  } finally {
    ads.close(0, app);
  }
}
